"""StoreAccess: an open store, its keyring and its audit trail, for sealflow's own rooms.

A program uses SecretService and ``sealflow.operations``. These, and the resolver, share the store through ``access_of``.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from sealflow.audit import AuditLog, Event
from sealflow.crypto.master_key import KeySource
from sealflow.errors import without_locals
from sealflow.model import times
from sealflow.model.contents import Contents
from sealflow.model.names import is_name
from sealflow.model.policy import Policy
from sealflow.model.secret import SecretInfo
from sealflow.model.stored import RecordPlace, StoredRecord, StoredSecret, StoredVersion
from sealflow.service.cipher import StoreCipher
from sealflow.service.describe import read_policy, stored_info
from sealflow.service.drafts import Draft
from sealflow.stores.registry import MAX_VERSIONS, RegistryTransaction, SecretRegistry


class OpenedRecord(NamedTuple):
    """The decrypted fields of a secret, its policy and its version."""

    contents: Contents
    policy: Policy
    version: int

    def __repr__(self) -> str:
        return f"OpenedRecord(contents=***, version={self.version})"


class StoreAccess:
    """A store opened with one master key. Thread-safe, as far as its registry is."""

    def __init__(
        self, registry: SecretRegistry, sources: Sequence[KeySource], audit: AuditLog | None
    ) -> None:
        """Open the keyring with the first of ``sources`` that the store knows; WrongMasterKeyError changes nothing."""
        self.registry = registry
        self.audit = audit
        self.cipher = StoreCipher(registry, tuple(sources))

    def close(self) -> None:
        """Close the audit trail and the store; closing twice is fine."""
        if self.audit is not None:
            self.audit.close()
        self.registry.close()

    def record(self, event: Event, *, now: bool = False) -> None:
        """Write an event into the audit trail, if there is one; ``now``: before this returns."""
        if self.audit is not None:
            self.audit.record(event, now=now)

    def open_record(self, record: StoredRecord) -> Contents:
        """Decrypt a record; every call returns a mapping of its own."""
        return self.cipher.open_contents(record.place, record.record)

    @without_locals
    def open_many(self, names: Iterable[str]) -> dict[str, OpenedRecord]:
        """Decrypt those of ``names`` that exist, with one read of the store.

        Writes nothing into the audit trail: the caller knows for which workflow and node it reads, and records that.
        """
        found = self.registry.read_many([name for name in names if is_name(name)])
        return {
            record.name: OpenedRecord(
                self.open_record(record), read_policy(record.policy, record.name), record.version
            )
            for record in found
        }

    def save_draft(
        self, transaction: RegistryTransaction, draft: Draft, old: StoredSecret | None
    ) -> SecretInfo:
        """Save ``draft`` as the next version of ``old``, or as a new secret, in the caller's transaction."""
        stamp = times.to_text(times.now())
        secret = StoredSecret(
            old.id if old else secrets.token_hex(16),
            draft.name,
            draft.description,
            draft.tags,
            old.created_at if old and old.deleted_at is None else stamp,
            stamp,
            None,
            old.versions if old else (),
        )
        secret = self.with_version(secret, draft.type, draft.policy.to_text(), draft.contents, stamp)
        transaction.save(secret)
        return stored_info(secret)

    def with_version(
        self, secret: StoredSecret, type_name: str, policy: str, contents: Contents, stamp: str
    ) -> StoredSecret:
        """Return ``secret`` with one more version; the oldest is dropped when there are more than 10."""
        version = secret.current.version + 1 if secret.versions else 1
        place = RecordPlace(secret.id, secret.name, version, type_name, policy)
        record = self.cipher.seal_contents(place, contents)
        added = StoredVersion(version, type_name, policy, stamp, record)
        return secret._replace(versions=(*secret.versions, added)[-MAX_VERSIONS:])


class HoldsAccess(Protocol):
    """What ``access_of`` takes: a SecretService."""

    def __store_access__(self) -> StoreAccess:
        """Return the open store."""
        ...


def access_of(service: HoldsAccess) -> StoreAccess:
    """Return the open store of a service, as ``os.fspath`` does for a path."""
    return service.__store_access__()
