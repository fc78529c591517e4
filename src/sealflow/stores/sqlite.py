"""The SQLite store: one file, write-ahead log, one writer at a time under a lock file.

WAL with synchronous=FULL, and a checkpoint that empties the log after every write: as durable as SQLite gets,
no stale ciphertext in the log, readers that never wait for writers, and no exposure to the WAL-reset bug of
SQLite before 3.51.3 (design.md has the measurements). docs/decisions/0003-sqlite.md says why.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

from sealflow.errors import DamagedRecordError, StoreError, StoreFullError, StoreUnavailableError
from sealflow.model import times
from sealflow.model.stored import KeyringDocument, StoredRecord, StoredSecret
from sealflow.stores import private_files
from sealflow.stores.lock import StoreLock
from sealflow.stores.registry import Snapshot, StoreStatus
from sealflow.stores.schema import APPLICATION_ID, SCHEMA_VERSION
from sealflow.stores.sqlite_rows import (
    SqliteTransaction,
    load_secret,
    migrate,
    read_keyring,
    read_record,
)

DATABASE = "secrets.db"
LOCK = "store.lock"
LOOK_SECONDS = 1.0
"""How often a reader looks whether the database is still in its place."""
_BUSY_SECONDS = 30

_TAGS = "(SELECT group_concat(tag, char(31)) FROM tags WHERE secret_id = s.id)"  # no tag holds a control character
_RECORD = (
    f"SELECT s.id, s.name, s.description, {_TAGS}, s.created_at, s.updated_at, v.version, v.type, v.policy, "
    "v.record FROM secrets s JOIN versions v ON v.secret_id = s.id WHERE s.name = ? AND s.deleted_at IS NULL "
)
_READ_NEWEST = _RECORD + "ORDER BY v.version DESC LIMIT 1"
_READ_VERSION = _RECORD + "AND v.version = ?"
_NEWEST = (
    f"SELECT s.id, s.name, s.description, {_TAGS}, s.created_at, s.updated_at, v.version, v.type, v.policy, %s "
    "FROM secrets s JOIN versions v ON v.secret_id = s.id "
    "AND v.version = (SELECT max(version) FROM versions WHERE secret_id = s.id) WHERE s.deleted_at IS NULL "
)
_LIST = _NEWEST % "NULL"
_READ_MANY = _NEWEST % "v.record" + "AND s.name IN (SELECT value FROM json_each(?))"


class SqliteStore:
    """SecretRegistry on one SQLite file, ``secrets.db`` in the storage directory."""

    backend: ClassVar[str] = "sqlite"
    files: ClassVar[tuple[str, ...]] = (DATABASE, DATABASE + "-wal", DATABASE + "-shm")

    def __init__(self, path: Path) -> None:
        self._path = path = path.absolute()
        self._database = path / DATABASE
        self._lock = StoreLock(path / LOCK)
        self._read_mutex = threading.Lock()
        self._pid = os.getpid()
        self.read_only = not os.access(path, os.W_OK)
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._closed = False
        self._inode = 0
        self._look_again_at = 0.0
        self.store_id = ""

    @classmethod
    def exists(cls, path: Path) -> bool:
        return os.path.lexists(path / DATABASE)

    @classmethod
    def create(cls, path: Path, store_id: str, keyring: KeyringDocument) -> Self:
        """Make the database beside its place, with schema, id and keyring, and put it there when it is whole."""
        store = cls(path)
        draft = path / (private_files.TEMPORARY + DATABASE)
        try:
            draft.unlink(missing_ok=True)
            os.close(private_files.create_file(draft))
        except OSError as error:
            private_files.raise_for(error, draft, "made")
        try:
            connection = sqlite3.connect(draft, isolation_level=None)
            try:
                connection.execute("BEGIN IMMEDIATE")
                migrate(connection)
                connection.execute(
                    "INSERT INTO store VALUES (1, ?, ?)", (store_id, times.to_text(times.now()))
                )
                SqliteTransaction(connection).save_keyring(keyring)
                connection.execute("COMMIT")
            finally:
                connection.close()
            draft.replace(store._database)
            store._rows("SELECT 1")  # and it can have a write-ahead log here
            private_files.sync_directory(path)
        except (sqlite3.Error, StoreError) as error:
            store.close()
            for file in (draft, *(path / (DATABASE + suffix) for suffix in ("", "-wal", "-shm"))):
                file.unlink(missing_ok=True)
            if isinstance(error, StoreError):
                raise
            store._raise_for(error)
        store.store_id = store_id
        return store

    @classmethod
    def open(cls, path: Path) -> Self:
        if not cls.exists(path):
            raise StoreUnavailableError(f"there is no SQLite store in {path}", hint="Run `sealflow init`")
        store = cls(path)
        try:
            for suffix in ("", "-wal", "-shm"):
                if not store.read_only:
                    private_files.tighten(path / (DATABASE + suffix))
            version = store._rows("PRAGMA user_version")[0][0]
            if version > SCHEMA_VERSION:
                raise StoreUnavailableError(
                    f"{store._database} has the schema {version}, and this sealflow knows up to {SCHEMA_VERSION}",
                    hint="Update sealflow; nothing was changed",
                )
            if 0 < version < SCHEMA_VERSION:
                with store._write() as connection:
                    migrate(connection)
            rows = store._rows("SELECT store_id FROM store") if version else []
            if not rows:
                raise DamagedRecordError(
                    f"{store._database} is no store of sealflow", hint="Restore it from a backup"
                )
            store.store_id = rows[0][0]
            store._inode = store._database.stat().st_ino
        except BaseException:
            store.close()
            raise
        return store

    def read(self, name: str, version: int | None = None) -> StoredRecord | None:
        with self._reading() as connection:
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
        with self._reading() as connection:
            connection.execute("BEGIN")  # one snapshot for the three queries
            try:
                return load_secret(connection, name)
            finally:
                connection.execute("COMMIT")

    def keyring(self) -> KeyringDocument:
        with self._reading() as connection:
            connection.execute("BEGIN")
            try:
                return read_keyring(connection)
            finally:
                connection.execute("COMMIT")

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        self._check_usable()
        if self.read_only:
            self._check_log_is_empty()
        try:
            connection = self._connect()  # of its own: the reads of others go on meanwhile
            try:
                connection.execute("BEGIN")
                keyring = read_keyring(connection)
                names = [name for (name,) in connection.execute("SELECT name FROM secrets ORDER BY name")]
                found = (load_secret(connection, name) for name in names)
                yield Snapshot(keyring, (secret for secret in found if secret is not None))
            finally:
                connection.close()
        except (sqlite3.Error, OverflowError) as error:
            self._raise_for(error)

    @contextmanager
    def transaction(self) -> Iterator[SqliteTransaction]:
        with self._write() as connection:
            yield SqliteTransaction(connection)

    def status(self) -> StoreStatus:
        count = self._rows("SELECT count(*) FROM secrets WHERE deleted_at IS NULL")[0][0]
        version = self._rows("PRAGMA user_version")[0][0]
        files = tuple(sorted(item for item in self._path.iterdir() if item.is_file()))
        return StoreStatus(self.backend, self._path, self.store_id, version, self.read_only, count, files)

    def problems(self) -> list[str]:
        said = [row[0] for row in self._rows("PRAGMA integrity_check(20)")]
        orphans = self._rows("PRAGMA foreign_key_check")
        found = [f"{self._database}: {text}" for text in said if text != "ok"]
        if orphans:
            found.append(f"{self._database}: {len(orphans)} rows belong to nothing")
        return found

    def close(self) -> None:
        self._closed = True
        if self._pid != os.getpid():
            return  # SQLite's locks do not survive a fork: closing here would drop the parent's
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    def _rows(self, query: str, values: Iterable[Any] = ()) -> list[Any]:
        with self._reading() as connection:
            return connection.execute(query, tuple(values)).fetchall()

    def _reading(self) -> _Reading:
        return _Reading(self)

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """Hold the lock over the transaction and the checkpoint behind it."""
        self._check_usable()
        if self.read_only:
            raise StoreUnavailableError(
                f"{self._path} is read-only", hint="Make it writable, or write where it is"
            )
        with self._lock.held():
            self._check_in_place()
            try:
                if self._writer is None:
                    self._writer = self._connect()
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                    self._writer.execute("COMMIT")
                except BaseException:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
                self._checkpoint(self._writer)
            except (sqlite3.Error, OverflowError) as error:
                self._raise_for(error)

    def _check_in_place(self) -> None:
        """Refuse a database that was moved away while we had it open: what it took would be lost, what it gave is old."""
        self._look_again_at = time.monotonic() + LOOK_SECONDS
        try:
            inode = self._database.stat().st_ino
        except FileNotFoundError:
            inode = -1
        self._inode = self._inode or inode
        if inode != self._inode:
            raise StoreUnavailableError(
                f"{self._database} was moved away since it was opened", hint="Start this process again"
            )

    @staticmethod
    def _checkpoint(connection: sqlite3.Connection) -> None:
        """Empty the log. What was committed is on the disk already, so a failure here is the next writer's to mend."""
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _connect(self) -> sqlite3.Connection:
        # The path goes in as a URI, so its special characters are escaped.
        uri = self._database.as_uri() + ("?mode=ro&immutable=1" if self.read_only else "?mode=rw")
        connection = sqlite3.connect(
            uri,
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        try:
            self._check_header(connection)
        except BaseException:
            connection.close()
            raise
        if not self.read_only:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            if mode != "wal":
                connection.close()
                raise StoreUnavailableError(
                    f"{self._database} cannot have a write-ahead log here",
                    hint="Use a local file system, or the file store",
                )
            for pragma in ("synchronous=FULL", "wal_autocheckpoint=0", "secure_delete=ON"):
                connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        return connection

    def _check_usable(self) -> None:
        if self._closed:
            raise StoreUnavailableError("the store is closed", hint="Open it again")
        if self._pid != os.getpid():
            raise StoreUnavailableError(
                "the store was opened before this process was forked", hint="Open it again in the new process"
            )

    def _check_header(self, connection: sqlite3.Connection) -> None:
        """Look through SQLite, before anything is written: an empty file would become a database.

        The file is never opened by us: closing it again would drop the locks of every connection that this process has
        to it, and another process would take itself for the last one and remove the log that is in use here.
        """
        known = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        if not known:
            raise DamagedRecordError(
                f"{self._database} is no store of sealflow", hint="Restore it from a backup"
            )

    def _check_log_is_empty(self) -> None:
        log = self._path / (DATABASE + "-wal")
        if log.exists() and log.stat().st_size > 0:
            raise StoreUnavailableError(
                f"{log} holds writes that are not in the database yet, and {self._path} is read-only",
                hint="Open the store once where it is writable",
            )

    def _raise_for(self, error: Exception) -> NoReturn:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        said = str(error)
        if code == sqlite3.SQLITE_FULL:
            raise StoreFullError(
                f"{self._database}: {said}",
                hint="Make room on the disk and run it again; nothing was changed",
            ) from None
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such" in said:
            raise DamagedRecordError(
                f"{self._database} is damaged ({said})", hint="Restore it from a backup"
            ) from None
        raise StoreUnavailableError(
            f"{self._database} cannot be used ({said})", hint="Check its permissions and who else has it open"
        ) from None


class _Reading:
    """The reader's connection for one thread at a time; a class because this is the hot path of every get."""

    __slots__ = ("_connection", "_store")

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __enter__(self) -> sqlite3.Connection:
        store = self._store
        if store._closed or store._pid != os.getpid():
            store._check_usable()
        if time.monotonic() >= store._look_again_at:
            store._check_in_place()
        store._read_mutex.acquire()
        try:
            if store._reader is None or store.read_only:
                # Read-only means immutable, and that promises SQLite that nothing changes while it is open:
                # a connection a read keeps the promise as short as it can be.
                if store.read_only:
                    store._check_log_is_empty()
                    if store._reader is not None:
                        store._reader.close()
                store._reader = store._connect()
        except BaseException as error:
            store._read_mutex.release()
            if isinstance(error, sqlite3.Error):
                store._raise_for(error)
            raise
        return store._reader

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._store._read_mutex.release()
        if isinstance(error, sqlite3.Error | OverflowError):
            self._store._raise_for(error)
