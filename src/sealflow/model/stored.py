"""Secrets and the keyring as stores keep them: no value and no key in clear text."""

from __future__ import annotations

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
        return self.versions[-1]


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
