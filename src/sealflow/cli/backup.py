"""``sealflow backup``: create, verify, restore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealflow.cli.common import confirm, counted, json_option, print_json, record
from sealflow.crypto.key_sources import find_master_keys
from sealflow.crypto.master_key import KeySource
from sealflow.errors import MissingMasterKeyError
from sealflow.settings import Settings

if TYPE_CHECKING:
    from sealflow.operations.backup import BackupInfo

_file = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def backup() -> None:
    """Back up the store, check a backup, restore one."""


@backup.command()
@_file
@json_option
def create(file: Path, as_json: bool) -> None:
    """Write all of the store to the new FILE, still encrypted, and verify it. Others may write meanwhile.

    It holds the store's keys in their wrapped form: the master key alone opens it, and nothing else does.
    """
    from sealflow.audit import Event
    from sealflow.operations.backup import create_backup
    from sealflow.stores.select import open_registry

    settings = Settings.load()
    registry = open_registry(settings)
    try:
        info = create_backup(registry, file, _keys(settings, registry.store_id))
        record(settings, Event("backup"))
    finally:
        registry.close()
    _print(info, as_json, "Wrote")


@backup.command()
@_file
@json_option
def verify(file: Path, as_json: bool) -> None:
    """Check FILE: every bit of it, and, where the master key is configured, that every record opens."""
    from sealflow.operations.backup import verify_backup

    plain = verify_backup(file, ())
    keys = _keys(Settings.load(), plain.store_id)
    _print(verify_backup(file, keys) if keys else plain, as_json, "Verified")


@backup.command()
@_file
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def restore(file: Path, yes: bool, as_json: bool) -> None:
    """Make the store what FILE holds. Needs the master key that was in use when it was made.

    All is checked before anything is touched; what was there is kept beside the store.
    """
    from sealflow.audit import Event
    from sealflow.operations.backup import verify_backup
    from sealflow.operations.restore import restore_backup
    from sealflow.stores.select import existing_backend

    settings = Settings.load()
    keys = find_master_keys(None, settings.path, verify_backup(file, ()).store_id)
    if existing_backend(settings) is not None:
        confirm(f"Replace what the store in {settings.path} holds?", yes, "restore")
    info = restore_backup(file, settings, keys)
    record(settings, Event("restore"))
    _print(info, as_json, "Restored")
    if info.kept is not None and not as_json:
        click.echo(f"What was there before is kept in {info.kept}")


def _keys(settings: Settings, store_id: str) -> tuple[KeySource, ...]:
    try:
        return find_master_keys(None, settings.path, store_id)
    except MissingMasterKeyError:
        return ()


def _print(info: BackupInfo, as_json: bool, done: str) -> None:
    if as_json:
        print_json(info.to_dict())
        return
    opened = "every record opens" if info.decrypted else "no master key is configured: no record was opened"
    click.echo(
        f"{done} {info.path}: {counted(info.secrets, 'secret')} of the store {info.store_id}, as of {info.created_at}; {opened}"
    )
