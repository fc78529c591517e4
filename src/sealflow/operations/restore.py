"""Making a store what a backup holds: all of it, or nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from sealflow.audit import FILE as AUDIT_FILE
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
from sealflow.stores import private_files
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
    """Make the store what the backup holds: all of it, or, when it is killed, what was there before.

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
        kept = _restore_over(path, info, settings, kept)
    except DamagedRecordError:  # the store there, as the backup was verified
        _restore_new(path, settings, existing, aside=kept)
    return info._replace(kept=kept)


def _restore_over(path: Path, info: BackupInfo, settings: Settings, kept: Path) -> Path:
    """Replace what the open store holds, in one transaction that its readers see at once; return where the old is kept."""
    registry = open_registry(settings)
    try:
        if registry.store_id != info.store_id:
            raise StoreUnavailableError(
                f"{settings.path} holds the store {registry.store_id}, and the backup is of {info.store_id}",
                hint="Restore it into another directory (WORKFLOW_SECRETS_STORAGE_PATH)",
            )
        backup = kept.with_name(kept.name + ".backup")
        write_backup(registry, backup, ())
        _fill(path, registry)
    finally:
        registry.close()
    return backup


def _restore_new(path: Path, settings: Settings, backend: str, aside: Path | None = None) -> None:
    """Build the store beside its place and put it there when it is whole; what is there goes to ``aside``."""
    target = settings.path
    private_files.make_directory(target.parent)
    draft = target.with_name(f"{private_files.TEMPORARY}restore-{os.getpid()}-{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        private_files.make_directory(draft)
        with opened_backup(path) as file:
            header = read_header(path, file)
        name = backend if backend in MAIN_FILES else DEFAULT_BACKEND
        registry = BACKENDS.get(name).create(draft, header.store_id, header.keyring)
        try:
            _fill(path, registry)
            mark(draft, registry)
        finally:
            registry.close()
        for trail in (AUDIT_FILE, f"{AUDIT_FILE}.head"):
            if aside is not None and (target / trail).exists():
                shutil.copy2(target / trail, draft / trail)  # the trail goes on
        for stray in target.glob("*.lock") if target.is_dir() else ():
            stray.unlink()  # what an attempt to open a store left where there was none
        if aside is not None:
            target.rename(aside)
        draft.rename(target)
        private_files.sync_directory(target.parent)
    except OSError as error:
        private_files.raise_for(error, target, "restored: it must not exist, or be empty")
    finally:
        shutil.rmtree(draft, ignore_errors=True)


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
