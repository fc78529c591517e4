"""The file store: one JSON document a secret, for file systems where SQLite cannot work.

A document is replaced as a whole (temporary file, fsync, rename, fsync of the directory); readers need no lock.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Self

from sealflow.errors import DamagedRecordError, StoreError, StoreUnavailableError
from sealflow.model.stored import KeyringDocument, StoredRecord, StoredSecret
from sealflow.stores.documents import (
    damaged,
    keyring_document,
    parse,
    read_keyring,
    read_object,
    read_secret,
    secret_document,
)
from sealflow.stores.folder import Folder
from sealflow.stores.journal import JOURNAL, Journal
from sealflow.stores.lock import StoreLock
from sealflow.stores.private_files import TEMPORARY
from sealflow.stores.registry import JournalSeal, SecretRegistry, Snapshot, list_secrets

KEYRING = "keyring.json"
RECORDS = "records"
FORMAT = 1
_MAX_DOCUMENT = 32 << 20  # ten versions of a mebibyte, in base64, and room
_HINT = "Restore it from a backup, or remove it and create the secret again"


class FileStore(SecretRegistry):
    """SecretRegistry on a directory of JSON documents."""

    backend: ClassVar[str] = "file"
    files: ClassVar[tuple[str, ...]] = (KEYRING, RECORDS, JOURNAL)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = Folder(path)
        self._records = self._folder.folder(RECORDS)
        self._lock = StoreLock(self._folder)
        self._journal = Journal(self._folder, KEYRING, self._records)
        self._closed = False
        self.read_only = not os.access(path, os.W_OK)
        self.store_id = ""

    @classmethod
    def exists(cls, path: Path) -> bool:
        return os.path.lexists(path / KEYRING)

    @classmethod
    def create(cls, path: Path, store_id: str, keyring: KeyringDocument) -> Self:
        store = cls(path)
        store.store_id = store_id
        if store._folder.status(RECORDS) is None:
            store._folder.make(RECORDS)
        store._folder.write(KEYRING, store._keyring_json(keyring).encode())
        return store

    @classmethod
    def open(cls, path: Path) -> Self:
        if not cls.exists(path):
            raise StoreUnavailableError(f"there is no file store in {path}", hint="Run `sealflow init`")
        store = cls(path)
        if not store.read_only:
            store._folder.tighten(KEYRING)
            for name in store._record_names():
                store._records.tighten(name)
        document = store._document(store._folder, KEYRING)
        store.store_id = parse(path / KEYRING, _HINT, _store_id, document)
        return store

    def find(self, type: str | None = None, tags: Iterable[str] = ()) -> list[StoredRecord]:  # noqa: A002
        return list_secrets(self._all(), type, tags)

    def load(self, name: str) -> StoredSecret | None:
        self._check_usable()
        try:
            return self._secret(_record_name(name))
        except FileNotFoundError:
            pass
        if not self.exists(self.path):
            raise StoreUnavailableError(
                f"the file store in {self.path} was moved away", hint="Start this process again"
            )
        return None

    def keyring(self) -> KeyringDocument:
        self._check_usable()
        document = self._document(self._folder, KEYRING)
        return parse(self.path / KEYRING, _HINT, read_keyring, document)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        self._check_usable()
        # Writers wait: otherwise a document changes between two reads.
        with nullcontext() if self.read_only else self._lock.held():
            self._journal.finish(self.keyring, writable=not self.read_only)
            yield Snapshot(self.keyring(), self._all())

    @contextmanager
    def transaction(self) -> Iterator[_Transaction]:
        self._check_usable()
        if self.read_only:
            raise StoreUnavailableError(
                f"{self.path} is read-only", hint="Make it writable, or write where it is"
            )
        with self._lock.held():
            self._journal.finish(self.keyring)
            transaction = _Transaction(self.load)
            yield transaction
            keyring = transaction.keyring
            changes: dict[str, str | None] = {} if keyring is None else {KEYRING: self._keyring_json(keyring)}
            for name, secret in transaction.secrets.items():
                changes[f"{RECORDS}/{_record_name(name)}"] = None if secret is None else _secret_json(secret)
            self._journal.commit(changes, (lambda: keyring) if keyring else self.keyring)

    def problems(self) -> list[str]:
        found = self._journal.problems()
        for name in self._record_names(suffix=""):
            try:
                self._secret(name)
            except StoreError as error:
                found.append(error.message)
            except FileNotFoundError:
                continue  # removed by another process since the directory was read
        return found

    def vouch_with(self, seal: JournalSeal) -> None:
        self._journal.vouch_with(seal)
        if self._journal.is_there():
            with nullcontext() if self.read_only else self._lock.held():
                self._journal.finish(self.keyring, writable=not self.read_only)

    def close(self) -> None:
        self._closed = True

    def _check_usable(self) -> None:
        if self._closed:
            raise StoreUnavailableError("the store is closed", hint="Open it again")

    def _record_names(self, suffix: str = ".json") -> list[str]:
        try:
            names = self._records.names()
        except FileNotFoundError:
            raise DamagedRecordError(
                f"{self._records.path} is missing", hint="Restore it from a backup"
            ) from None
        return [name for name in names if name.endswith(suffix) and not name.startswith(TEMPORARY)]

    def _all(self) -> Iterator[StoredSecret]:
        self._check_usable()
        for name in self._record_names():
            try:
                yield self._secret(name)
            except FileNotFoundError:
                continue  # removed by another process since the directory was read

    def _document(self, folder: Folder, name: str) -> dict[str, Any]:
        """Read a document of ours; FileNotFoundError for a record that is missing."""
        path = folder.path / name
        try:
            content = folder.read(name, _MAX_DOCUMENT)
        except FileNotFoundError:
            if name == KEYRING:
                raise DamagedRecordError(f"{path} is missing", hint="Restore it from a backup") from None
            raise
        document = parse(path, _HINT, read_object, content)
        found = document.get("format")
        if isinstance(found, int) and found > FORMAT:
            raise StoreUnavailableError(
                f"{path} has the format {found}, and this sealflow knows up to {FORMAT}",
                hint="Update sealflow; nothing was changed",
            )
        if found != FORMAT:
            raise damaged(path, _HINT)
        return document

    def _secret(self, name: str) -> StoredSecret:
        document = self._document(self._records, name)
        secret = parse(self._records.path / name, _HINT, read_secret, document)
        if _record_name(secret.name) != name:
            raise damaged(self._records.path / name, _HINT)  # it belongs elsewhere
        return secret

    def _keyring_json(self, keyring: KeyringDocument) -> str:
        document = {"format": FORMAT, "store_id": self.store_id, **keyring_document(keyring)}
        return json.dumps(document, indent=1)


class _Transaction:
    """Collects changes, which are written when it ends."""

    def __init__(self, load: Callable[[str], StoredSecret | None]) -> None:
        self._load = load
        self.secrets: dict[str, StoredSecret | None] = {}
        self.keyring: KeyringDocument | None = None

    def load(self, name: str) -> StoredSecret | None:
        return self.secrets[name] if name in self.secrets else self._load(name)

    def save(self, secret: StoredSecret) -> None:
        self.secrets[secret.name] = secret

    def remove(self, name: str) -> None:
        self.secrets[name] = None

    def save_keyring(self, document: KeyringDocument) -> None:
        self.keyring = document


def _record_name(name: str) -> str:
    """Hashed, so that no name can leave the directory or meet another on a file system that ignores case."""
    return f"{hashlib.sha256(name.encode()).hexdigest()[:40]}.json"


def _store_id(document: dict[str, Any]) -> str:
    return str(document["store_id"])


def _secret_json(secret: StoredSecret) -> str:
    return json.dumps({"format": FORMAT, **secret_document(secret)}, indent=1)
