"""Secrets and the keyring as stores keep them: no value and no key in clear text."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Literal, NamedTuple

DekState = Literal["active", "decrypt_only", "destroyed"]


class Dek(NamedTuple):
    """A data-encryption key: 16 hex digits of id, its state, RFC 3339 time."""

    dek_id: str
    state: DekState
    created_at: str


class KeyWrap(NamedTuple):
    """A DEK encrypted with a KEK; several rows a DEK while master keys are exchanged."""

    dek_id: str
    kek_id: str
    wrapped: bytes


class Kek(NamedTuple):
    """A master key that this store knows by its id. ``params``: scrypt's, where it is a passphrase."""

    kek_id: str
    kind: Literal["key", "passphrase", "recovery"]
    params: dict[str, Any] | None
    created_at: str


class KeyringDocument(NamedTuple):
    """All of it; exactly one DEK is active."""

    deks: tuple[Dek, ...]
    wraps: tuple[KeyWrap, ...]
    keks: tuple[Kek, ...]


class RecordPlace(NamedTuple):
    """Where a record belongs: the secret, its name, version and type, and its policy as canonical text."""

    secret_id: str
    name: str
    version: int
    type: str
    policy: str

    def associated_data(self, store_id: str) -> tuple[bytes, ...]:
        """Return what the record is bound to besides its header, in the order of the record format."""
        return (
            store_id.encode(),
            self.secret_id.encode(),
            self.name.encode(),
            self.version.to_bytes(8),
            self.type.encode(),
            _policy_hash(self.policy),
        )


@lru_cache(maxsize=256)
def _policy_hash(policy: str) -> bytes:
    """Return the SHA-256 of a policy; cached, because most secrets share one."""
    return hashlib.sha256(policy.encode()).digest()


class StoredVersion(NamedTuple):
    """One version as it is kept. ``policy`` is canonical text, ``record`` the encrypted blob; None once destroyed."""

    version: int
    type: str
    policy: str
    created_at: str
    record: bytes | None


class StoredSecret(NamedTuple):
    """A secret with all its kept versions, oldest first, at least one. Times are RFC 3339 text."""

    id: str
    name: str
    description: str | None
    tags: tuple[str, ...]
    created_at: str
    updated_at: str
    deleted_at: str | None
    versions: tuple[StoredVersion, ...]

    @property
    def current(self) -> StoredVersion:
        """The newest version."""
        return self.versions[-1]

    def place(self, kept: StoredVersion) -> RecordPlace:
        """Return where the record of one of its versions belongs."""
        return RecordPlace(self.id, self.name, kept.version, kept.type, kept.policy)

    def at(self, kept: StoredVersion) -> StoredRecord:
        """Return one of its versions, flat."""
        return StoredRecord(*self[:6], kept.version, kept.type, kept.policy, kept.record)


class StoredRecord(NamedTuple):
    """One version of a secret that is not deleted, with what is kept beside it: what one read needs, flat.

    In a listing ``record`` is None.
    """

    id: str
    name: str
    description: str | None
    tags: tuple[str, ...]
    created_at: str
    updated_at: str
    version: int
    type: str
    policy: str
    record: bytes | None

    @property
    def place(self) -> RecordPlace:
        """Where the record belongs."""
        return RecordPlace(self.id, self.name, self.version, self.type, self.policy)
