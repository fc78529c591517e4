"""The keyring: store keys (DEKs) in memory, opened with a master key, and records sealed and opened with them."""

from __future__ import annotations

import os
from functools import lru_cache

from sealflow.crypto import envelope
from sealflow.crypto.kek import OpenedKek, new_kek, open_kek
from sealflow.crypto.master_key import WAY_OUT, KeySource, MasterKey, list_keks
from sealflow.errors import DamagedRecordError, WrongMasterKeyError
from sealflow.model import times
from sealflow.model.stored import Dek, KeyringDocument


class Keyring:
    """Unwrapped DEKs of one store, by id. Immutable: a new document means a new keyring."""

    __slots__ = ("_active", "_deks", "_derive", "kek_id", "store_id")

    def __init__(self, store_id: str, kek: str, active: bytes, deks: dict[bytes, bytes]) -> None:
        self.store_id = store_id
        self.kek_id = kek
        self._active = active
        self._deks = deks
        # HKDF takes a quarter of a read. A cached result reveals no more than the DEK beside it, and lives no longer.
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
                    f"the keyring has no copy of the store key {dek.dek_id} for the master key {found}",
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
        dek = self._deks.get(envelope.key_id(blob))
        if dek is None:
            envelope.read_header(blob)
            raise DamagedRecordError(
                f"a record needs the store key {envelope.key_id(blob).hex()}, which the keyring does not hold",
                hint="Restore a backup from before that key was destroyed",
            )
        return envelope.unseal(dek, blob, context, envelope.RECORD, self._derive)


def new_document(store_id: str, source: KeySource) -> KeyringDocument:
    """Return the keyring of a new store: one active DEK, wrapped with one master key."""
    created = times.to_text(times.now())
    opened, kek = new_kek(source, created)
    dek_id, dek = new_dek()
    return KeyringDocument((Dek(dek_id, "active", created),), (opened.wrap(dek, store_id, dek_id),), (kek,))


def new_dek() -> tuple[str, bytes]:
    """Return a new store key: its id and its 32 bytes."""
    return os.urandom(envelope.KEY_ID_BYTES).hex(), os.urandom(envelope.KEY_BYTES)


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
    raise WrongMasterKeyError(
        f"{', '.join(given)}, and this store knows {list_keks(document.keks)}",
        hint=f"Nothing was read or changed. {WAY_OUT}",
    )
