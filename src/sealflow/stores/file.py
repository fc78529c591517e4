"""The file store: one JSON document a secret, for file systems where SQLite cannot work.

A document is replaced as a whole (temporary file, fsync, rename, fsync of the directory); readers need no lock.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from sealflow.errors import DamagedRecordError, StoreUnavailableError
from sealflow.model.keys import Dek, Kek, KeyringDocument, KeyWrap
from sealflow.stores import private
from sealflow.stores.base import StoredRecord, StoredSecret, StoredVersion, StoreStatus

KEYRING = "keyring.json"
RECORDS = "records"
LOCK = "store.lock"
FORMAT = 1
_MAX_DOCUMENT = 32 << 20  # ten versions of a mebibyte, in base64, and room


class FileStore:
    """SecretRegistry on a directory of JSON documents."""

    backend: ClassVar[str] = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = private.StoreLock(path / LOCK)
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
        private.make_directory(path / RECORDS)
        private.write_atomically(path / KEYRING, _keyring_json(store_id, keyring))
        return store

    @classmethod
    def open(cls, path: Path) -> Self:
        if not cls.exists(path):
            raise StoreUnavailableError(f"there is no file store in {path}", hint="Run `sealflow init`")
        store = cls(path)
        if not store.read_only:
            for item in (path / KEYRING, *(path / RECORDS).glob("*.json")):
                private.tighten(item)
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
            return None
        return secret

    def keyring(self) -> KeyringDocument:
        self._check_usable()
        document = self._document(self._path / KEYRING)
        with _damage(self._path / KEYRING):
            return KeyringDocument(
                tuple(Dek(**dek) for dek in document["deks"]),
                tuple(
                    KeyWrap(wrap["dek_id"], wrap["kek_id"], _bytes(wrap["wrapped"]))
                    for wrap in document["wraps"]
                ),
                tuple(Kek(**kek) for kek in document["keks"]),
            )

    @contextmanager
    def transaction(self) -> Iterator[_Transaction]:
        self._check_usable()
        if self.read_only:
            raise StoreUnavailableError(
                f"{self._path} is read-only", hint="Make it writable, or write where it is"
            )
        with self._lock.held():
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

    def close(self) -> None:
        self._closed = True

    def _check_usable(self) -> None:
        if self._closed:
            raise StoreUnavailableError("the store is closed", hint="Open it again")

    def _record_path(self, name: str) -> Path:
        """Hashed, so that no name can leave the directory or meet another on a file system that ignores case."""
        return self._path / RECORDS / f"{hashlib.sha256(name.encode()).hexdigest()[:40]}.json"

    def _all(self) -> Iterator[StoredSecret]:
        self._check_usable()
        if not (self._path / RECORDS).is_dir():
            raise DamagedRecordError(f"{self._path / RECORDS} is missing", hint="Restore it from a backup")
        for path in (self._path / RECORDS).glob("*.json"):
            if path.name.startswith(private.TEMPORARY):
                continue
            try:
                yield self._secret(path)
            except FileNotFoundError:
                continue  # removed by another process since the directory was read

    def _document(self, path: Path) -> dict[str, Any]:
        try:
            content = private.read_file(path, _MAX_DOCUMENT)
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
            secret = StoredSecret(
                document["id"],
                document["name"],
                document["description"],
                tuple(document["tags"]),
                document["created_at"],
                document["updated_at"],
                document["deleted_at"],
                tuple(
                    StoredVersion(
                        item["version"],
                        item["type"],
                        item["policy"],
                        item["created_at"],
                        None if item["record"] is None else _bytes(item["record"]),
                    )
                    for item in document["versions"]
                ),
            )
            if not secret.versions or self._record_path(secret.name) != path:
                raise ValueError("it belongs elsewhere")
        return secret


class _Transaction:
    """Collects changes and writes them at the end.

    Each document appears at once; several documents in one transaction appear one after the other, keyring first,
    so that no record is ever there before the key that opens it.
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
        if self._keyring is not None:
            private.write_atomically(store._path / KEYRING, _keyring_json(store.store_id, self._keyring))
        for name, secret in self._changes.items():
            path = store._record_path(name)
            if secret is not None:
                private.write_atomically(path, _secret_json(secret))
                continue
            try:
                path.unlink(missing_ok=True)
                private.sync_directory(path.parent)
            except OSError as error:
                private.raise_for(error, path, "removed")


def _flat(secret: StoredSecret, version: StoredVersion, record: bytes | None) -> StoredRecord:
    return StoredRecord(
        *secret[:6], version=version.version, type=version.type, policy=version.policy, record=record
    )


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _base64(blob: bytes) -> str:
    return base64.b64encode(blob).decode("ascii")


def _secret_json(secret: StoredSecret) -> bytes:
    versions = [
        {**version._asdict(), "record": None if version.record is None else _base64(version.record)}
        for version in secret.versions
    ]
    return json.dumps({"format": FORMAT, **secret._asdict(), "versions": versions}, indent=1).encode()


def _keyring_json(store_id: str, keyring: KeyringDocument) -> bytes:
    document = {
        "format": FORMAT,
        "store_id": store_id,
        "deks": [dek._asdict() for dek in keyring.deks],
        "keks": [kek._asdict() for kek in keyring.keks],
        "wraps": [{**wrap._asdict(), "wrapped": _base64(wrap.wrapped)} for wrap in keyring.wraps],
    }
    return json.dumps(document, indent=1).encode()


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what a damaged document does to its reader into the error that names the file."""
    damaged = False
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, binascii.Error, RecursionError):
        damaged = True
    if damaged:
        raise DamagedRecordError(
            f"{path} is damaged", hint="Restore it from a backup, or remove it and make the secret anew"
        )
