"""The keyring: DEKs in memory, opened with a master key, and what is done with them."""

from __future__ import annotations

import base64
import hashlib
import os
from contextlib import suppress
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from sealflow.crypto import envelope
from sealflow.crypto.master_key import KeySource, MasterKey, Passphrase, Sealed, kek_id
from sealflow.errors import DamagedRecordError, InvalidMasterKeyError, WrongMasterKeyError
from sealflow.model import times
from sealflow.model.stored import Dek, Kek, KeyringDocument, KeyWrap

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
    def open(cls, store_id: str, document: KeyringDocument, *sources: KeySource) -> Keyring:
        """Unwrap every DEK that is not destroyed, with the first of ``sources`` that the store knows.

        Raises WrongMasterKeyError, naming both ids, for a key the store does not know; TamperedError for a
        wrap that was changed or came from another store; DamagedRecordError when wraps are missing.
        """
        kek = _select(document, sources)
        found = kek.kek_id
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
            deks[bytes.fromhex(dek.dek_id)] = kek.unwrap(wraps[dek.dek_id], store_id, dek.dek_id)
        active = [dek.dek_id for dek in document.deks if dek.state == "active"]
        if len(active) != 1:
            raise DamagedRecordError(
                f"the keyring has {len(active)} active keys and needs one", hint="Restore a backup"
            )
        return cls(store_id, found, bytes.fromhex(active[0]), deks)

    def with_older(self, older: Keyring) -> Keyring:
        """Return this keyring with the store keys that ``older`` knew too, for what was read before they were destroyed."""
        return Keyring(self.store_id, self.kek_id, self._active, {**older._deks, **self._deks})

    def dek(self, dek_id: str) -> bytes:
        """Return a store key, for another wrap of it."""
        return self._deks[bytes.fromhex(dek_id)]

    @property
    def active_id(self) -> bytes:
        """The id of the DEK that seals."""
        return self._active

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


class OpenedKek(Sealed):
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


def new_document(store_id: str, source: KeySource) -> KeyringDocument:
    """Return the keyring of a new store: one active DEK, wrapped with one master key."""
    created = times.to_text(times.now())
    opened, kek = new_kek(source, created)
    dek_id, dek = new_dek()
    return KeyringDocument((Dek(dek_id, "active", created),), (opened.wrap(dek, store_id, dek_id),), (kek,))


def new_dek() -> tuple[str, bytes]:
    """Return a new store key: its id and its 32 bytes."""
    return os.urandom(envelope.KEY_ID_BYTES).hex(), os.urandom(envelope.KEY_BYTES)


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
        _policy_hash(policy),
    )


@lru_cache(maxsize=256)
def _policy_hash(policy: str) -> bytes:
    """SHA-256 of a policy; most secrets share one."""
    return hashlib.sha256(policy.encode()).digest()


def _bound(store_id: str, dek_id: str) -> tuple[bytes, bytes]:
    return store_id.encode(), bytes.fromhex(dek_id)


def _select(document: KeyringDocument, sources: tuple[KeySource, ...]) -> OpenedKek:
    """Return the KEK: selected by its id, never tried on a wrapped key."""
    for source in sources:
        for kek in document.keks:
            opened = open_kek(kek, source)
            if opened is not None:
                return opened
    given = [
        f"the master key from {source.source} has the id {source.kek_id}"
        if isinstance(source, MasterKey)
        else f"the passphrase from {source.source} is another one"
        for source in sources
    ]
    known = ", ".join(sorted(kek.kek_id for kek in document.keks))
    raise WrongMasterKeyError(
        f"{', '.join(given)}, and this store knows {known or 'none'}",
        hint="Configure the key that the store was made with; nothing was read or changed",
    )


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
