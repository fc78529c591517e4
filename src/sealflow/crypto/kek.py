"""Master keys as one store uses them (KEKs): opened from a key, a passphrase or a recovery key, they wrap store keys."""

from __future__ import annotations

import base64
import os
from contextlib import suppress
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from sealflow.crypto import envelope
from sealflow.crypto.master_key import KeyMaterial, KeySource, MasterKey, Passphrase, kek_id
from sealflow.errors import DamagedRecordError, InvalidMasterKeyError
from sealflow.model.stored import Kek, KeyWrap

SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 17, 8, 1
_MIN_N, _MAX_N = 1 << 15, 1 << 20


class OpenedKek(KeyMaterial):
    """A master key in memory, as one store uses it: it wraps and unwraps that store's DEKs."""

    __slots__ = ("kek_id",)

    def __init__(self, kek_name: str, raw: bytes) -> None:
        super().__init__(raw, kek_name)
        self.kek_id = kek_name

    def wrap(self, dek: bytes, store_id: str, dek_id: str) -> KeyWrap:
        """Return the DEK encrypted, bound to its store and id."""
        sealed = envelope.seal(
            self._raw, bytes.fromhex(self.kek_id), dek, _bound(store_id, dek_id), envelope.KEY_WRAP
        )
        return KeyWrap(dek_id, self.kek_id, sealed)

    def unwrap(self, wrapped: bytes, store_id: str, dek_id: str) -> bytes:
        """Return the DEK; TamperedError for a wrap that was changed or belongs elsewhere."""
        self._check_header(wrapped)
        return envelope.unseal(self._raw, wrapped, _bound(store_id, dek_id), envelope.KEY_WRAP)

    def seal_bundle(self, plaintext: bytes) -> bytes:
        """Encrypt a portable bundle."""
        return envelope.seal(
            self._raw, bytes.fromhex(self.kek_id), envelope.padded(plaintext), (), envelope.BUNDLE
        )

    def unseal_bundle(self, sealed: bytes) -> bytes:
        """Decrypt a portable bundle; TamperedError when it was changed."""
        return envelope.unseal(self._raw, sealed, (), envelope.BUNDLE)

    def _check_header(self, wrapped: bytes) -> None:
        if envelope.read_header(wrapped).key_id.hex() != self.kek_id:
            raise DamagedRecordError("a wrapped key names another master key", hint="Restore a backup")


class RecoveryKek(OpenedKek):
    """A recovery key: an X25519 key pair, so that a new DEK is wrapped for it while it lies in its safe.

    A wrap is an ephemeral public key (32 bytes) and an envelope sealed with what the two keys agree on (RFC 7748).
    """

    __slots__ = ("public",)

    def __init__(self, kek_name: str, public: bytes, raw: bytes = b"") -> None:
        super().__init__(kek_name, raw)
        self.public = public

    def wrap(self, dek: bytes, store_id: str, dek_id: str) -> KeyWrap:
        ephemeral = X25519PrivateKey.generate()
        ours = ephemeral.public_key().public_bytes_raw()
        agreed = ephemeral.exchange(X25519PublicKey.from_public_bytes(self.public))
        context = (*_bound(store_id, dek_id), ours, self.public)
        sealed = envelope.seal(agreed, bytes.fromhex(self.kek_id), dek, context, envelope.RECOVERY_WRAP)
        return KeyWrap(dek_id, self.kek_id, ours + sealed)

    def unwrap(self, wrapped: bytes, store_id: str, dek_id: str) -> bytes:
        theirs, sealed = wrapped[:32], wrapped[32:]
        self._check_header(sealed)
        private = X25519PrivateKey.from_private_bytes(self._raw)
        public = private.public_key().public_bytes_raw()
        agreed = b"\0" * 32
        with suppress(ValueError):  # a point of low order: what was sealed for it does not open
            agreed = private.exchange(X25519PublicKey.from_public_bytes(theirs))
        context = (*_bound(store_id, dek_id), theirs, public)
        return envelope.unseal(agreed, sealed, context, envelope.RECOVERY_WRAP)


def recovery_public(raw: bytes) -> bytes:
    """Return the public half of a recovery key."""
    return X25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()


def new_kek(source: KeySource, created: str) -> tuple[OpenedKek, Kek]:
    """Return a master key opened for a store that does not know it yet; a passphrase gets a salt of its own."""
    if isinstance(source, MasterKey):
        return OpenedKek(source.kek_id, source.reveal()), Kek(source.kek_id, "key", None, created)
    params = {"salt": base64.b64encode(os.urandom(16)).decode(), "n": SCRYPT_N, "r": SCRYPT_R, "p": SCRYPT_P}
    raw = scrypt(source, params)
    return OpenedKek(kek_id(raw), raw), Kek(kek_id(raw), "passphrase", params, created)


def open_kek(kek: Kek, source: KeySource) -> OpenedKek | None:
    """Return the store's master key ``kek`` opened, or None when ``source`` is another one."""
    if isinstance(source, MasterKey):
        if source.kek_id != kek.kek_id:
            return None
        if kek.kind == "recovery":
            return RecoveryKek(kek.kek_id, recovery_public(source.reveal()), source.reveal())
        return OpenedKek(kek.kek_id, source.reveal())
    if kek.kind != "passphrase":
        return None
    raw = scrypt(source, kek.params or {})
    return OpenedKek(kek.kek_id, raw) if kek_id(raw) == kek.kek_id else None


def scrypt(source: Passphrase, params: dict[str, Any]) -> bytes:
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


def _bound(store_id: str, dek_id: str) -> tuple[bytes, bytes]:
    return store_id.encode(), bytes.fromhex(dek_id)
