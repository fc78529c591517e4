"""What every store is: SecretRegistry, and the documents it keeps. Stores know nothing of keys or values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, Self

from sealflow.errors import StoreError
from sealflow.model.stored import KeyringDocument, StoredRecord, StoredSecret

MAX_VERSIONS = 10


class StoreStatus(NamedTuple):
    """What ``sealflow store status`` shows. ``files`` are all files of the store."""

    backend: str
    path: Path
    store_id: str
    schema_version: int
    read_only: bool
    secrets: int
    files: tuple[Path, ...]


class Snapshot(NamedTuple):
    """All of a store as it was at one moment: ``secrets`` yields each with its versions, deleted ones too, in any order."""

    keyring: KeyringDocument
    secrets: Iterator[StoredSecret]


class RegistryTransaction(Protocol):
    """A writer's view: what it loads stays true until it ends, and all it saves appears at once or not at all."""

    def load(self, name: str) -> StoredSecret | None:
        """Return the secret, also when it is deleted; None when there is none."""
        ...

    def save(self, secret: StoredSecret) -> None:
        """Make ``secret`` what is kept under its name, versions included: those left out are gone."""
        ...

    def remove(self, name: str) -> None:
        """Remove the secret and all its versions for good."""
        ...

    def save_keyring(self, document: KeyringDocument) -> None:
        """Replace the keyring."""
        ...


class JournalSeal(Protocol):
    """Signs and checks a store's journal with the master key, so that the store never sees the key."""

    def make(self, keyring: KeyringDocument, content: bytes) -> bytes:
        """Return a seal that only a holder of a key of ``keyring`` can make."""
        ...

    def check(self, keyring: KeyringDocument, content: bytes, seal: bytes) -> None:
        """Raise TamperedError, DamagedRecordError or WrongMasterKeyError unless the seal is one for this content."""
        ...


class SecretRegistry(ABC):
    """The base class of stores, and a context manager that closes them.

    Thread-safe; raises StoreError and its kinds, never a library's own errors. A store of your own defines the abstract
    methods, and overrides of the others what it can do faster. Run ``sealflow.testing.StoreContract`` on it, and name
    it by an entry point in the group ``sealflow.stores``.
    """

    backend: ClassVar[str]
    files: ClassVar[tuple[str, ...]] = ()
    """Names of what it keeps in the storage directory, the most important first; empty when it keeps things elsewhere."""
    schema_version: int = 1
    read_only: bool = False
    path: Path
    store_id: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    @abstractmethod
    def create(cls, path: Path, store_id: str, keyring: KeyringDocument) -> Self:
        """Make a store in an existing private directory that holds none; whole or not at all."""

    @classmethod
    @abstractmethod
    def open(cls, path: Path) -> Self:
        """Open the store that is there; StoreUnavailableError when there is none."""

    @classmethod
    @abstractmethod
    def exists(cls, path: Path) -> bool:
        """Return whether this kind of store was made here, even if it is damaged."""

    @abstractmethod
    def load(self, name: str) -> StoredSecret | None:
        """Return the whole secret, deleted or not; None when there is none."""

    @abstractmethod
    def keyring(self) -> KeyringDocument:
        """Return the keyring as it is now."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Read all of the store as it is at this moment, whatever is written meanwhile."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[RegistryTransaction]:
        """Begin writing; one writer at a time, over all processes. An exception inside undoes it."""

    def read(self, name: str, version: int | None = None) -> StoredRecord | None:
        """Return a version (None: the newest) of a secret that is not deleted, or None."""
        secret = self.load(name)
        if secret is None or secret.deleted_at is not None:
            return None
        for kept in reversed(secret.versions):
            if version in (None, kept.version):
                return secret.at(kept)
        return None

    def read_many(self, names: Iterable[str]) -> list[StoredRecord]:
        """Return the newest versions of those of ``names`` that are there and not deleted, in any order."""
        return [record for name in names if (record := self.read(name)) is not None]

    def find(self, type: str | None = None, tags: Iterable[str] = ()) -> list[StoredRecord]:  # noqa: A002
        """Return the newest version of each secret that is not deleted and has the type and all the tags, by name.

        Their ``record`` is None.
        """
        with self.snapshot() as snapshot:
            return list_secrets(snapshot.secrets, type, tags)

    def status(self) -> StoreStatus:
        """Describe the store."""
        return StoreStatus(
            self.backend,
            self.path,
            self.store_id,
            self.schema_version,
            self.read_only,
            len(self.find()),
            self.list_files(),
        )

    def list_files(self) -> tuple[Path, ...]:
        """Return all files in the storage directory; a link there is not a file of ours."""
        found = (item for item in self.path.rglob("*") if item.is_file() and not item.is_symlink())
        return tuple(sorted(found))

    def problems(self) -> list[str]:
        """Look at every part of what is kept, and say what is damaged; decrypts nothing."""
        try:
            with self.snapshot() as snapshot:
                for _ in snapshot.secrets:
                    pass
        except StoreError as error:
            return [error.message]
        return []

    def vouch_with(self, seal: JournalSeal) -> None:  # noqa: B027 - a default
        """Receive the seal for the store's journal; called when the master key is known.

        A store that was interrupted and needs the key to finish does so now. By default nothing happens.
        """

    def close(self) -> None:  # noqa: B027 - a default
        """Free what it holds; closing twice is fine."""


def list_secrets(
    secrets: Iterable[StoredSecret], wanted_type: str | None, tags: Iterable[str]
) -> list[StoredRecord]:
    """Return those that are not deleted and have the type and all the tags, by name, as ``find`` does."""
    wanted = set(tags)
    found = [
        secret.at(secret.current)._replace(record=None)
        for secret in secrets
        if secret.deleted_at is None
        and wanted_type in (None, secret.current.type)
        and wanted <= set(secret.tags)
    ]
    return sorted(found, key=lambda record: record.name)
