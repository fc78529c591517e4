"""The errors of sealflow, grouped by who can do something about them.

Every message is one line that says what is wrong, where, and what to do next. A message never contains the value
of a secret, so an error can be printed, logged, sent and kept. A master key or a token that was typed where a name or
a path belongs is replaced by ``***`` (see ``wording.without_keys``), and ``without_locals`` keeps values out of
tracebacks. The page docs/reference/errors.md is made from these docstrings: the first paragraph says when, and the
lines "What to do" and "Retried" say the rest.
"""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from typing import Any, ParamSpec, Self, TypeVar, TypeVarTuple

from sealflow.wording import without_keys

__all__ = [
    "AuditError",
    "DamagedRecordError",
    "FieldNotFoundError",
    "HostNotAllowedError",
    "InvalidMasterKeyError",
    "MasterKeyError",
    "MissingMasterKeyError",
    "NodeConfigError",
    "NodeStateError",
    "PolicyError",
    "ProviderDeniedError",
    "ProviderError",
    "ProviderMalformedError",
    "ProviderUnavailableError",
    "ReferenceSyntaxError",
    "SealflowError",
    "SecretError",
    "SecretExistsError",
    "SecretExpiredError",
    "SecretNotFoundError",
    "SecretValidationError",
    "SettingsError",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
    "TamperedError",
    "TrustError",
    "VersionConflictError",
    "WorkflowError",
    "WorkflowNotAllowedError",
    "WrongMasterKeyError",
]

_T = TypeVar("_T")
_P = ParamSpec("_P")
_Args = TypeVarTuple("_Args")
_Error = TypeVar("_Error", bound=Exception)


def _clean(text: str | None) -> str | None:
    return None if text is None else without_keys(text)


