"""What is in the rows of the SQLite store: read from them and written into them."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

from sealflow.errors import DamagedRecordError
from sealflow.model.stored import (
    KeyringDocument,
    StoredRecord,
    StoredSecret,
    StoredVersion,
)
from sealflow.stores.bounds import BoundedConnection
from sealflow.stores.documents import read_dek, read_kek, read_wrap

_RECORD_TYPES = frozenset(
    (str, str, description, tags, str, str, int, str, str, record)
    for description, tags, record in product((str, type(None)), (str, type(None)), (bytes, type(None)))
)
"""The types of the columns of a record: id, name, description, tags, created, updated, version, type, policy, record."""


class SqliteTransaction:
    """RegistryTransaction on the writer's connection."""

    def __init__(self, connection: BoundedConnection) -> None:
        self._connection = connection

    def load(self, name: str) -> StoredSecret | None:
        self._connection.restart()
        return load_secret(self._connection, name)

    def save(self, secret: StoredSecret) -> None:
        self._connection.restart()
        run = self._connection.execute
        header = (
            secret.id,
            secret.name,
            secret.description,
            secret.created_at,
            secret.updated_at,
            secret.deleted_at,
        )
        run(
            "INSERT INTO secrets VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, "
            "description = excluded.description, created_at = excluded.created_at, updated_at = excluded.updated_at, "
            "deleted_at = excluded.deleted_at",
            header,
        )
        kept = json.dumps([version.version for version in secret.versions])
        run(
            "DELETE FROM versions WHERE secret_id = ? AND version NOT IN (SELECT value FROM json_each(?))",
            (secret.id, kept),
        )
        self._connection.executemany(
            "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (secret_id, version) DO UPDATE SET "
            "type = excluded.type, policy = excluded.policy, created_at = excluded.created_at, record = excluded.record",
            [(secret.id, *version) for version in secret.versions],
        )
        run("DELETE FROM tags WHERE secret_id = ?", (secret.id,))
        self._connection.executemany(
            "INSERT INTO tags VALUES (?, ?)", [(secret.id, tag) for tag in secret.tags]
        )

    def remove(self, name: str) -> None:
        self._connection.execute("DELETE FROM secrets WHERE name = ?", (name,))

    def save_keyring(self, document: KeyringDocument) -> None:
        self._connection.restart()
        for statement in ("DELETE FROM key_wraps", "DELETE FROM deks", "DELETE FROM keks"):
            self._connection.execute(statement)
        self._connection.executemany("INSERT INTO deks VALUES (?, ?, ?)", document.deks)
        self._connection.executemany(
            "INSERT INTO keks VALUES (?, ?, ?, ?)",
            [
                (kek.kek_id, kek.kind, json.dumps(kek.params) if kek.params else None, kek.created_at)
                for kek in document.keks
            ],
        )
        self._connection.executemany("INSERT INTO key_wraps VALUES (?, ?, ?)", document.wraps)


def read_keyring(connection: BoundedConnection) -> KeyringDocument:
    """Return the keyring; to be called through ``parse``."""
    deks = connection.fetch("SELECT dek_id, state, created_at FROM deks ORDER BY created_at, dek_id")
    wraps = connection.fetch("SELECT dek_id, kek_id, wrapped FROM key_wraps ORDER BY dek_id, kek_id")
    keks = connection.fetch("SELECT kek_id, kind, params, created_at FROM keks ORDER BY created_at, kek_id")
    return KeyringDocument(
        tuple(read_dek(*row) for row in deks),
        tuple(read_wrap(*row) for row in wraps),
        tuple(read_kek(row[0], row[1], json.loads(row[2]) if row[2] else None, row[3]) for row in keks),
    )


def read_record(row: Any) -> StoredRecord:
    """Return one row of a query for records; the columns of SQLite take values of any type, so those are checked."""
    if tuple(map(type, row)) not in _RECORD_TYPES or row[6] < 1:
        raise DamagedRecordError(
            f"the row of the secret {str(row[1])[:60]!r} holds a value that sealflow never writes",
            hint="Restore it from a backup",
        )
    tags = row[3]
    return StoredRecord._make((*row[:3], () if tags is None else tuple(sorted(tags.split("\x1f"))), *row[4:]))


def load_secret(connection: BoundedConnection, name: str) -> StoredSecret | None:
    header = connection.execute(
        "SELECT id, name, description, created_at, updated_at, deleted_at FROM secrets WHERE name = ?",
        (name,),
    ).fetchone()
    if header is None:
        return None
    tags = connection.fetch("SELECT tag FROM tags WHERE secret_id = ? ORDER BY tag", (header[0],))
    versions = connection.fetch(
        "SELECT version, type, policy, created_at, record FROM versions WHERE secret_id = ? ORDER BY version",
        (header[0],),
    )
    if not versions:
        raise DamagedRecordError(
            f"the secret {name!r} has no version", hint="Restore it from a backup", secret=name
        )
    secret = StoredSecret._make(
        (
            *header[:3],
            tuple(tag for (tag,) in tags),
            *header[3:],
            tuple(StoredVersion(*version) for version in versions),
        )
    )
    for kept in secret.versions:
        found = (*secret.at(kept)[:3], None, *secret.at(kept)[4:])
        sound = tuple(map(type, found)) in _RECORD_TYPES and kept.version > 0
        if not sound or not all(type(tag) is str for tag in secret.tags):
            raise DamagedRecordError(
                f"the rows of the secret {name!r} hold a value of the wrong type",
                hint="Restore it from a backup",
                secret=name,
            )
    return secret
