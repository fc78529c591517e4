"""Connections to the SQLite file: what is checked before SQLite opens it, how it is set, and who has it when.

SQLite opens files by their path and follows links, and a database can hold programs (triggers, views, virtual tables,
expressions in indexes), so both are checked here, before anything is read from a table. See
docs/decisions/0003-sqlite.md and 0011-planted-storage.md.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from sealflow.errors import DamagedRecordError, StoreFullError, StoreUnavailableError
from sealflow.stores.bounds import BoundedConnection
from sealflow.stores.folder import Folder
from sealflow.stores.lock import StoreLock
from sealflow.stores.schema import APPLICATION_ID, check_schema

DATABASE = "secrets.db"
LOG = DATABASE + "-wal"
INDEX = DATABASE + "-shm"
LOOK_SECONDS = 1.0
"""How often a reader looks whether the database is still in its place."""
_ROLLBACK_JOURNAL = DATABASE + "-journal"
_BUSY_SECONDS = 30
_MAX_VALUE = 64 << 20  # bytes of one value or row


class Database:
    """The file ``secrets.db`` in a storage directory."""

    def __init__(self, directory: Path) -> None:
        self.folder = Folder(directory)
        self.path = directory / DATABASE
        self.read_only = not os.access(directory, os.W_OK)
        self.pid = os.getpid()
        self.closed = False
        self._inode = 0
        self._exhausted = threading.Event()
        self.look_again_at = 0.0

    def check_usable(self) -> None:
        """Refuse use after the store was closed, after a fork, and (looked up every second) after the file was moved."""
        if self.closed:
            raise StoreUnavailableError("the store is closed", hint="Open it again")
        if self.pid != os.getpid():
            raise StoreUnavailableError(
                "the store was opened before this process was forked", hint="Open it again in the new process"
            )
        if time.monotonic() >= self.look_again_at:
            self.check_in_place()

    def check_in_place(self) -> None:
        """Refuse a database that was moved away while we had it open: what it took would be lost, what it gave is old."""
        self.look_again_at = time.monotonic() + LOOK_SECONDS
        found = self.folder.check_in_place(DATABASE)
        inode = -1 if found is None else found.st_ino
        self._inode = self._inode or inode
        if inode != self._inode:
            raise StoreUnavailableError(
                f"{self.path} was moved away since it was opened", hint="Start this process again"
            )

    def check_log_is_empty(self) -> None:
        """Refuse to read a read-only store without the writes that are in its log."""
        log = self.folder.check_in_place(LOG)
        if log is not None and log.st_size > 0:
            raise StoreUnavailableError(
                f"{self.folder.path / LOG} holds writes that are not in the database yet, and {self.folder.path} is read-only",
                hint="Open the store once where it is writable",
            )

    def tighten(self) -> None:
        """Remove group and other permissions from its files.

        By path, right after the check: opening and closing the file would drop SQLite's locks (see ``connect``).
        """
        for name in (DATABASE, LOG, INDEX):
            found = self.folder.check_in_place(name)
            if found is not None and found.st_mode & 0o077:
                with suppress(FileNotFoundError), self.folder.descriptor() as directory:
                    os.chmod(name, 0o600, dir_fd=directory)

    def connect(self) -> BoundedConnection:
        """Open a connection, with everything checked and set.

        The file is never opened by us: closing it again would drop the locks of every connection that this process has
        to it, and another process would take itself for the last one and remove the log that is in use here.
        """
        self._check_files()
        # The path goes in as a URI, so its special characters are escaped.
        uri = self.path.as_uri() + ("?mode=ro&immutable=1" if self.read_only else "?mode=rw")
        connection = sqlite3.connect(
            uri,
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
            factory=BoundedConnection,
        )
        try:
            connection.bound(self.path, self.folder.path / LOG, exhausted=self._exhausted)
            _confine(connection)
            self._check_content(connection)
            self._set(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def check_schema(self, connection: sqlite3.Connection) -> None:
        """Raise TamperedError, or DamagedRecordError, unless the database holds our tables and nothing else."""
        check_schema(connection, self.path)

    def close(self) -> bool:
        """Refuse use from now on; False in a forked process, where connections must be left as they are."""
        self.closed = True
        return self.pid == os.getpid()

    def raise_for(self, error: Exception) -> NoReturn:
        """Raise the StoreError that an error of SQLite means."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        said = str(error)
        if code == sqlite3.SQLITE_INTERRUPT:
            if not self._exhausted.is_set():
                raise KeyboardInterrupt from None  # SQLite swallows it
            raise DamagedRecordError(
                f"{self.path} is damaged (reading it takes more work than a store of its size needs)",
                hint="Restore it from a backup",
            ) from None
        if code == sqlite3.SQLITE_FULL:
            raise StoreFullError(
                f"{self.path}: {said}",
                hint="Free some space on the disk and run it again; nothing was changed",
            ) from None
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG) or said.startswith(
            ("no such", "Could not decode", "malformed")
        ):
            raise DamagedRecordError(
                f"{self.path} is damaged ({said[:200]})", hint="Restore it from a backup"
            ) from None
        raise StoreUnavailableError(
            f"{self.path} cannot be used ({said})", hint="Check its permissions and who else has it open"
        ) from None

    def _check_files(self) -> None:
        """Look at every file that SQLite would open, before it does."""
        for name in (DATABASE, LOG, INDEX):
            self.folder.check_in_place(name)
        if self.folder.status(_ROLLBACK_JOURNAL) is not None:
            # SQLite would play it back, and remove a file anywhere that it names (its super-journal).
            raise DamagedRecordError(
                f"{self.folder.path / _ROLLBACK_JOURNAL} is there, and a store of sealflow never has such a file",
                hint="Find out who made it; then restore the store from a backup",
            )

    def _check_content(self, connection: sqlite3.Connection) -> None:
        """Look through SQLite, before anything is written: an empty file would become a database."""
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise DamagedRecordError(
                f"{self.path} is not a store of sealflow", hint="Restore it from a backup"
            )
        self.check_schema(connection)

    def _set(self, connection: sqlite3.Connection) -> None:
        if not self.read_only:
            set_log(connection, self.path)
            for pragma in ("synchronous=FULL", "wal_autocheckpoint=0", "secure_delete=ON"):
                connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA foreign_keys=ON")


