"""A user's file that writes a store of its own with the names of ``sealflow.stores`` only. Type-checked, never run."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from sealflow.stores import (
    Dek,
    DekState,
    FileStore,
    JournalSeal,
    Kek,
    KeyringDocument,
    KeyWrap,
    RecordPlace,
    RegistryTransaction,
    SecretRegistry,
    Snapshot,
    SqliteStore,
    StoredRecord,
    StoredSecret,
    StoredVersion,
    StoreFallbackWarning,
    StoreStatus,
)

_STATE: DekState = "active"
_TIME = "2026-01-02T03:04:05Z"


class MyTransaction:
    def __init__(self, secrets: dict[str, StoredSecret]) -> None:
        self.secrets = secrets
        self.keyring: KeyringDocument | None = None

    def load(self, name: str) -> StoredSecret | None:
        return self.secrets.get(name)

    def save(self, secret: StoredSecret) -> None:
        self.secrets[secret.name] = secret

    def remove(self, name: str) -> None:
        self.secrets.pop(name, None)

    def save_keyring(self, document: KeyringDocument) -> None:
        self.keyring = document


class MyStore(SecretRegistry):
    backend: ClassVar[str] = "mine"

    def __init__(self, path: Path, store_id: str, keyring: KeyringDocument) -> None:
        self.path = path
        self.store_id = store_id
        self._keyring = keyring
        self._secrets: dict[str, StoredSecret] = {}
        self._seal: JournalSeal | None = None

    @classmethod
    def create(cls, path: Path, store_id: str, keyring: KeyringDocument) -> MyStore:
        return cls(path, store_id, keyring)

    @classmethod
    def open(cls, path: Path) -> MyStore:
        return cls(path, "mine", make_keyring())

    @classmethod
    def exists(cls, path: Path) -> bool:
        return path.exists()

    def load(self, name: str) -> StoredSecret | None:
        return self._secrets.get(name)

    def keyring(self) -> KeyringDocument:
        return self._keyring

    @contextmanager
    def snapshot(self) -> Generator[Snapshot]:
        yield Snapshot(self._keyring, iter(self._secrets.values()))

    @contextmanager
    def transaction(self) -> Generator[RegistryTransaction]:
        yield MyTransaction(self._secrets)

    def vouch_with(self, seal: JournalSeal) -> None:
        self._seal = seal


def make_keyring() -> KeyringDocument:
    return KeyringDocument(
        (Dek("00" * 8, _STATE, _TIME),),
        (KeyWrap("00" * 8, "11" * 8, b"wrapped"),),
        (Kek("11" * 8, "key", None, _TIME),),
    )


def use_a_store(registry: SecretRegistry) -> tuple[StoredRecord | None, RecordPlace, StoreStatus]:
    version = StoredVersion(1, "api_key", "{}", _TIME, b"record")
    secret = StoredSecret("id", "name", None, (), _TIME, _TIME, None, (version,))
    with registry, registry.transaction() as transaction:
        transaction.save(secret)
    return registry.read("name"), secret.place(version), registry.status()


def name_the_backends() -> list[type[SecretRegistry]]:
    return [SqliteStore, FileStore]


def is_fallback(warning: Warning) -> bool:
    return isinstance(warning, StoreFallbackWarning)
