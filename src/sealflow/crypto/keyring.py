"""The keyring: DEKs in memory, opened with a master key, and what is done with them."""

from __future__ import annotations

import base64
import hashlib
import os
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from sealflow.crypto import envelope
from sealflow.crypto.master_key import KeySource, MasterKey, Passphrase, kek_id
from sealflow.errors import DamagedRecordError, InvalidMasterKeyError, WrongMasterKeyError
from sealflow.model import times
from sealflow.model.keys import Dek, Kek, KeyringDocument, KeyWrap

SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 17, 8, 1
_MIN_N, _MAX_N = 1 << 15, 1 << 20


class Keyring:
    """Unwrapped DEKs of one store, by id. Immutable: a new document means a new keyring."""

    __slots__ = ("_active", "_deks", "_derive", "kek_id", "store_id")

    def __init__(self, store_id: str, kek: str, active: bytes, deks: dict[bytes, bytes]) -> None:
        self.store_id = store_id
        self.kek_id = kek
        self._active = active
        self._deks = deks
        # A quarter of a read is HKDF; what it gave is worth no more than the DEK beside it, and goes with it.
        self._derive = lru_cache(maxsize=1024)(envelope.derived)

    def __repr__(self) -> str:
        return f"Keyring(store={self.store_id}, kek={self.kek_id}, deks={len(self._deks)})"

    @classmethod
    def open(cls, store_id: str, document: KeyringDocument, source: KeySource) -> Keyring:
        """Unwrap every DEK that is not destroyed.

        Raises WrongMasterKeyError, naming both ids, for a key the store does not know; TamperedError for a
        wrap that was changed or came from another store; DamagedRecordError when wraps are missing.
        """
        raw, found = _select(document, source)
        wraps = {wrap.dek_id: wrap.wrapped for wrap in document.wraps if wrap.kek_id == found}
        deks: dict[bytes, bytes] = {}
        for dek in document.deks:
            if dek.state == "destroyed":
                continue
            if dek.dek_id not in wraps:
                raise DamagedRecordError(
                    f"the keyring holds no copy of the store key {dek.dek_id} for the master key {found}",
                    hint="Open the store with the master key that was used before, or restore a backup",
                )
            deks[bytes.fromhex(dek.dek_id)] = _unwrap(raw, wraps[dek.dek_id], store_id, dek.dek_id, found)
        active = [dek.dek_id for dek in document.deks if dek.state == "active"]
        if len(active) != 1:
            raise DamagedRecordError(
                f"the keyring has {len(active)} active keys and needs one", hint="Restore a backup"
            )
        return cls(store_id, found, bytes.fromhex(active[0]), deks)

    def knows(self, dek_id: bytes) -> bool:
        """Whether records of this DEK can be read; if not, another process may have rotated: read the document again."""
        return dek_id in self._deks

    def seal(self, plaintext: bytes, context: tuple[bytes, ...]) -> bytes:
        """Encrypt with the active DEK."""
        return envelope.seal(self._deks[self._active], self._active, envelope.padded(plaintext), context)

    def unseal(self, blob: bytes, context: tuple[bytes, ...]) -> bytes:
        """Decrypt with the DEK that the record names."""
        dek = self._deks.get(blob[4:12])
        if dek is None:
            envelope.read_header(blob)
            raise DamagedRecordError(
                f"a record needs the store key {blob[4:12].hex()}, which the keyring does not hold",
                hint="Restore a backup from before that key was destroyed",
            )
        return envelope.unseal(dek, blob, context, envelope.RECORD, self._derive)


def new_document(store_id: str, source: KeySource) -> KeyringDocument:
    """Return the keyring of a new store: one active DEK, wrapped with one master key."""
    created = times.to_text(times.now())
    raw, kek = _new_kek(source, created)
    dek_id, dek = os.urandom(envelope.KEY_ID_BYTES).hex(), os.urandom(envelope.KEY_BYTES)
    return KeyringDocument(
        (Dek(dek_id, "active", created),),
        (KeyWrap(dek_id, kek.kek_id, _wrap(raw, dek, store_id, dek_id, kek.kek_id)),),
        (kek,),
    )


def record_context(
    store_id: str, secret_id: str, name: str, version: int, type_name: str, policy: str
) -> tuple[bytes, ...]:
    """Return what a record is bound to, beside its header: where it stands, what it is, and its policy's hash."""
    return (
        store_id.encode(),
        secret_id.encode(),
        name.encode(),
        version.to_bytes(8),
        type_name.encode(),
        hashlib.sha256(policy.encode()).digest(),
    )


def _wrap(kek: bytes, dek: bytes, store_id: str, dek_id: str, kek_name: str) -> bytes:
    return envelope.seal(
        kek, bytes.fromhex(kek_name), dek, (store_id.encode(), bytes.fromhex(dek_id)), envelope.KEY_WRAP
    )


def _unwrap(kek: bytes, wrapped: bytes, store_id: str, dek_id: str, kek_name: str) -> bytes:
    if envelope.read_header(wrapped).key_id.hex() != kek_name:
        raise DamagedRecordError("a wrapped key names another master key", hint="Restore a backup")
    return envelope.unseal(kek, wrapped, (store_id.encode(), bytes.fromhex(dek_id)), envelope.KEY_WRAP)


def _new_kek(source: KeySource, created: str) -> tuple[bytes, Kek]:
    if isinstance(source, MasterKey):
        return source.reveal(), Kek(source.kek_id, "key", None, created)
    params = {"salt": base64.b64encode(os.urandom(16)).decode(), "n": SCRYPT_N, "r": SCRYPT_R, "p": SCRYPT_P}
    raw = _scrypt(source, params)
    return raw, Kek(kek_id(raw), "passphrase", params, created)


def _select(document: KeyringDocument, source: KeySource) -> tuple[bytes, str]:
    """Return the KEK and its id: selected by the id, never tried on a wrapped key."""
    known = {kek.kek_id for kek in document.keks}
    if isinstance(source, MasterKey):
        if source.kek_id in known:
            return source.reveal(), source.kek_id
        given = source.kek_id
    else:
        given = "passphrase"
        for kek in document.keks:
            if kek.params is not None:
                raw = _scrypt(source, kek.params)
                given = kek_id(raw)
                if given == kek.kek_id:
                    return raw, given
    raise WrongMasterKeyError(
        f"the master key from {source.source} has the id {given}, and this store knows {', '.join(sorted(known)) or 'none'}",
        hint="Configure the key that the store was made with; nothing was read or changed",
    )


def _scrypt(source: Passphrase, params: dict[str, Any]) -> bytes:
    """Derive a KEK (RFC 7914); a store that asks for less or far more work than ours is refused, not obeyed."""
    try:
        salt, n = base64.b64decode(params["salt"], validate=True), params["n"]
        usable = isinstance(n, int) and _MIN_N <= n <= _MAX_N and n & (n - 1) == 0 and len(salt) >= 16
        usable = usable and (params["r"], params["p"]) == (SCRYPT_R, SCRYPT_P)
    except (KeyError, TypeError, ValueError):
        usable = False
    if not usable:
        raise InvalidMasterKeyError(
            "the store's scrypt parameters are out of bounds", hint="Restore a backup"
        )
    return Scrypt(salt=salt, length=32, n=n, r=SCRYPT_R, p=SCRYPT_P).derive(source.reveal())
