"""``sealflow secret history``, ``rollback``, ``undelete`` and ``destroy``."""

from __future__ import annotations

import click

from sealflow.cli.common import confirm, expected_option, json_option
from sealflow.cli.completion import name_argument
from sealflow.cli.terminal import echo, print_json, print_table


@click.command()
@name_argument
@json_option
def history(name: str, as_json: bool) -> None:
    """List the kept versions of NAME, those of a deleted secret too. Shows no values."""
    from sealflow.service.open_service import open_existing

    with open_existing() as service:
        found = [item.to_dict() for item in service.history(name)]
    if as_json:
        print_json(found)
        return
    rows = [
        (
            str(item["version"]),
            item["type"],
            item["created_at"][:19] + "Z",
            (item["expires_at"] or "-")[:19],
            "destroyed" if item["destroyed"] else "current" if item["current"] else "",
        )
        for item in found
    ]
    print_table(("VERSION", "TYPE", "CREATED", "EXPIRES", ""), rows)
    if not any(item["current"] for item in found):
        echo(f"{name} is deleted: `sealflow secret undelete {name}` brings it back.", err=True)


@click.command()
@name_argument
@click.option("--version", type=click.IntRange(min=1), required=True, help="The version to go back to.")
@expected_option
@json_option
def rollback(name: str, version: int, expected_version: int | None, as_json: bool) -> None:
    """Make the data of an older version the next version of NAME.

    Its hosts, workflows and expiry stay as they are now, so going back to an old value does not widen the policy.
    """
    from sealflow.service.open_service import open_existing

    with open_existing() as service:
        info = service.rollback(name, version, expected_version=expected_version)
    if as_json:
        print_json(info.to_dict())
    else:
        echo(f"Version {info.version} of {name} has the data of version {version}.")


@click.command()
@name_argument
@json_option
def undelete(name: str, as_json: bool) -> None:
    """Bring the deleted secret NAME back, with its versions."""
    from sealflow.service.open_service import open_existing

    with open_existing() as service:
        info = service.undelete(name)
    if as_json:
        print_json(info.to_dict())
    else:
        echo(f"{name} is back, at version {info.version}.")


@click.command()
@name_argument
@click.option("--version", "versions", type=click.IntRange(min=1), multiple=True, help="Repeatable.")
@click.option("--all", "everything", is_flag=True, help="All versions, and the secret itself.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def destroy(name: str, versions: tuple[int, ...], everything: bool, yes: bool, as_json: bool) -> None:
    """Overwrite versions of NAME for good.

    Backups, and the old copies that a move or a restore left, still hold them: the old copies are listed.
    """
    from sealflow.operations import find_old_copies
    from sealflow.operations.old_copies import REMOVE
    from sealflow.service.open_service import open_existing
    from sealflow.settings import Settings

    if bool(versions) == everything:
        raise click.UsageError("give --version N (repeatable), or --all")
    what = "all versions" if everything else f"version {', '.join(map(str, versions))}"
    with open_existing() as service:
        service.history(name)
        confirm(f"Destroy {what} of {name} for good?", yes, "destroy")
        service.destroy(name, None if everything else versions)
    copies = [str(item) for item in find_old_copies(Settings.load())]
    if as_json:
        print_json({"name": name, "destroyed": sorted(versions) if versions else "all", "old_copies": copies})
        return
    echo(f"Destroyed {what} of {name}.")
    for copy in copies:
        echo(f"An old copy of the store may still hold it: {copy}", err=True)
    if copies:
        echo(f"Remove the old copies with: {REMOVE}", err=True)