class SealflowError(Exception):
    """Base class of every error of sealflow; it is raised itself when a file or an input of a command cannot be used.

    ``hint`` says what to do next. ``secret``, ``field`` and ``path`` (a place in a node's config, such as
    ``auth.token``) say where; each is None where it does not apply.

    What to do: catch this class to handle every error below; show ``str(error)``, which includes the hint.
    Retried: no, except as the classes below say.
    """

    hint: str | None = None
    secret: str | None = None
    field: str | None = None
    path: str | None = None

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        secret: str | None = None,
        field: str | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(without_keys(message))
        self.hint = _clean(hint)
        self.secret = _clean(secret)
        self.field = _clean(field)
        self.path = _clean(path)

    @property
    def message(self) -> str:
        """What is wrong, without the place and the hint."""
        return str(self.args[0]) if self.args else type(self).__name__

    def placed(
        self,
        where: str = "",
        *,
        hint: str | None = None,
        secret: str | None = None,
        field: str | None = None,
        path: str | None = None,
    ) -> Self:
        """Return a copy that says where it happened: ``where`` goes before the message, the rest replaces what is None here.

        The copy keeps the class and every other attribute, and has no traceback, cause or context: several waiters
        may raise their own copy of one error, and none shows the frames of another.
        """
        copy = Exception.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.args = (without_keys(f"{where}: {self.message}") if where else self.message, *self.args[1:])
        for name, value in (("hint", hint), ("secret", secret), ("field", field), ("path", path)):
            if value is not None:
                setattr(copy, name, without_keys(value))
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the class, the message and the attributes, whatever arguments a subclass takes."""
        return _restored, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        text = " ".join(self.message.split("\n"))
        if self.path:
            text = f"{self.path}: {text}"
        return f"{text}. {self.hint}" if self.hint else text


def _restored(kind: type[SealflowError], args: tuple[Any, ...], attributes: dict[str, Any]) -> SealflowError:
    error = Exception.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


class SettingsError(SealflowError):
    """An environment variable, an option or ``sealflow.toml`` is missing something or has a wrong value.

    What to do: correct the setting that the message names.
    Retried: no.
    """


class SecretError(SealflowError):
    """Base class of the errors about one secret, or about a request for one.

    What to do: see the classes below.
    Retried: no.
    """


class SecretNotFoundError(SecretError):
    """There is no secret, version or provider with this name; the hint lists the closest names that exist.

    What to do: correct the name, or create the secret.
    Retried: no.
    """


class FieldNotFoundError(SecretError):
    """The secret exists but does not have this field; the hint lists the fields that it has.

    What to do: correct the field in the reference, or add the field to the secret.
    Retried: no.
    """


class SecretExistsError(SecretError):
    """There is already a secret with this name, or ``undelete`` was called for a secret that is not deleted.

    What to do: update the secret, delete it first, or choose another name.
    Retried: no.
    """


class VersionConflictError(SecretError):
    """The secret is not at the ``expected_version``: somebody changed it in the meantime. Nothing was changed.

    What to do: read the secret, and repeat your change.
    Retried: no.
    """


class SecretValidationError(SecretError):
    """A name, type, field, tag, policy or time is not valid. The message names the field, never its value.

    What to do: correct what the message names.
    Retried: no.
    """


class SecretExpiredError(SecretError):
    """The secret's ``expires_at`` has passed, so it is not given to workflows.

    What to do: update the secret with a new value, a later ``expires_at``, or both.
    Retried: no.
    """


class ReferenceSyntaxError(SealflowError):
    """A string begins like a reference but is not a valid one. ``column`` counts from 1 within the string.

    What to do: correct the reference at ``path`` and ``column``; the hint shows the form.
    Retried: no.
    """

    def __init__(self, message: str, *, column: int, hint: str, path: str | None = None) -> None:
        super().__init__(message, hint=hint, path=path)
        self.column = column


class MasterKeyError(SealflowError):
    """Base class of the errors about the master key (KEK).

    What to do: see the classes below.
    Retried: no.
    """


class MissingMasterKeyError(MasterKeyError):
    """No master key is configured, or a key that this operation needs as well is not.

    What to do: configure one of the keys that the message names, or the recovery key; for a new store, run
    ``sealflow init``.
    Retried: no.
    """


class InvalidMasterKeyError(MasterKeyError):
    """A master key or passphrase is malformed, or its file is unsafe, or the store cannot accept this key.

    What to do: copy the key again, make its file private (``chmod 600``), or give the key that the hint asks for.
    Retried: no.
    """


class WrongMasterKeyError(MasterKeyError):
    """The master key is well-formed, but this store does not know it. Nothing was read or changed.

    What to do: configure the key whose id the message gives as known to the store.
    Retried: no.
    """


class TamperedError(SealflowError):
    """A record or a wrapped key fails authentication: it was changed, moved or replayed, or its policy was changed.

    What to do: restore a backup, and find out who can write to the store.
    Retried: no.
    """


class StoreError(SealflowError):
    """Base class of the errors of a store.

    What to do: see the classes below.
    Retried: no, except StoreUnavailableError.
    """


class StoreUnavailableError(StoreError):
    """The store is missing, closed, locked, read-only, has a newer schema, or is not accessible to this user.

    What to do: follow the hint, for example run ``sealflow init``, correct the path or its permissions, or update.
    Retried: yes, by the engine, while the node's ``retry`` has attempts left.
    """


class StoreFullError(StoreError):
    """The disk or the quota is full. Nothing was changed.

    What to do: free some space, and run it again.
    Retried: no.
    """


class DamagedRecordError(StoreError):
    """A file, row or record of a store, backup or bundle cannot be understood. It is reported, never skipped.

    What to do: restore a backup; if the hint asks for a newer sealflow, update.
    Retried: no.
    """


class AuditError(StoreError):
    """``[audit] required`` is set, and the line in the audit trail cannot be written. No value was given out.

    What to do: free some space, or make the audit trail writable.
    Retried: no.
    """


class ProviderError(SealflowError):
    """Base class of the errors of an external provider.

    What to do: see the classes below.
    Retried: no, except ProviderUnavailableError.
    """


class ProviderUnavailableError(ProviderError):
    """The provider does not answer: a timeout, no connection, status 429 or 5xx, or it is sealed.

    ``retry_after``: the seconds that the provider asked to wait, or None.

    What to do: check the provider with ``sealflow provider test``; it may recover by itself.
    Retried: yes, by the resolver up to the provider's ``attempts``, then by the engine while the node's ``retry`` has attempts left.
    """

    retry_after: float | None = None


class ProviderDeniedError(ProviderError):
    """The provider refused access: status 401 or 403, or AccessDenied.

    What to do: correct the login, or what its policy permits.
    Retried: no.
    """


class ProviderMalformedError(ProviderError):
    """The provider's answer is not a secret, or the name cannot be asked for there.

    What to do: check the provider's address, mount, version and the name.
    Retried: no.
    """


class PolicyError(SealflowError):
    """Base class of the errors about a secret's policy.

    What to do: see the classes below.
    Retried: no.
    """


class HostNotAllowedError(PolicyError):
    """A request would carry a secret to a host or proxy that its policy does not allow, or without verified TLS, or data
    chose an address that is off limits. It was not sent.

    What to do: correct the URL, or add the host to ``allowed_hosts`` if the secret's owner agrees.
    Retried: no.
    """


class WorkflowNotAllowedError(PolicyError):
    """The secret's ``allowed_workflows`` do not include this workflow, or code outside a workflow.

    What to do: add the workflow to ``allowed_workflows`` if the secret's owner agrees.
    Retried: no.
    """


class TrustError(SealflowError):
    """A workflow file, or ``sealflow.toml``, asks for something that needs a folder that its user trusts.

    What to do: read what is in the folder; if you trust it, run the ``sealflow trust`` command that the hint shows.
    Retried: no.
    """


class WorkflowError(SealflowError):
    """A workflow, a node, a link or input data is not valid.

    What to do: correct the place that ``path`` names.
    Retried: no.
    """


class NodeConfigError(WorkflowError):
    """A node's config does not fit its type. The message names the field and the reference, never the value.

    What to do: correct the config, or the secret that the message names.
    Retried: no.
    """


class NodeStateError(WorkflowError):
    """A node was moved to a state that cannot follow its present one.

    What to do: start a new execution; a finished node does not run again.
    Retried: no.
    """


def attempt(
    kinds: type[_Error] | tuple[type[_Error], ...], work: Callable[[*_Args], _T], *args: *_Args
) -> tuple[_T, None] | tuple[None, _Error]:
    """Call ``work`` and return ``(value, None)``, or ``(None, error)`` when it raises one of ``kinds``.

    For code that has seen a value: an error that is raised after this call, outside any ``except`` block, has no
    ``__context__``, and so neither the library's message nor the frames in which the value was.
    """
    try:
        return work(*args), None
    except kinds as error:
        return None, error.with_traceback(None)


def without_locals(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Clear the local variables of every frame that an error of ``function`` leaves, and keep files and lines.

    For functions that are given values: what prints a traceback with its variables (rich, Sentry, cgitb) shows none.
    An error that the caller was handling already is left as it is.
    """

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        handled = sys.exception()
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            _clear_frames(error, handled)
            del args, kwargs
            raise

    return call


def _clear_frames(error: BaseException, handled: BaseException | None) -> None:
    waiting: list[BaseException | None] = [error]
    seen = {id(handled), id(None)}
    while waiting:
        item = waiting.pop()
        if item is not None and id(item) not in seen:
            seen.add(id(item))
            traceback.clear_frames(item.__traceback__)
            waiting += [item.__cause__, item.__context__]
