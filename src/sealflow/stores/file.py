"""The file store: one JSON document a secret, for file systems where SQLite cannot work.

A document is replaced as a whole (temporary file, fsync, rename, fsync of the directory); readers need no lock.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from sealflow.errors import DamagedRecordError, StoreError, StoreUnavailableError
from sealflow.model.stored import KeyringDocument, StoredRecord, StoredSecret, StoredVersion
from sealflow.stores import private_files
from sealflow.stores.documents import (
    damage,
    keyring_document,
    read_keyring,
    read_secret,
    secret_document,
)
from sealflow.stores.lock import StoreLock
from sealflow.stores.registry import Snapshot, StoreStatus

KEYRING = "keyring.json"
RECORDS = "records"
LOCK = "store.lock"
JOURNAL = "journal.json"
FORMAT = 1
_MAX_DOCUMENT = 32 << 20  # ten versions of a mebibyte, in base64, and room


class FileStore:
    """SecretRegistry on a directory of JSON documents."""

    backend: ClassVar[str] = "file"
    files: ClassVar[tuple[str, ...]] = (KEYRING, RECORDS, JOURNAL)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = StoreLock(path / LOCK)
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
        private_files.make_directory(path / RECORDS)
        private_files.write_atomically(path / KEYRING, _keyring_json(store_id, keyring))
        return store

    @classmethod
    def open(cls, path: Path) -> Self:
        if not cls.exists(path):
            raise StoreUnavailableError(f"there is no file store in {path}", hint="Run `sealflow init`")
        store = cls(path)
        if not store.read_only:
            for item in (path / KEYRING, *(path / RECORDS).glob("*.json")):
                private_files.tighten(item)
        if os.path.lexists(path / JOURNAL):
            with store._lock.held():
                store._finish_journal()
        document = store._document(path / KEYRING)
        with _damage(path / KEYRING):
            store.store_id = str(document["store_id"])
        return store

    def read(self, name: str, version: int | None = None) -> StoredRecord | None:
        secret = self.load(name)
        if secret is None or secret.deleted_at is not None:
            return None
        for kept in reversed(secret.versions):
            if version in (None, kept.version):
                return _flat(secret, kept, kept.record)
        return None

    def read_many(self, names: Iterable[str]) -> list[StoredRecord]:
        return [record for name in names if (record := self.read(name)) is not None]

    def find(self, type: str | None = None, tags: Iterable[str] = ()) -> list[StoredRecord]:  # noqa: A002
        wanted = set(tags)
        found = [
            _flat(secret, secret.current, None)
            for secret in self._all()
            if secret.deleted_at is None
            and type in (None, secret.current.type)
            and wanted <= set(secret.tags)
        ]
        return sorted(found, key=lambda record: record.name)

    def load(self, name: str) -> StoredSecret | None:
        self._check_usable()
        path = self._record_path(name)
        try:
            secret = self._secret(path)
        except FileNotFoundError:
            if not self.exists(self._path):
                raise StoreUnavailableError(
                    f"the file store in {self._path} was moved away", hint="Start this process again"
                ) from None
            return None
        return secret

    def keyring(self) -> KeyringDocument:
        self._check_usable()
        document = self._document(self._path / KEYRING)
        with _damage(self._path / KEYRING):
            return read_keyring(document)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        self._check_usable()
        with ExitStack() as stack:
            if not self.read_only:
                stack.enter_context(
                    self._lock.held()
                )  # writers wait: a document changes between two reads else
                self._finish_journal()
            yield Snapshot(self.keyring(), self._all())

    @contextmanager
    def transaction(self) -> Iterator[_Transaction]:
        self._check_usable()
        if self.read_only:
            raise StoreUnavailableError(
                f"{self._path} is read-only", hint="Make it writable, or write where it is"
            )
        with self._lock.held():
            self._finish_journal()
            transaction = _Transaction(self)
            yield transaction
            transaction.apply()

    def status(self) -> StoreStatus:
        self._check_usable()
        files = tuple(sorted(item for item in self._path.rglob("*") if item.is_file()))
        version = self._document(self._path / KEYRING)["format"]
        return StoreStatus(
            self.backend, self._path, self.store_id, version, self.read_only, len(self.find()), files
        )

    def problems(self) -> list[str]:
        found = []
        for path in sorted((self._path / RECORDS).iterdir()):
            if path.name.startswith(private_files.TEMPORARY):
                continue
            try:
                self._secret(path)
            except StoreError as error:
                found.append(error.message)
            except FileNotFoundError:
                continue  # removed by another process since the directory was read
        return found

    def close(self) -> None:
        self._closed = True

    def _check_usable(self) -> None:
        if self._closed:
            raise StoreUnavailableError("the store is closed", hint="Open it again")

    def _finish_journal(self) -> None:
        """Do again what a writer had written down and was killed doing; the lock is held."""
        path = self._path / JOURNAL
        try:
            content = private_files.read_file(path, sys.maxsize)
        except FileNotFoundError:
            return
        with _damage(path):
            changes = {str(name): text for name, text in json.loads(content)["files"].items()}
            if any(Path(name).is_absolute() or ".." in Path(name).parts for name in changes):
                raise ValueError("it names files that are not the store's")
        self._apply(changes)

    def _apply(self, changes: Mapping[str, str | None]) -> None:
        """Bring files to what the journal says, None being removal, and take the journal away."""
        for name, text in changes.items():
            path = self._path / name
            if text is not None:
                private_files.write_atomically(path, text.encode())
                continue
            try:
                path.unlink(missing_ok=True)
                private_files.sync_directory(path.parent)
            except OSError as error:
                private_files.raise_for(error, path, "removed")
        (self._path / JOURNAL).unlink(missing_ok=True)

    def _record_path(self, name: str) -> Path:
        """Hashed, so that no name can leave the directory or meet another on a file system that ignores case."""
        return self._path / RECORDS / f"{hashlib.sha256(name.encode()).hexdigest()[:40]}.json"

    def _all(self) -> Iterator[StoredSecret]:
        self._check_usable()
        if not (self._path / RECORDS).is_dir():
            raise DamagedRecordError(f"{self._path / RECORDS} is missing", hint="Restore it from a backup")
        for path in (self._path / RECORDS).glob("*.json"):
            if path.name.startswith(private_files.TEMPORARY):
                continue
            try:
                yield self._secret(path)
            except FileNotFoundError:
                continue  # removed by another process since the directory was read

    def _document(self, path: Path) -> dict[str, Any]:
        try:
            content = private_files.read_file(path, _MAX_DOCUMENT)
        except FileNotFoundError:
            if path.name == KEYRING:
                raise DamagedRecordError(f"{path} is missing", hint="Restore it from a backup") from None
            raise
        with _damage(path):
            document = json.loads(content)
            newer = isinstance(document["format"], int) and document["format"] > FORMAT
            if not newer and document["format"] != FORMAT:
                raise ValueError("format")
        if newer:
            raise StoreUnavailableError(
                f"{path} has the format {document['format']}, and this sealflow knows up to {FORMAT}",
                hint="Update sealflow; nothing was changed",
            )
        return dict(document)

    def _secret(self, path: Path) -> StoredSecret:
        document = self._document(path)
        with _damage(path):
            secret = read_secret(document)
            if self._record_path(secret.name) != path:
                raise ValueError("it belongs elsewhere")
        return secret


class _Transaction:
    """Collects changes and writes them at the end: one document by renaming it into place, several by a journal.

    The journal is on the disk before the first of them changes, and who comes next finishes what it says. The keyring
    comes first, so that no record is ever there before the key that opens it.
    """

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._changes: dict[str, StoredSecret | None] = {}
        self._keyring: KeyringDocument | None = None

    def load(self, name: str) -> StoredSecret | None:
        return self._changes[name] if name in self._changes else self._store.load(name)

    def save(self, secret: StoredSecret) -> None:
        self._changes[secret.name] = secret

    def remove(self, name: str) -> None:
        self._changes[name] = None

    def save_keyring(self, document: KeyringDocument) -> None:
        self._keyring = document

    def apply(self) -> None:
        store = self._store
        changes: dict[str, str | None] = {}
        if self._keyring is not None:
            changes[KEYRING] = _keyring_json(store.store_id, self._keyring).decode()
        for name, secret in self._changes.items():
            path = str(store._record_path(name).relative_to(store._path))
            changes[path] = None if secret is None else _secret_json(secret).decode()
        if len(changes) > 1:
            journal = json.dumps({"format": FORMAT, "files": changes})
            private_files.write_atomically(store._path / JOURNAL, journal.encode())
        store._apply(changes)


def _flat(secret: StoredSecret, version: StoredVersion, record: bytes | None) -> StoredRecord:
    return StoredRecord(
        *secret[:6], version=version.version, type=version.type, policy=version.policy, record=record
    )


def _secret_json(secret: StoredSecret) -> bytes:
    return json.dumps({"format": FORMAT, **secret_document(secret)}, indent=1).encode()


def _keyring_json(store_id: str, keyring: KeyringDocument) -> bytes:
    document = {"format": FORMAT, "store_id": store_id, **keyring_document(keyring)}
    return json.dumps(document, indent=1).encode()


def _damage(path: Path) -> AbstractContextManager[None]:
    return damage(path, "Restore it from a backup, or remove it and make the secret anew")
