"""SecretService: encrypts on the way into a store and decrypts on the way out."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from typing import Any, Final, Self

from sealflow.crypto.keyring import Keyring, record_context
from sealflow.crypto.master_key import KeySource
from sealflow.errors import (
    DamagedRecordError,
    SealflowError,
    SecretExistsError,
    SecretNotFoundError,
    SecretValidationError,
    TamperedError,
    VersionConflictError,
)
from sealflow.model import times
from sealflow.model.jsonvalue import canonical
from sealflow.model.names import BUILT_IN_TYPES, canonical_type, check_secret_name, closest, is_name, shown
from sealflow.model.policy import Policy
from sealflow.model.secret import Secret, SecretData, SecretInfo, SecretMetadata
from sealflow.stores.audit import AuditLog, Event
from sealflow.stores.base import MAX_VERSIONS, SecretRegistry, StoredRecord, StoredSecret, StoredVersion


class _Unset(Enum):
    UNSET = "unchanged"


UNSET: Final = _Unset.UNSET
"""The default of what ``update_secret`` leaves as it is; None clears."""

_decode = json.JSONDecoder().decode
_Hosts = Iterable[str] | None


class SecretService:
    """Secrets of one store, opened with one master key. Thread-safe; a context manager."""

    def __init__(self, registry: SecretRegistry, source: KeySource, audit: AuditLog | None = None) -> None:
        """Open the keyring; raises WrongMasterKeyError, and nothing of the store changes."""
        self.registry = registry
        self.audit = audit
        self._source = source
        self._document = registry.keyring()
        self._keyring = Keyring.open(registry.store_id, self._document, source)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SecretService({self.registry.backend}, store={self.registry.store_id})"

    def close(self) -> None:
        """Close the store and the audit trail; closing twice is fine."""
        if self.audit is not None:
            self.audit.close()
        self.registry.close()

    def create_secret(
        self,
        name: str,
        type: str,  # noqa: A002 - the name of the thing
        data: SecretData,
        *,
        description: str | None = None,
        tags: Iterable[str] = (),
        expires_at: datetime | str | None = None,
        allowed_hosts: _Hosts = None,
        allowed_workflows: _Hosts = None,
        allow_short: bool = True,
    ) -> SecretInfo:
        """Keep a new secret and return it without its data.

        ``allow_short=False`` refuses values of under 4 characters, which cannot be masked, as the command line does.

        Raises SecretExistsError when the name is in use, SecretValidationError naming what is wrong. Under the
        name of a deleted secret the versions go on, and the deleted ones stay in its history.
        """
        from sealflow.model.types import validated

        check_secret_name(name)
        type_name = canonical_type(type)
        fields = validated(type_name, data, allow_short=allow_short)
        policy = Policy.build(allowed_hosts, allowed_workflows, expires_at)
        texts = _checked_description(description), _checked_tags(tags)
        with self.registry.transaction() as transaction:
            self._refresh_keyring()
            old = transaction.load(name)
            if old is not None and old.deleted_at is None:
                raise SecretExistsError(
                    f"the secret {name!r} exists",
                    hint="Update it, delete it first, or choose another name",
                    secret=name,
                )
            stamp = times.to_text(times.now())
            secret = StoredSecret(
                old.id if old else secrets.token_hex(16),
                name,
                *texts,
                stamp,
                stamp,
                None,
                old.versions if old else (),
            )
            secret = self._with_version(secret, type_name, policy.to_text(), fields, stamp)
            transaction.save(secret)
        self._audited("create", name, secret.current.version, now=True)
        return _stored_info(secret)

    def get_secret(self, name: str, version: int | None = None) -> Secret:
        """Return the secret decrypted, its newest version or the given one.

        Raises SecretNotFoundError with the closest names, TamperedError, DamagedRecordError.
        """
        record = self.registry.read(name, version) if is_name(name) else None
        if record is None:
            raise self._not_found(name, version)
        problem = None
        try:
            secret = Secret(_info, record, self._data(record))
        except SealflowError as error:
            problem = error
        if problem is not None:
            self._audited("reveal", name, record.version, type(problem).__name__)
            raise problem
        self._audited("reveal", name, record.version)
        return secret

    def get_secrets(self, names: Iterable[str]) -> dict[str, Secret]:
        """Return those of ``names`` that exist, decrypted, by name: one read of the store for all of them."""
        found = self.revealed(names)
        for name, secret in found.items():
            self._audited("reveal", name, secret.version)
        return found

    def revealed(self, names: Iterable[str]) -> dict[str, Secret]:
        """Do what ``get_secrets`` does for the resolver, which knows more for the audit trail and writes it itself."""
        found = self.registry.read_many([name for name in names if is_name(name)])
        return {record.name: Secret(_info, record, self._data(record)) for record in found}

    def update_secret(
        self,
        name: str,
        data: SecretData | None = None,
        *,
        expected_version: int | None = None,
        description: str | None | _Unset = UNSET,
        tags: Iterable[str] | _Unset = UNSET,
        expires_at: datetime | str | None | _Unset = UNSET,
        allowed_hosts: _Hosts | _Unset = UNSET,
        allowed_workflows: _Hosts | _Unset = UNSET,
        allow_short: bool = True,
    ) -> SecretInfo:
        """Make the next version, from new data (all of its fields), new metadata, or both.

        What is not given stays; None clears. Raises VersionConflictError when ``expected_version`` is given and
        the secret is at another one; nothing is changed then.
        """
        import sealflow.model.types as secret_types  # before the lock: it brings pydantic

        given = (description, tags, expires_at, allowed_hosts, allowed_workflows)
        if data is None and all(value is UNSET for value in given):
            raise SecretValidationError(
                "there is nothing to change", hint="Give data or metadata", secret=str(name)
            )
        with self.registry.transaction() as transaction:
            self._refresh_keyring()
            old = transaction.load(name) if is_name(name) else None
            if old is None or old.deleted_at is not None:
                raise self._not_found(name, None)
            current = old.current
            if expected_version is not None and expected_version != current.version:
                raise VersionConflictError(
                    f"the secret {name!r} is at version {current.version}, not {expected_version}",
                    hint="Somebody changed it: read it again and repeat your change",
                    secret=name,
                )
            before = _policy(current.policy, name)
            policy = Policy.build(
                before.allowed_hosts if allowed_hosts is UNSET else allowed_hosts,
                before.allowed_workflows if allowed_workflows is UNSET else allowed_workflows,
                before.expires_at if expires_at is UNSET else expires_at,
            )
            old_fields = self._opened(
                old.id, name, current.version, current.type, current.policy, current.record
            )
            fields = (
                old_fields
                if data is None
                else secret_types.validated(current.type, data, allow_short=allow_short)
            )
            stamp = times.to_text(times.now())
            secret = old._replace(
                description=old.description if description is UNSET else _checked_description(description),
                tags=old.tags if tags is UNSET else _checked_tags(tags),
                updated_at=stamp,
            )
            secret = self._with_version(secret, current.type, policy.to_text(), fields, stamp)
            transaction.save(secret)
        self._audited("update", name, secret.current.version, now=True)
        return _stored_info(secret)

    def delete_secret(self, name: str) -> None:
        """Delete the secret: it is listed, read and resolved no more. Its versions stay until it is destroyed."""
        with self.registry.transaction() as transaction:
            old = transaction.load(name) if is_name(name) else None
            if old is None or old.deleted_at is not None:
                raise self._not_found(name, None)
            transaction.save(old._replace(deleted_at=times.to_text(times.now())))
        self._audited("delete", name, old.current.version, now=True)

    def list_secrets(self, type: str | None = None, tags: Iterable[str] = ()) -> list[SecretInfo]:  # noqa: A002
        """Return what is kept in clear text, sorted by name; ``tags``: those that have all of them."""
        return list_infos(self.registry, type, tags)

    def _audited(
        self, action: str, name: str, version: int, outcome: str = "ok", *, now: bool = False
    ) -> None:
        if self.audit is not None:
            self.audit.record(Event(action, ((name, version, "local"),), outcome), now=now)

    def _data(self, record: StoredRecord) -> dict[str, Any]:
        return self._opened(record.id, record.name, record.version, record.type, record.policy, record.record)

    def _with_version(
        self, secret: StoredSecret, type_name: str, policy: str, fields: dict[str, Any], stamp: str
    ) -> StoredSecret:
        version = secret.current.version + 1 if secret.versions else 1
        context = record_context(self.registry.store_id, secret.id, secret.name, version, type_name, policy)
        record = self._keyring.seal(canonical(fields).encode(), context)
        added = StoredVersion(version, type_name, policy, stamp, record)
        return secret._replace(versions=(*secret.versions, added)[-MAX_VERSIONS:])

    def _opened(
        self, secret_id: str, name: str, version: int, type_name: str, policy: str, record: bytes | None
    ) -> dict[str, Any]:
        if record is None:
            raise SecretNotFoundError(
                f"version {version} of the secret {name!r} was destroyed",
                hint="Ask for another version",
                secret=name,
            )
        if not self._keyring.knows(record[4:12]):
            self._refresh_keyring()
        context = record_context(self.registry.store_id, secret_id, name, version, type_name, policy)
        try:
            plaintext = self._keyring.unseal(record, context)
        except (TamperedError, DamagedRecordError) as error:
            raise _naming(error, name) from None
        fields: dict[str, Any] = _decode(plaintext.decode())  # authenticated: it is the JSON that we wrote
        return fields

    def _refresh_keyring(self) -> None:
        """Follow what another process did to the keyring: a new DEK, a new master key."""
        document = self.registry.keyring()
        if document != self._document:
            self._keyring = Keyring.open(self.registry.store_id, document, self._source)
            self._document = document

    def _not_found(self, name: object, version: int | None) -> SecretNotFoundError:
        names = [record.name for record in self.registry.find()]
        if version is not None and name in names:
            message, hint = f"the secret {name!r} has no version {version}", "The last 10 versions are kept"
        else:
            message, hint = f"there is no secret {shown(name)}", closest(str(name), names, what="secrets")
        return SecretNotFoundError(message, hint=hint, secret=str(name))


def list_infos(
    registry: SecretRegistry,
    type: str | None = None,  # noqa: A002
    tags: Iterable[str] = (),
) -> list[SecretInfo]:
    """List a store without its master key."""
    if type is not None:
        type = canonical_type(type)  # noqa: A001
        if type not in BUILT_IN_TYPES:
            from sealflow.model.types import type_model

            type_model(type)
    return [_info(record) for record in registry.find(type, _checked_tags(tags))]


def _naming(error: SealflowError, name: str) -> SealflowError:
    return type(error)(f"the secret {name!r}: {error.message}", hint=error.hint, secret=name)


def _policy(text: str, name: str) -> Policy:
    try:
        return Policy.from_text(text)
    except (ValueError, TypeError):
        pass
    raise DamagedRecordError(
        f"the policy of the secret {name!r} is damaged", hint="Restore a backup", secret=name
    )


def _info(record: StoredRecord) -> SecretInfo:
    policy = _policy(record.policy, record.name)
    try:
        created, updated = times.from_text(record.created_at), times.from_text(record.updated_at)
    except (ValueError, TypeError):
        created = None
    if created is None:
        raise DamagedRecordError(
            f"a time of the secret {record.name!r} is damaged", hint="Restore a backup", secret=record.name
        )
    metadata = SecretMetadata(record.description, record.tags, created, updated, policy)
    return SecretInfo(record.id, record.name, record.type, record.version, metadata)


def _stored_info(secret: StoredSecret) -> SecretInfo:
    current = secret.current
    return _info(StoredRecord(*secret[:6], current.version, current.type, current.policy, None))


def _checked_description(text: str | None) -> str | None:
    if text is not None and (not isinstance(text, str) or len(text) > 2000 or "\0" in text):
        raise SecretValidationError(
            "the description is no text of up to 2,000 characters", field="description"
        )
    return text


def _checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    given = None if isinstance(tags, str | bytes) or not isinstance(tags, Iterable) else tuple(tags)
    if given is None or not all(
        isinstance(tag, str) and 0 < len(tag) <= 128 and tag.isprintable() for tag in given
    ):
        raise SecretValidationError(
            "tags are a list of texts of 1 to 128 characters", hint="Give a list", field="tags"
        )
    return tuple(sorted(set(given)))