class Reader:
    """The connection that reads, for one thread at a time: ``with reader as connection``. The hot path of every get."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mutex = threading.Lock()
        self._connection: BoundedConnection | None = None

    def __enter__(self) -> BoundedConnection:
        database = self._database
        if database.closed or database.pid != os.getpid() or time.monotonic() >= database.look_again_at:
            database.check_usable()
        self._mutex.acquire()
        try:
            if self._connection is None or database.read_only:
                self._connect()
            assert self._connection is not None
        except BaseException as error:
            self._mutex.release()
            if isinstance(error, sqlite3.Error):
                database.raise_for(error)
            raise
        self._connection.restart()
        return self._connection

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._mutex.release()
        if isinstance(error, sqlite3.Error | OverflowError):
            self._database.raise_for(error)

    def close(self) -> None:
        """Close the connection; closing twice is fine."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> None:
        """Connect; to a read-only file for each read.

        Read-only means immutable, and that promises SQLite that nothing changes while it is open: a connection a read
        keeps the promise as short as it can be.
        """
        if self._database.read_only:
            self._database.check_log_is_empty()
        self.close()
        self._connection = self._database.connect()


class Writer:
    """The connection that writes, under the store's lock: one writer over all threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = StoreLock(database.folder)
        self.connection: BoundedConnection | None = None

    @contextmanager
    def transaction(self) -> Iterator[BoundedConnection]:
        """Hold the lock over a transaction and the checkpoint behind it."""
        database = self._database
        database.check_usable()
        if database.read_only:
            raise StoreUnavailableError(
                f"{database.folder.path} is read-only", hint="Make it writable, or write where it is"
            )
        with self._lock.held():
            database.check_in_place()
            try:
                if self.connection is None:
                    self.connection = database.connect()
                self.connection.restart()
                self.connection.execute("BEGIN IMMEDIATE")
                try:
                    database.check_schema(self.connection)  # again: a trigger made since would run now
                    yield self.connection
                    self.connection.execute("COMMIT")
                except BaseException:
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
                    raise
                _checkpoint(self.connection)
            except (sqlite3.Error, OverflowError) as error:
                database.raise_for(error)

    def close(self) -> None:
        """Close the connection; closing twice is fine."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def set_log(connection: sqlite3.Connection, path: Path) -> None:
    """Give the database a write-ahead log; StoreUnavailableError where the file system has no shared memory for it."""
    if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
        raise StoreUnavailableError(
            f"{path} cannot have a write-ahead log here", hint="Use a local file system, or the file store"
        )


def _confine(connection: sqlite3.Connection) -> None:
    """Trust the file as little as SQLite can (sqlite.org/security.html): it is only bytes of the storage."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)


def _checkpoint(connection: sqlite3.Connection) -> None:
    """Empty the log. What was committed is on the disk already, so a failure here is the next writer's to repair."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
