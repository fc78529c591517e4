"""``sealflow trust``, and the ``--trust`` option of the commands that read what is in a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from sealflow.cli.common import json_option
from sealflow.cli.terminal import echo, print_json
from sealflow.project import find_project
from sealflow.trust import is_trusted, revoke_folder, trust_folder, trusted_folders, trusting

trust_option = click.option(
    "--trust", "trust_now", is_flag=True, help="Trust the folder for this command; see `sealflow trust`."
)


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--list", "list_", is_flag=True, help="List the folders that you trust.")
@click.option("--revoke", is_flag=True, help="Trust the folder no longer.")
@json_option
def trust(folder: Path | None, list_: bool, revoke: bool, as_json: bool) -> None:
    """Trust FOLDER (default: the current one), and what lies below it.

    Workflows there may then call Python functions, use every secret of yours, and sealflow.toml there is obeyed. In any
    other folder a workflow can use only secrets whose allowed_hosts say where they may go.
    """
    if list_ and (revoke or folder is not None):
        raise click.UsageError("--list takes neither a folder nor --revoke")
    if list_:
        _list(as_json)
        return
    folder = folder or Path.cwd()
    if not revoke:
        path = trust_folder(folder)
        if as_json:
            print_json({"path": str(path), "trusted": True})
        else:
            echo(f"Trusted {path}")
        return
    known = revoke_folder(folder)
    still = is_trusted(folder)
    if as_json:
        print_json({"path": str(folder.resolve()), "trusted": still})
    else:
        echo(f"{'No longer trusted' if known else 'Not in the list'}: {folder.resolve()}")
        if still:
            echo("It is still trusted: a folder above it is, or SEALFLOW_TRUSTED_FOLDERS names it", err=True)


def _list(as_json: bool) -> None:
    paths = [str(item.path) for item in trusted_folders()]
    if as_json:
        print_json(paths)
    else:
        for path in paths:
            echo(path)


def folder_to_trust(file: Path) -> Path:
    """Return the folder that trust in a workflow file is about: its project's where it is in one, else its own.

    The ``sealflow.toml`` of the project needs trust too.
    """
    folder = file.resolve().parent
    project = find_project(folder).folder
    return project if project in folder.parents else folder


def trust_for_this_command(folders: Iterable[Path]) -> None:
    """Trust folders until the current command ends."""
    context = click.get_current_context()
    for folder in folders:
        context.with_resource(trusting(folder))
