"""The SQLite schema, as the list of steps that made it. A step is never edited once it was released."""

from __future__ import annotations

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
