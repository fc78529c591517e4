"""``sealflow secret rename`` and ``copy``."""

from __future__ import annotations

import click

from sealflow.cli.common import json_option
from sealflow.cli.completion import name_argument
from sealflow.cli.terminal import echo, print_json


@click.command()
@name_argument
@click.argument("new_name")
@json_option
def rename(name: str, new_name: str, as_json: bool) -> None:
    """Give the secret NAME the name NEW_NAME, with all its versions. Workflow files are not changed."""
    from sealflow.service.open_service import open_existing

    with open_existing() as service:
        info = service.rename_secret(name, new_name)
    if as_json:
        print_json(info.to_dict())
    else:
        echo(
            f"The secret {name} is now {new_name}. `sealflow secret usage {name}` lists the workflow files to change."
        )


@click.command()
@name_argument
@click.argument("new_name")
@json_option
def copy(name: str, new_name: str, as_json: bool) -> None:
    """Store what NAME holds now as the new secret NEW_NAME, with its metadata and policy."""
    from sealflow.service.open_service import open_existing

    with open_existing() as service:
        info = service.copy_secret(name, new_name)
    if as_json:
        print_json(info.to_dict())
    else:
        echo(f"Copied {name} to {new_name}: version {info.version}.")
