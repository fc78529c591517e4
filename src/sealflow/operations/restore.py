"""Making a store what a backup holds: all of it, or nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from sealflow.audit import FILE as AUDIT_FILE
from sealflow.crypto.key_seal import KeySeal
from sealflow.crypto.master_key import KeySource
from sealflow.errors import DamagedRecordError, StoreUnavailableError, without_locals
from sealflow.model import times
from sealflow.operations.backup import (
    BackupInfo,
    backup_secrets,
    check_backup,
    opened_backup,
    read_header,
    write_backup,
)
from sealflow.operations.old_copies import BEFORE_RESTORE
from sealflow.settings import Settings
from sealflow.stores.folder import Folder
from sealflow.stores.private_files import TEMPORARY, make_directory, raise_for
from sealflow.stores.registry import SecretRegistry
from sealflow.stores.select import (
    BACKENDS,
    DEFAULT_BACKEND,
    MAIN_FILES,
    existing_backend,
    mark,
    open_registry,
)


@without_locals
def restore_from(path: Path, settings: Settings, sources: Sequence[KeySource]) -> BackupInfo:
    """Replace the store's contents with the backup's. If this is killed, the old contents remain.

    Everything is checked first. What was there is kept beside the store, as a backup of its own, or as the directory
    that it is where it cannot be read. Raises StoreUnavailableError when the store there is another one.
    """
    info = check_backup(path, sources)
    existing = existing_backend(settings)
    kept = settings.path.with_name(f"{settings.path.name}{BEFORE_RESTORE}{_stamp()}")
    if existing is None:
        _restore_new(path, settings, settings.backend or info.backend)
        return info
    try:
        kept = _restore_over(path, info, settings, kept, sources)
    except DamagedRecordError:  # the store there, as the backup was verified
        _restore_new(path, settings, existing, aside=kept)
    return info._replace(kept=kept)


def _restore_over(
    path: Path, info: BackupInfo, settings: Settings, kept: Path, sources: Sequence[KeySource]
) -> Path:
    """Replace what the open store holds, in one transaction that its readers see at once; return where the old is kept."""
    with open_registry(settings) as registry:
        if registry.store_id != info.store_id:
            raise StoreUnavailableError(
                f"{settings.path} holds the store {registry.store_id}, and the backup is of {info.store_id}",
                hint="Restore it into another directory (WORKFLOW_SECRETS_STORAGE_PATH)",
            )
        registry.vouch_with(KeySeal(info.store_id, sources))
        backup = kept.with_name(kept.name + ".backup")
        write_backup(registry, backup, ())
        _fill(path, registry)
    return backup


def _restore_new(path: Path, settings: Settings, backend: str, aside: Path | None = None) -> None:
    """Build the store beside its place and put it there when it is whole; what is there goes to ``aside``."""
    target = settings.path
    make_directory(target.parent)
    beside = Folder(target.parent)
    draft = f"{TEMPORARY}restore-{os.getpid()}-{target.name}"
    beside.remove_tree(draft)
    try:
        folder = beside.make(draft)
        with opened_backup(path) as file:
            header = read_header(path, file)
        name = backend if backend in MAIN_FILES else DEFAULT_BACKEND
        with BACKENDS.get(name).create(folder.path, header.store_id, header.keyring) as registry:
            _fill(path, registry)
            mark(folder.path, registry)
        if aside is not None:
            _copy_trail(Folder(target), folder)
            target.rename(aside)
        elif target.is_dir():
            for stray in target.glob("*.lock"):
                stray.unlink()  # what an attempt to open a store left where there was none
        folder.path.rename(target)
        beside.sync()
    except OSError as error:
        raise_for(error, target, "restored: it must not exist, or be empty")
    finally:
        beside.remove_tree(draft)


def _copy_trail(source: Folder, target: Folder) -> None:
    """Copy the audit trail; new lines are appended to it."""
    for name in (AUDIT_FILE, f"{AUDIT_FILE}.head"):
        if source.check_in_place(name) is not None:
            with (
                os.fdopen(source.open_file(name, os.O_RDONLY), "rb") as old,
                os.fdopen(target.create(name), "wb") as new,
            ):
                shutil.copyfileobj(old, new)


def _fill(path: Path, registry: SecretRegistry) -> None:
    """Replace all that a store holds in one transaction."""
    with registry.transaction() as transaction, opened_backup(path) as file:
        header = read_header(path, file)
        with registry.snapshot() as snapshot:
            for old in [secret.name for secret in snapshot.secrets]:
                transaction.remove(old)
        transaction.save_keyring(header.keyring)
        for secret in backup_secrets(path, file):
            transaction.save(secret)


def _stamp() -> str:
    return times.now().strftime("%Y%m%dT%H%M%S%fZ")
