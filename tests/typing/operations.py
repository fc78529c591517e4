"""An operator's program: every public name of ``sealflow.operations``. Type-checked, never run."""

from __future__ import annotations

from pathlib import Path

from sealflow import Passphrase, SecretService
from sealflow.operations import (
    AuditCheck,
    BackupInfo,
    Break,
    Finding,
    Imported,
    Migrated,
    OnExisting,
    Progress,
    Project,
    Reencrypted,
    Settings,
    StoreKeys,
    create_backup,
    examine,
    examine_config,
    export_bundle,
    find_old_copies,
    find_project,
    import_bundle,
    key_status,
    migrate_store,
    read_audit,
    remove_old_copies,
    restore_backup,
    verify_audit,
    verify_backup,
)


def use_backups(settings: Settings, path: Path) -> str:
    made: BackupInfo = create_backup(settings, path)
    checked: BackupInfo = verify_backup(settings, path)
    restored: BackupInfo = restore_backup(settings, path, master_key=None)
    return f"{made.secrets} {checked.decrypted} {restored.kept}"


def use_checks(settings: Settings) -> list[str]:
    findings: list[Finding] = [*examine(settings), *examine_config(None)]
    trail: AuditCheck = verify_audit(settings)
    broken: tuple[Break, ...] = trail.breaks
    return [item.problem for item in findings] + [item.problem for item in broken]


def use_keys(service: SecretService, settings: Settings) -> int:
    def progress(done: int, total: int) -> None:
        print(done, total)

    shown: Progress = progress
    keys = StoreKeys(service)
    keys.rotate_dek()
    again: Reencrypted = keys.reencrypt(shown)
    return again.done + len(key_status(settings)["store_keys"])


def use_moves(service: SecretService, settings: Settings, path: Path, passphrase: Passphrase) -> int:
    moved: Migrated = migrate_store(settings, "file")
    existing: OnExisting = "skip"
    taken: Imported = import_bundle(service, path, passphrase, existing)
    copies = (*find_old_copies(settings), *remove_old_copies(settings))
    count = export_bundle(service, path, passphrase, ["a"])
    return moved.secrets + len(taken.created) + len(copies) + count + len(list(read_audit(settings, "a")))


def use_projects(folder: Path) -> Settings:
    project: Project = find_project(folder)
    return Settings.load(project=project)
