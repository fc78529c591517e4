"""Secrets and keyrings as JSON documents: what the file store keeps a file of, and a backup a line of."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sealflow.errors import DamagedRecordError
from sealflow.model.stored import Dek, Kek, KeyringDocument, KeyWrap, StoredSecret, StoredVersion


def secret_document(secret: StoredSecret) -> dict[str, Any]:
    """Return the JSON shape of a secret with its versions, records in base64."""
    versions = [
        {**version._asdict(), "record": None if version.record is None else _base64(version.record)}
        for version in secret.versions
    ]
    return {**secret._asdict(), "versions": versions}


def read_secret(document: Mapping[str, Any]) -> StoredSecret:
    """Return the secret; raises what ``damage`` turns into DamagedRecordError."""
    versions = tuple(
        StoredVersion(
            item["version"],
            item["type"],
            item["policy"],
            item["created_at"],
            None if item["record"] is None else _bytes(item["record"]),
        )
        for item in document["versions"]
    )
    if not versions:
        raise ValueError("it has no version")
    return StoredSecret(
        document["id"],
        document["name"],
        document["description"],
        tuple(document["tags"]),
        document["created_at"],
        document["updated_at"],
        document["deleted_at"],
        versions,
    )


def keyring_document(keyring: KeyringDocument) -> dict[str, Any]:
    """Return the JSON shape of a keyring, wraps in base64."""
    return {
        "deks": [dek._asdict() for dek in keyring.deks],
        "keks": [kek._asdict() for kek in keyring.keks],
        "wraps": [{**wrap._asdict(), "wrapped": _base64(wrap.wrapped)} for wrap in keyring.wraps],
    }


def read_keyring(document: Mapping[str, Any]) -> KeyringDocument:
    """Return the keyring; raises what ``damage`` turns into DamagedRecordError."""
    return KeyringDocument(
        tuple(Dek(**dek) for dek in document["deks"]),
        tuple(KeyWrap(wrap["dek_id"], wrap["kek_id"], _bytes(wrap["wrapped"])) for wrap in document["wraps"]),
        tuple(Kek(**kek) for kek in document["keks"]),
    )


@contextmanager
def damage(path: Path, hint: str) -> Iterator[None]:
    """Turn what a damaged document does to its reader into the error that names the file."""
    damaged = False
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, binascii.Error, RecursionError):
        damaged = True
    if damaged:
        raise DamagedRecordError(f"{path} is damaged", hint=hint)


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _base64(blob: bytes) -> str:
    return base64.b64encode(blob).decode("ascii")
