"""The errors of sealflow, grouped by who can do something about them.

Every message is one line that says what, where, and what to do next. None ever holds a secret's value, so
an error may be printed, logged, sent and kept.
"""

from __future__ import annotations


class SealflowError(Exception):
    """Root of all errors; ``hint`` says what to do next, the other fields say where.

    ``secret``, ``field`` and ``path`` (the place in a node's config, such as ``auth.token``) are None where
    they do not apply.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        secret: str | None = None,
        field: str | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.secret = secret
        self.field = field
        self.path = path

    @property
    def message(self) -> str:
        """What and where, without the hint."""
        return str(self.args[0])

    def __str__(self) -> str:
        text = " ".join(self.message.split("\n"))
        if self.path:
            text = f"{self.path}: {text}"
        return f"{text}. {self.hint}" if self.hint else text


class SettingsError(SealflowError):
    """A setting (an environment variable, an option, a configuration file) cannot be used."""


class SecretError(SealflowError):
    """Something is wrong with one secret or with what was asked of it."""


class SecretNotFoundError(SecretError):
    """No secret of this name; the hint lists the closest names that exist."""


class FieldNotFoundError(SecretError):
    """The secret exists and has no such field; the hint lists the fields it has."""


class SecretExistsError(SecretError):
    """A secret of this name is there already; update it, or delete it first."""


class VersionConflictError(SecretError):
    """The secret is not at the version that the caller expected: somebody else changed it. Read it again."""


class SecretValidationError(SecretError):
    """A name, type, field or policy that cannot be accepted; names the field, never its value."""


class SecretExpiredError(SecretError):
    """The secret's ``expires_at`` has passed; update it with a new value or a later time."""


class ReferenceSyntaxError(SealflowError):
    """Text that begins like a reference and is none. ``column`` counts from 1 within the config value."""

    def __init__(self, message: str, *, column: int, hint: str, path: str | None = None) -> None:
        super().__init__(message, hint=hint, path=path)
        self.column = column


class MasterKeyError(SealflowError):
    """The master key (KEK) is missing, malformed or not this store's."""


class MissingMasterKeyError(MasterKeyError):
    """No master key is configured: run ``sealflow init`` or set ``WORKFLOW_SECRETS_MASTER_KEY``."""


class InvalidMasterKeyError(MasterKeyError):
    """What is configured is no master key: a wrong format or checksum, or a key file that is not safe."""


class WrongMasterKeyError(MasterKeyError):
    """A well-formed master key that this store does not know. Nothing was read or changed."""


class TamperedError(SealflowError):
    """A record does not belong where it stands: it was changed, moved, replayed, or its policy was widened."""


class StoreError(SealflowError):
    """The store cannot do what was asked."""


class StoreUnavailableError(StoreError):
    """The store is not there, locked, read-only, of a newer schema, or not readable by this user."""


class StoreFullError(StoreError):
    """No room left to write; nothing was changed."""


class DamagedRecordError(StoreError):
    """A file or a row that cannot be understood; it is reported, never skipped. Restore it from a backup."""


class AuditError(StoreError):
    """The audit trail must be written before a value is given (``audit.required``), and cannot be."""


class ProviderError(SealflowError):
    """An external provider could not answer."""


class ProviderUnavailableError(ProviderError):
    """Timeout, no connection, 429, 5xx or sealed: trying again later may help.

    ``retry_after``: the seconds that the provider asked to wait, or None.
    """

    retry_after: float | None = None


class ProviderDeniedError(ProviderError):
    """The provider refused (401, 403, AccessDenied): the login or its policy must change."""


class ProviderMalformedError(ProviderError):
    """The provider answered something that is no secret."""


class PolicyError(SealflowError):
    """The secret's policy forbids this use."""


class HostNotAllowedError(PolicyError):
    """The request would carry the secret to a host that its owner did not allow."""


class WorkflowNotAllowedError(PolicyError):
    """The secret may not be used in this workflow."""


class WorkflowError(SealflowError):
    """A workflow, a node, a link or a node's config is wrong, or a node failed."""


class NodeConfigError(WorkflowError):
    """A node's config does not fit its type; names the field and the reference, never the input."""


class NodeStateError(WorkflowError):
    """A node was asked to go from one state to another that does not follow it."""
