"""StoreCipher: a store's keyring in memory, and records sealed and opened with it."""

from __future__ import annotations

import json
from typing import Any

from sealflow.crypto.keyring import Keyring, record_context
from sealflow.crypto.master_key import KeySource
from sealflow.errors import DamagedRecordError, SealflowError, SecretNotFoundError, TamperedError
from sealflow.model.json_value import canonical
from sealflow.model.stored import KeyringDocument
from sealflow.stores.registry import SecretRegistry

_decode = json.JSONDecoder().decode


class StoreCipher:
    """Follows what other processes do to the keyring: a new store key, a new master key. Thread-safe."""

    def __init__(self, registry: SecretRegistry, sources: tuple[KeySource, ...]) -> None:
        """Open the keyring; raises WrongMasterKeyError, and nothing of the store changes."""
        self.sources = sources
        self._registry = registry
        self._store_id = registry.store_id
        self.document = registry.keyring()
        self.keyring = Keyring.open(self._store_id, self.document, *sources)

    def refresh(self) -> KeyringDocument:
        """Read the keyring anew where it changed; every writer does, so that it seals with the active key."""
        document = self._registry.keyring()
        if document != self.document:
            opened = Keyring.open(self._store_id, document, *self.sources)
            # A thread of ours may hold a record that it read before its key was destroyed.
            self.keyring = opened.with_older(self.keyring)
            self.document = document
        return document

    def seal(
        self, secret_id: str, name: str, version: int, type_name: str, policy: str, plaintext: bytes
    ) -> bytes:
        """Encrypt fields, as canonical JSON, for the place where they will stand."""
        context = record_context(self._store_id, secret_id, name, version, type_name, policy)
        return self.keyring.seal(plaintext, context)

    def seal_fields(
        self, secret_id: str, name: str, version: int, type_name: str, policy: str, fields: dict[str, Any]
    ) -> bytes:
        """Encrypt a secret's fields."""
        return self.seal(secret_id, name, version, type_name, policy, canonical(fields).encode())

    def open(
        self, secret_id: str, name: str, version: int, type_name: str, policy: str, record: bytes | None
    ) -> bytes:
        """Decrypt a record; raises SecretNotFoundError when it was destroyed, TamperedError, DamagedRecordError."""
        if record is None:
            raise SecretNotFoundError(
                f"version {version} of the secret {name!r} was destroyed",
                hint="Ask for another version",
                secret=name,
            )
        if not self.keyring.knows(record[4:12]):
            self.refresh()
        context = record_context(self._store_id, secret_id, name, version, type_name, policy)
        try:
            return self.keyring.unseal(record, context)
        except (TamperedError, DamagedRecordError) as error:
            raise _naming(error, name) from None

    def open_fields(
        self, secret_id: str, name: str, version: int, type_name: str, policy: str, record: bytes | None
    ) -> dict[str, Any]:
        """Decrypt a secret's fields."""
        plaintext = self.open(secret_id, name, version, type_name, policy, record)
        fields: dict[str, Any] = _decode(plaintext.decode())  # authenticated: it is the JSON that we wrote
        return fields


def _naming(error: SealflowError, name: str) -> SealflowError:
    return type(error)(f"the secret {name!r}: {error.message}", hint=error.hint, secret=name)
