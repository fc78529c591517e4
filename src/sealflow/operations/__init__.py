"""What operators do with a store: keys, backups, restores, moves, bundles, checks, and the audit trail.

The command line calls these functions. Each is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealflow.lazy import load_name

if TYPE_CHECKING:
    from sealflow.audit import Break
    from sealflow.operations.backup import BackupInfo
    from sealflow.operations.bundle import Imported, OnExisting, export_bundle, import_bundle
    from sealflow.operations.doctor import Finding, examine, examine_config
    from sealflow.operations.keys import Progress, Reencrypted, StoreKeys
    from sealflow.operations.migrate import Migrated
    from sealflow.operations.old_copies import find_old_copies, remove_old_copies
    from sealflow.operations.tasks import (
        create_backup,
        key_status,
        migrate_store,
        restore_backup,
        verify_backup,
    )
    from sealflow.operations.trail import AuditCheck, read_audit, verify_audit
    from sealflow.project import Project, find_project
    from sealflow.settings import Settings

__all__ = [
    "AuditCheck",
    "BackupInfo",
    "Break",
    "Finding",
    "Imported",
    "Migrated",
    "OnExisting",
    "Progress",
    "Project",
    "Reencrypted",
    "Settings",
    "StoreKeys",
    "create_backup",
    "examine",
    "examine_config",
    "export_bundle",
    "find_old_copies",
    "find_project",
    "import_bundle",
    "key_status",
    "migrate_store",
    "read_audit",
    "remove_old_copies",
    "restore_backup",
    "verify_audit",
    "verify_backup",
]

_MODULES = {
    "AuditCheck": "sealflow.operations.trail",
    "BackupInfo": "sealflow.operations.backup",
    "Break": "sealflow.audit",
    "Finding": "sealflow.operations.doctor",
    "Imported": "sealflow.operations.bundle",
    "Migrated": "sealflow.operations.migrate",
    "OnExisting": "sealflow.operations.bundle",
    "Progress": "sealflow.operations.keys",
    "Project": "sealflow.project",
    "Reencrypted": "sealflow.operations.keys",
    "Settings": "sealflow.settings",
    "StoreKeys": "sealflow.operations.keys",
    "create_backup": "sealflow.operations.tasks",
    "examine": "sealflow.operations.doctor",
    "examine_config": "sealflow.operations.doctor",
    "export_bundle": "sealflow.operations.bundle",
    "find_old_copies": "sealflow.operations.old_copies",
    "find_project": "sealflow.project",
    "import_bundle": "sealflow.operations.bundle",
    "key_status": "sealflow.operations.tasks",
    "migrate_store": "sealflow.operations.tasks",
    "read_audit": "sealflow.operations.trail",
    "remove_old_copies": "sealflow.operations.old_copies",
    "restore_backup": "sealflow.operations.tasks",
    "verify_audit": "sealflow.operations.trail",
    "verify_backup": "sealflow.operations.tasks",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that a command pays only for what it needs."""
    return load_name(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
