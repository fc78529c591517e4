"""StoreCipher: a store's keyring in memory, and records sealed and opened with it."""

from __future__ import annotations

from sealflow.crypto import envelope
from sealflow.crypto.key_seal import KeySeal
from sealflow.crypto.master_key import KeySource
from sealflow.errors import DamagedRecordError, SecretNotFoundError, TamperedError
from sealflow.model.contents import Contents
from sealflow.model.stored import KeyringDocument, RecordPlace
from sealflow.stores.registry import SecretRegistry


class StoreCipher:
    """Follows what other processes do to the keyring: a new store key, a new master key. Thread-safe."""

    def __init__(self, registry: SecretRegistry, sources: tuple[KeySource, ...]) -> None:
        """Open the keyring; raises WrongMasterKeyError, and nothing of the store changes.

        A write that was interrupted in the file store is finished now that the key can vouch for it.
        """
        self._registry = registry
        self._store_id = registry.store_id
        self._seal = KeySeal(self._store_id, sources)
        registry.vouch_with(self._seal)
        self.document = registry.keyring()
        self.keyring = self._seal.open(self.document)

    @property
    def sources(self) -> tuple[KeySource, ...]:
        """The master keys at hand."""
        return self._seal.sources

    def refresh(self) -> KeyringDocument:
        """Read the keyring again, if it changed; every writer does, so that it seals with the active key."""
        document = self._registry.keyring()
        if document != self.document:
            opened = self._seal.open(document)
            # A thread of ours may hold a record that it read before its key was destroyed.
            self.keyring = opened.with_older(self.keyring)
            self.document = document
        return document

    def seal(self, place: RecordPlace, plaintext: bytes) -> bytes:
        """Encrypt canonical JSON for its place."""
        return self.keyring.seal(plaintext, place.associated_data(self._store_id))

    def seal_contents(self, place: RecordPlace, contents: Contents) -> bytes:
        """Encrypt a secret's fields, and which are public, for their place."""
        return self.seal(place, contents.to_text(place.type).encode())

    def open(self, place: RecordPlace, record: bytes | None) -> bytes:
        """Decrypt a record; raises SecretNotFoundError when it was destroyed, TamperedError, DamagedRecordError."""
        if record is None:
            raise SecretNotFoundError(
                f"version {place.version} of the secret {place.name!r} was destroyed",
                hint="Ask for another version",
                secret=place.name,
            )
        if not self.keyring.knows(envelope.key_id(record)):
            self.refresh()
        try:
            return self.keyring.unseal(record, place.associated_data(self._store_id))
        except (TamperedError, DamagedRecordError) as error:
            raise error.placed(f"the secret {place.name!r}", secret=place.name) from None

    def open_contents(self, place: RecordPlace, record: bytes | None) -> Contents:
        """Decrypt a secret's fields, and which of them are public."""
        return Contents.from_text(self.open(place, record).decode(), place.type)
