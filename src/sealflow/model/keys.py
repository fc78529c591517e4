"""The keyring as stores keep it: no key in clear text, only ids, states and wrapped keys."""

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
