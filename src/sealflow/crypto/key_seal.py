"""KeySeal: seals a store's journal with the master key, so that the store itself needs no key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sealflow.crypto.keyring import Keyring
from sealflow.crypto.master_key import KeySource
from sealflow.model.stored import KeyringDocument

_LABEL = b"sealflow journal"


class KeySeal:
    """Opens the keyrings of one store, and seals its journals with them (docs/decisions/0011-planted-storage.md).

    A seal is a record (docs/reference/record-format.md) without content, whose associated data are a label, the store's
    id and the SHA-256 of what is sealed.
    """

    def __init__(self, store_id: str, sources: Sequence[KeySource]) -> None:
        """``sources``: the master keys at hand, the first that the store knows being used."""
        self._store_id = store_id
        self.sources = tuple(sources)
        self._last: tuple[KeyringDocument, Keyring] | None = None

    def open(self, document: KeyringDocument) -> Keyring:
        """Return the keyring opened; the last one is remembered, because a passphrase takes a third of a second.

        Raises WrongMasterKeyError, TamperedError, DamagedRecordError.
        """
        if self._last is None or self._last[0] != document:
            self._last = document, Keyring.open(self._store_id, document, *self.sources)
        return self._last[1]

    def make(self, keyring: KeyringDocument, content: bytes) -> bytes:
        """Seal ``content`` with the active DEK of ``keyring``."""
        return self.open(keyring).seal(b"", self._context(content))

    def check(self, keyring: KeyringDocument, content: bytes, seal: bytes) -> None:
        """Raise TamperedError, DamagedRecordError or WrongMasterKeyError unless ``seal`` was made for ``content``."""
        self.open(keyring).unseal(seal, self._context(content))

    def _context(self, content: bytes) -> tuple[bytes, ...]:
        return _LABEL, self._store_id.encode(), hashlib.sha256(content).digest()
