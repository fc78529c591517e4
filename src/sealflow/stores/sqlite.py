"""The SQLite store: one file, write-ahead log, one writer at a time under a lock file.

WAL with synchronous=FULL, and a checkpoint that empties the log after every write: as durable as SQLite gets,
no stale ciphertext in the log, readers that never wait for writers, and no exposure to the WAL-reset bug of
SQLite before 3.51.3. docs/decisions/0003-sqlite.md says why.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Self

from sealflow.errors import DamagedRecordError, StoreError, StoreUnavailableError
from sealflow.model import times
from sealflow.model.stored import KeyringDocument, StoredRecord, StoredSecret
from sealflow.stores import private_files
from sealflow.stores.bounds import BoundedConnection
from sealflow.stores.documents import parse
from sealflow.stores.registry import RegistryTransaction, SecretRegistry, Snapshot
from sealflow.stores.schema import SCHEMA_VERSION, migrate
from sealflow.stores.sqlite_connections import DATABASE, INDEX, LOG, Database, Reader, Writer, set_log
from sealflow.stores.sqlite_rows import SqliteTransaction, load_secret, read_keyring, read_record

_DRAFT = private_files.TEMPORARY + DATABASE
_HINT = "Restore it from a backup"

_TAGS = "(SELECT group_concat(tag, char(31)) FROM tags WHERE secret_id = s.id)"  # no tag holds a control character
_RECORD = (
    f"SELECT s.id, s.name, s.description, {_TAGS}, s.created_at, s.updated_at, v.version, v.type, v.policy, "
    "v.record FROM secrets s JOIN versions v ON v.secret_id = s.id WHERE s.name = ? AND s.deleted_at IS NULL "
)
_READ_NEWEST = _RECORD + "ORDER BY v.version DESC LIMIT 1"
_READ_VERSION = _RECORD + "AND v.version = ? LIMIT 1"
_NEWEST = (
    f"SELECT s.id, s.name, s.description, {_TAGS}, s.created_at, s.updated_at, v.version, v.type, v.policy, %s "
    "FROM secrets s JOIN versions v ON v.secret_id = s.id "
    "AND v.version = (SELECT max(version) FROM versions WHERE secret_id = s.id) WHERE s.deleted_at IS NULL "
)
_LIST = _NEWEST % "NULL"
_READ_MANY = _NEWEST % "v.record" + "AND s.name IN (SELECT value FROM json_each(?))"


class SqliteStore(SecretRegistry):
    """SecretRegistry on one SQLite file, ``secrets.db`` in the storage directory."""

    backend: ClassVar[str] = "sqlite"
    files: ClassVar[tuple[str, ...]] = (DATABASE, LOG, INDEX)

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._database = Database(self.path)
        self._reader = Reader(self._database)
        self._writer = Writer(self._database)
        self.read_only = self._database.read_only
        self.store_id = ""

    @classmethod
    def exists(cls, path: Path) -> bool:
        return os.path.lexists(path / DATABASE)

    @classmethod
    def create(cls, path: Path, store_id: str, keyring: KeyringDocument) -> Self:
        """Make the database beside its place, with schema, id and keyring, and put it there when it is whole."""
        store = cls(path)
        try:
            store._make(store_id, keyring)
        except (sqlite3.Error, StoreError) as error:
            store.close()
            for name in (_DRAFT, f"{_DRAFT}-wal", f"{_DRAFT}-shm", f"{_DRAFT}-journal", *cls.files):
                with suppress(StoreError):
                    store._database.folder.remove(name)
            if isinstance(error, StoreError):
                raise
            store._database.raise_for(error)
        store.store_id = store_id
        return store

    @classmethod
    def open(cls, path: Path) -> Self:
        if not cls.exists(path):
            raise StoreUnavailableError(f"there is no SQLite store in {path}", hint="Run `sealflow init`")
        store = cls(path)
        try:
            if not store.read_only:
                store._database.tighten()
            version = store._rows("PRAGMA user_version")[0][0]
            if version < SCHEMA_VERSION:
                with store._writer.transaction() as connection:
                    migrate(connection)
            store.schema_version = SCHEMA_VERSION
            rows = store._rows("SELECT store_id FROM store LIMIT 1")
            if not rows or not isinstance(rows[0][0], str):
                raise DamagedRecordError(f"{store._database.path} is not a store of sealflow", hint=_HINT)
            store.store_id = rows[0][0]
        except BaseException:
            store.close()
            raise
        return store

    def read(self, name: str, version: int | None = None) -> StoredRecord | None:
        with self._reader as connection:
            if version is None:
                rows = connection.execute(_READ_NEWEST, (name,)).fetchall()
            else:
                rows = connection.execute(_READ_VERSION, (name, version)).fetchall()
        return read_record(rows[0]) if rows else None

    def read_many(self, names: Iterable[str]) -> list[StoredRecord]:
        return [read_record(row) for row in self._rows(_READ_MANY, (json.dumps(list(names)),))]

    def find(self, type: str | None = None, tags: Iterable[str] = ()) -> list[StoredRecord]:  # noqa: A002
        query, values = _LIST, []
        if type is not None:
            query, values = query + "AND v.type = ? ", [type]
        for tag in tags:
            query += "AND s.id IN (SELECT secret_id FROM tags WHERE tag = ?) "
            values.append(tag)
        return [read_record(row) for row in self._rows(query + "ORDER BY s.name", values)]

    def load(self, name: str) -> StoredSecret | None:
        with self._reader as connection, _one_moment(connection):  # one snapshot for the three queries
            return load_secret(connection, name)

    def keyring(self) -> KeyringDocument:
        with self._reader as connection, _one_moment(connection):
            return parse(self._database.path, _HINT, read_keyring, connection)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        self._database.check_usable()
        if self.read_only:
            self._database.check_log_is_empty()
        try:
            connection = self._database.connect()  # of its own: the reads of others go on meanwhile
            try:
                connection.execute("BEGIN")
                keyring = parse(self._database.path, _HINT, read_keyring, connection)
                names = [name for (name,) in connection.fetch("SELECT name FROM secrets ORDER BY name")]
                found = (load_secret(connection, name) for name in names)
                yield Snapshot(keyring, (secret for secret in found if secret is not None))
            finally:
                connection.close()
        except (sqlite3.Error, OverflowError) as error:
            self._database.raise_for(error)

    @contextmanager
    def transaction(self) -> Iterator[RegistryTransaction]:
        with self._writer.transaction() as connection:
            yield SqliteTransaction(connection)

    def problems(self) -> list[str]:
        said = [row[0] for row in self._rows("PRAGMA integrity_check(20)")]
        orphans = self._rows("PRAGMA foreign_key_check")
        found = [f"{self._database.path}: {line}" for line in said if line != "ok"]
        if orphans:
            found.append(f"{self._database.path}: {len(orphans)} rows belong to nothing")
        return found

    def close(self) -> None:
        if (
            self._database.close()
        ):  # SQLite's locks do not survive a fork: closing there would drop the parent's
            self._reader.close()
            self._writer.close()

    def _rows(self, query: str, values: Iterable[Any] = ()) -> list[Any]:
        with self._reader as connection:
            return connection.fetch(query, values)

    def _make(self, store_id: str, keyring: KeyringDocument) -> None:
        folder = self._database.folder
        for suffix in ("", "-wal", "-shm", "-journal"):
            folder.remove(_DRAFT + suffix)
        try:
            os.close(folder.create(_DRAFT))
        except OSError as error:
            private_files.raise_for(error, self.path / _DRAFT, "made")
        connection = sqlite3.connect(self.path / _DRAFT, isolation_level=None, factory=BoundedConnection)
        try:
            set_log(connection, self._database.path)
            connection.execute("BEGIN IMMEDIATE")
            migrate(connection)
            connection.execute("INSERT INTO store VALUES (1, ?, ?)", (store_id, times.to_text(times.now())))
            SqliteTransaction(connection).save_keyring(keyring)
            connection.execute("COMMIT")
        finally:
            connection.close()
        folder.move(_DRAFT, folder, DATABASE)
        folder.sync()
        self._rows("SELECT 1")  # and it can be opened here


@contextmanager
def _one_moment(connection: BoundedConnection) -> Iterator[None]:
    """Read in one transaction, so that several queries see the same state."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")
