"""The SQLite schema, as the list of steps that made it. A step is never edited once it was released.

Whatever else a database holds is refused: triggers, views, virtual tables and expressions in indexes are programs, and
who can write to the storage must not be able to run any.
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from pathlib import Path

from sealflow.errors import DamagedRecordError, StoreUnavailableError, TamperedError

APPLICATION_ID = 0x53464C57  # "SFLW"

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE store (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        store_id TEXT NOT NULL,
        created_at TEXT NOT NULL
    );
    CREATE TABLE deks (
        dek_id TEXT PRIMARY KEY,
        state TEXT NOT NULL CHECK (state IN ('active', 'decrypt_only', 'destroyed')),
        created_at TEXT NOT NULL
    );
    CREATE UNIQUE INDEX one_active_dek ON deks (state) WHERE state = 'active';
    CREATE TABLE keks (
        kek_id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        params TEXT,
        created_at TEXT NOT NULL
    );
    CREATE TABLE key_wraps (
        dek_id TEXT NOT NULL REFERENCES deks,
        kek_id TEXT NOT NULL REFERENCES keks,
        wrapped BLOB NOT NULL,
        PRIMARY KEY (dek_id, kek_id)
    );
    CREATE TABLE secrets (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        description TEXT,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        deleted_at TEXT
    );
    CREATE TABLE versions (
        secret_id TEXT NOT NULL REFERENCES secrets ON DELETE CASCADE,
        version INTEGER NOT NULL CHECK (version > 0),
        type TEXT NOT NULL,
        policy TEXT NOT NULL,
        created_at TEXT NOT NULL,
        record BLOB,
        PRIMARY KEY (secret_id, version)
    ) WITHOUT ROWID;
    CREATE TABLE tags (
        secret_id TEXT NOT NULL REFERENCES secrets ON DELETE CASCADE,
        tag TEXT NOT NULL,
        PRIMARY KEY (secret_id, tag)
    ) WITHOUT ROWID;
    CREATE INDEX tags_by_tag ON tags (tag, secret_id);
    """,
)

SCHEMA_VERSION = len(MIGRATIONS)

_Schema = frozenset[tuple[str, str, str, str | None]]
_LOOK = "SELECT type, name, tbl_name, sql FROM sqlite_master"


def migrate(connection: sqlite3.Connection) -> None:
    """Take the database to the newest schema, inside the caller's transaction."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    _run(connection, MIGRATIONS[version:])
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Compare what is in the database with what the migrations make.

    Raises TamperedError for what is more or different, DamagedRecordError for what is missing, and
    StoreUnavailableError for a newer schema.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StoreUnavailableError(
            f"{path} has the schema {version}, and this sealflow knows up to {SCHEMA_VERSION}",
            hint="Update sealflow; nothing was changed",
        )
    if version < 1:
        raise DamagedRecordError(f"{path} is not a store of sealflow", hint="Restore it from a backup")
    expected = _expected(MIGRATIONS[:version])
    found = frozenset(connection.execute(_LOOK).fetchmany(len(expected) + 1))
    if found == expected:
        return
    for kind, name, *_ in sorted(found - expected, key=str):
        raise TamperedError(
            f"{path} holds the {kind} {str(name)[:60]!r}, which is not what sealflow made",
            hint="Find out who can write to the store, and restore it from a backup; nothing of it was used",
        )
    missing = ", ".join(sorted(name for _, name, *_ in expected - found))
    raise DamagedRecordError(f"{path} is missing {missing}", hint="Restore it from a backup")


@lru_cache(maxsize=4)
def _expected(steps: tuple[str, ...]) -> _Schema:
    """Return what a database holds after these steps: made once in memory, so that it is SQLite's own wording."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        _run(connection, steps)
        return frozenset(connection.execute(_LOOK).fetchall())
    finally:
        connection.close()


def _run(connection: sqlite3.Connection, steps: tuple[str, ...]) -> None:
    for step in steps:
        for statement in step.split(";"):  # executescript() would commit the transaction
            connection.execute(statement)
