"""``sealflow backup``: create, verify, restore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealflow.cli.common import confirm, counted, json_option
from sealflow.cli.terminal import echo, print_json
from sealflow.settings import Settings

if TYPE_CHECKING:
    from sealflow.operations import BackupInfo

_file = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def backup() -> None:
    """Back up the store, check a backup, restore one."""


@backup.command()
@_file
@json_option
def create(file: Path, as_json: bool) -> None:
    """Write the whole store to the new FILE, still encrypted, and verify it. Others can write meanwhile.

    It holds the store's keys in their wrapped form: the master key alone opens it, and nothing else does.
    """
    from sealflow.operations import create_backup

    _print(create_backup(Settings.load(), file), as_json, "Wrote")


@backup.command()
@_file
@json_option
def verify(file: Path, as_json: bool) -> None:
    """Check FILE: every bit of it, and, where the master key is configured, that every record opens."""
    from sealflow.operations import verify_backup

    _print(verify_backup(Settings.load(), file), as_json, "Verified")


@backup.command()
@_file
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def restore(file: Path, yes: bool, as_json: bool) -> None:
    """Make the store what FILE holds. Needs the master key that was in use when it was made.

    Everything is checked before anything is changed, and the old store is kept beside the new one.
    """
    from sealflow.operations import restore_backup, verify_backup
    from sealflow.stores.select import existing_backend

    settings = Settings.load()
    verify_backup(settings, file)  # a question is worth asking only for a backup that can be restored
    is_new = existing_backend(settings) is None
    if is_new:
        settings = Settings.for_new_store()
    else:
        confirm(f"Replace what the store in {settings.path} holds?", yes, "restore")
    info = restore_backup(settings, file)
    _print(info, as_json, "Restored")
    if info.kept is not None and not as_json:
        echo(f"The old store is kept in {info.kept}")
    if is_new and not as_json:
        echo("Next, on a new machine: `sealflow key use FILE` with your key, then `sealflow doctor`")


def _print(info: BackupInfo, as_json: bool, done: str) -> None:
    if as_json:
        print_json(info.to_dict())
        return
    opened = "every record opens" if info.decrypted else "no master key is configured: no record was opened"
    echo(
        f"{done} {info.path}: {counted(info.secrets, 'secret')} of the store {info.store_id}, as of {info.created_at}; {opened}"
    )
