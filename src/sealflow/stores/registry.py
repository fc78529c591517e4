"""What every store is: SecretRegistry, and the documents it keeps. Stores know nothing of keys or values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, Self, runtime_checkable

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


@runtime_checkable
class SecretRegistry(Protocol):
    """The interface of a store. Thread-safe; raises StoreError and its kinds, never a library's own errors.

    Whoever writes one runs ``sealflow.testing.StoreContract`` on it, and names it by an entry point in the
    group ``sealflow.stores``.
    """

    backend: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    """Names of what it keeps in the storage directory, the most important first; empty when it keeps things elsewhere."""
    store_id: str

    @classmethod
    def create(cls, path: Path, store_id: str, keyring: KeyringDocument) -> Self:
        """Make a store in an existing private directory that holds none; whole or not at all."""
        ...

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the store that is there; StoreUnavailableError when there is none."""
        ...

    @classmethod
    def exists(cls, path: Path) -> bool:
        """Whether this kind of store was made here, be it damaged."""
        ...

    def read(self, name: str, version: int | None = None) -> StoredRecord | None:
        """Return a version (None: the newest) of a secret that is not deleted, or None."""
        ...

    def read_many(self, names: Iterable[str]) -> list[StoredRecord]:
        """Return the newest versions of those of ``names`` that are there and not deleted, in any order."""
        ...

    def find(self, type: str | None = None, tags: Iterable[str] = ()) -> list[StoredRecord]:  # noqa: A002
        """Return the newest version of each secret that is not deleted and has the type and all the tags, by name."""
        ...

    def load(self, name: str) -> StoredSecret | None:
        """Return the whole secret, deleted or not."""
        ...

    def keyring(self) -> KeyringDocument:
        """Return the keyring as it is now."""
        ...

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Read all of the store as it is at this moment, whatever is written meanwhile."""
        ...

    def transaction(self) -> AbstractContextManager[RegistryTransaction]:
        """Begin writing; one writer at a time, over all processes. An exception inside undoes it."""
        ...

    def status(self) -> StoreStatus:
        """Describe the store."""
        ...

    def problems(self) -> list[str]:
        """Look at every part of what is kept, and say what is damaged; decrypts nothing."""
        ...

    def close(self) -> None:
        """Free what it holds; closing twice is fine."""
        ...
