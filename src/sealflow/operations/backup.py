"""Backups: all of a store in one file, still encrypted, that any backend can be restored from.

A line of JSON each: the header, the keyring, every secret with its versions, and an end that counts them and holds the
SHA-256 of all before it. Records are as they are in the store, so the master key alone opens a backup. The page
docs/reference/backup-format.md is this module's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from sealflow.crypto.keyring import Keyring
from sealflow.crypto.master_key import KeySource
from sealflow.errors import (
    DamagedRecordError,
    SealflowError,
    StoreError,
    StoreUnavailableError,
    TamperedError,
    without_locals,
)
from sealflow.model import times
from sealflow.model.json_value import canonical
from sealflow.model.stored import KeyringDocument, StoredSecret
from sealflow.stores.documents import (
    keyring_document,
    parse,
    read_keyring,
    read_object,
    read_secret,
    secret_document,
    typed,
)
from sealflow.stores.folder import Folder
from sealflow.stores.private_files import TEMPORARY, check_new, raise_for
from sealflow.stores.registry import SecretRegistry

FORMAT = 1
_MAX_LINE = 64 << 20
_HINT = "Take another backup: this one cannot be trusted"


class BackupInfo(NamedTuple):
    """``decrypted``: whether every record was opened with the master key too; ``kept``: what a restore put aside."""

    path: Path
    store_id: str
    backend: str
    created_at: str
    secrets: int
    decrypted: bool
    kept: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON shape that the commands print."""
        return {
            **self._asdict(),
            "path": str(self.path),
            "kept": None if self.kept is None else str(self.kept),
        }


class Header(NamedTuple):
    store_id: str
    backend: str
    created_at: str
    keyring: KeyringDocument


@without_locals
def write_backup(registry: SecretRegistry, path: Path, sources: Sequence[KeySource]) -> BackupInfo:
    """Write a consistent backup while others write, and verify it; ``sources``: keys to open every record with, if any.

    Raises StoreUnavailableError when ``path`` exists: nothing is written over.
    """
    path = path.absolute()
    check_new(path)
    folder = Folder(path.parent)
    draft = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(folder.create(draft.name), "wb") as file:
            _write(registry, file)
            file.flush()
            os.fsync(file.fileno())
        info = check_backup(draft, sources)
        os.link(draft, path)  # fails where the name was taken meanwhile, which a rename would not
        folder.sync()
    except OSError as error:
        raise_for(error, path, "written")
    finally:
        draft.unlink(missing_ok=True)
    return info._replace(path=path)


def _write(registry: SecretRegistry, file: BinaryIO) -> None:
    digest, count = hashlib.sha256(), 0

    def put(value: dict[str, Any]) -> None:
        line = (canonical(value) + "\n").encode()
        digest.update(line)
        file.write(line)

    created = times.to_text(times.now())
    with registry.snapshot() as snapshot:
        put(
            {
                "sealflow_backup": FORMAT,
                "store_id": registry.store_id,
                "backend": registry.backend,
                "created_at": created,
            }
        )
        put({"keyring": keyring_document(snapshot.keyring)})
        for secret in snapshot.secrets:
            put({"secret": secret_document(secret)})
            count += 1
    file.write(_end(count, digest.hexdigest()))


def _end(count: int, digest: str) -> bytes:
    return (canonical({"end": {"secrets": count, "sha256": digest}}) + "\n").encode()


@without_locals
def check_backup(path: Path, sources: Sequence[KeySource]) -> BackupInfo:
    """Check all of a backup: its form, its checksum, and with ``sources`` that every record opens.

    Raises DamagedRecordError, TamperedError, WrongMasterKeyError, and StoreUnavailableError for a newer format.
    """
    with opened_backup(path) as file:
        header = read_header(path, file)
        keyring = Keyring.open(header.store_id, header.keyring, *sources) if sources else None
        names: set[str] = set()
        for secret in backup_secrets(path, file):
            if secret.name in names:
                raise _damaged(path, f"it holds the secret {secret.name!r} twice")
            names.add(secret.name)
            if keyring is not None:
                _check_records(header.store_id, keyring, secret)
    return BackupInfo(
        path, header.store_id, header.backend, header.created_at, len(names), keyring is not None
    )


def check_record_errors(
    store_id: str, keyring: Keyring, secret: StoredSecret
) -> Iterator[tuple[int, SealflowError]]:
    """Open every kept record of a secret and yield the versions that do not open, with the error."""
    for kept in secret.versions:
        if kept.record is not None:
            try:
                keyring.unseal(kept.record, secret.place(kept).associated_data(store_id))
            except (TamperedError, DamagedRecordError) as error:
                yield kept.version, error


def _check_records(store_id: str, keyring: Keyring, secret: StoredSecret) -> None:
    for version, error in check_record_errors(store_id, keyring, secret):
        raise error.placed(f"version {version} of the secret {secret.name!r}", hint=_HINT, secret=secret.name)


def opened_backup(path: Path) -> BinaryIO:
    """Open a backup for reading; StoreUnavailableError when it cannot be."""
    try:
        return path.open("rb")
    except OSError as error:
        raise_for(error, path, "read")


def read_header(path: Path, file: BinaryIO) -> Header:
    """Read the first two lines; the checksum, which comes last, is ``backup_secrets``'s to compare."""
    file.seek(0)
    first = _parsed(path, file.readline(_MAX_LINE))
    version = first.get("sealflow_backup")
    if isinstance(version, int) and version > FORMAT:
        raise StoreUnavailableError(
            f"{path} is a backup of format {version}, and this sealflow knows up to {FORMAT}",
            hint="Update sealflow; nothing was changed",
        )
    if version != FORMAT:
        raise _damaged(path, "it is not a backup of sealflow")
    second = _parsed(path, file.readline(_MAX_LINE))
    return parse(path, _HINT, _header, (first, second))


def _header(lines: tuple[dict[str, Any], dict[str, Any]]) -> Header:
    first, second = lines
    return Header(
        typed(first["store_id"], str),
        typed(first["backend"], str),
        typed(first["created_at"], str),
        read_keyring(second["keyring"]),
    )


def backup_secrets(path: Path, file: BinaryIO) -> Iterator[StoredSecret]:
    """Yield the secrets, and raise behind the last where count or checksum do not fit."""
    file.seek(0)
    digest, count, ended = hashlib.sha256(), 0, False
    for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b"")):
        if ended:
            raise _damaged(path, "something follows its end")
        if number < 2:
            digest.update(line)
            continue
        parsed = _parsed(path, line)
        if "end" in parsed:
            ended = True
            if line != _end(count, digest.hexdigest()):
                raise _damaged(path, "its checksum does not fit")
            continue
        digest.update(line)
        count += 1
        yield parse(path, _HINT, read_secret, parsed.get("secret", {}))
    if not ended:
        raise _damaged(path, "its end is missing")


def _parsed(path: Path, line: bytes) -> dict[str, Any]:
    return parse(path, _HINT, read_object, line)


def _damaged(path: Path, why: str) -> StoreError:
    return DamagedRecordError(f"{path} is damaged: {why}", hint=_HINT)
