"""Secrets and keyrings as JSON documents: what the file store keeps a file of, and a backup a line of."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sealflow.errors import DamagedRecordError, attempt
from sealflow.model.stored import Dek, Kek, KeyringDocument, KeyWrap, StoredSecret, StoredVersion

_KEY_ID = re.compile(r"[0-9a-f]{16}")
_D = TypeVar("_D")
_T = TypeVar("_T")
_STUMBLES = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)


def secret_document(secret: StoredSecret) -> dict[str, Any]:
    """Return the JSON shape of a secret with its versions, records in base64."""
    versions = [
        {**version._asdict(), "record": None if version.record is None else _base64(version.record)}
        for version in secret.versions
    ]
    return {**secret._asdict(), "versions": versions}


def read_secret(document: Mapping[str, Any]) -> StoredSecret:
    """Return the secret, every part of the right type; to be called through ``parse``."""
    versions = tuple(
        StoredVersion(
            _version(item["version"]),
            _encodable(item["type"]),
            _encodable(item["policy"]),
            typed(item["created_at"], str),
            None if item["record"] is None else _bytes(item["record"]),
        )
        for item in document["versions"]
    )
    if not versions:
        raise ValueError("it has no version")
    return StoredSecret(
        _encodable(document["id"]),
        _encodable(document["name"]),
        typed(document["description"], str, type(None)),
        tuple(typed(tag, str) for tag in document["tags"]),
        typed(document["created_at"], str),
        typed(document["updated_at"], str),
        typed(document["deleted_at"], str, type(None)),
        versions,
    )


def _version(value: Any) -> int:
    """Return the number of a version: 1 or more, in 8 bytes, as the record format has it."""
    if not 0 < typed(value, int) < 1 << 63:
        raise ValueError("the number of a version is out of range")
    return int(value)


def typed(value: Any, *kinds: type) -> Any:
    """Return ``value`` if it is of one of these types; TypeError otherwise."""
    if type(value) not in kinds:
        raise TypeError("the type is wrong")
    return value


def _encodable(value: Any) -> str:
    """Return a string that is authenticated as UTF-8; UnicodeEncodeError, a ValueError, for one with lone surrogates."""
    text: str = typed(value, str)
    text.encode()
    return text


def keyring_document(keyring: KeyringDocument) -> dict[str, Any]:
    """Return the JSON shape of a keyring, wraps in base64."""
    return {
        "deks": [dek._asdict() for dek in keyring.deks],
        "keks": [kek._asdict() for kek in keyring.keks],
        "wraps": [{**wrap._asdict(), "wrapped": _base64(wrap.wrapped)} for wrap in keyring.wraps],
    }


def read_keyring(document: Mapping[str, Any]) -> KeyringDocument:
    """Return the keyring, every part of the right type; to be called through ``parse``."""
    return KeyringDocument(
        tuple(read_dek(dek["dek_id"], dek["state"], dek["created_at"]) for dek in document["deks"]),
        tuple(
            read_wrap(wrap["dek_id"], wrap["kek_id"], _bytes(wrap["wrapped"])) for wrap in document["wraps"]
        ),
        tuple(
            read_kek(kek["kek_id"], kek["kind"], kek["params"], kek["created_at"]) for kek in document["keks"]
        ),
    )


def read_dek(dek_id: Any, state: Any, created_at: Any) -> Dek:
    """Return a DEK of which every part is of the right form."""
    if state not in ("active", "decrypt_only", "destroyed"):
        raise ValueError("the state is not one of a DEK")
    return Dek(_key_id(dek_id), state, typed(created_at, str))


def read_wrap(dek_id: Any, kek_id: Any, wrapped: Any) -> KeyWrap:
    """Return a wrap of which every part is of the right form."""
    return KeyWrap(_key_id(dek_id), _key_id(kek_id), typed(wrapped, bytes))


def read_kek(kek_id: Any, kind: Any, params: Any, created_at: Any) -> Kek:
    """Return a KEK of which every part is of the right form; ``params`` are scrypt's own to judge."""
    if kind not in ("key", "passphrase", "recovery"):
        raise ValueError("the kind is not one of a KEK")
    return Kek(_key_id(kek_id), kind, typed(params, dict, type(None)), typed(created_at, str))


def _key_id(value: Any) -> str:
    if not _KEY_ID.fullmatch(typed(value, str)):
        raise ValueError("an id of a key is 16 hex digits")
    return str(value)


def read_object(content: str | bytes) -> dict[str, Any]:
    """Return the JSON object; to be called through ``parse``."""
    document = json.loads(content)
    if not isinstance(document, dict):
        raise TypeError("not an object")
    return document


def parse(path: Path, hint: str, read: Callable[[_D], _T], document: _D) -> _T:
    """Return ``read(document)``; DamagedRecordError that names the file where the reader stumbles.

    The error has no ``__context__``: what the reader saw, and the library's words about it, stay here.
    """
    outcome = attempt(_STUMBLES, read, document)
    if outcome[1] is not None:
        raise damaged(path, hint)
    return outcome[0]


def damaged(path: Path, hint: str) -> DamagedRecordError:
    """Return the error that says that a file cannot be understood."""
    return DamagedRecordError(f"{path} is damaged", hint=hint)


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _base64(blob: bytes) -> str:
    return base64.b64encode(blob).decode("ascii")
