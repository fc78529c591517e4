"""``sealflow doctor``: what is wrong with the store, and what to do."""

from __future__ import annotations

import click

from sealflow.cli.common import json_option, print_json
from sealflow.config import find_config
from sealflow.settings import Settings


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Look at permissions, keys, schema, every record, the audit trail, expiry and use.

    Exit code 1 when there is an error or a warning: good for CI. Notes alone are 0.
    """
    from sealflow.operations.doctor import examine, examine_config

    found = [*examine(Settings.load()), *examine_config(find_config())]
    serious = [item for item in found if item.level != "note"]
    if as_json:
        print_json([item._asdict() for item in found])
    else:
        for item in sorted(found, key=lambda item: ("error", "warning", "note").index(item.level)):
            click.echo(f"{item.level}: {item.check}: {item.problem}\n    {item.fix}")
        click.echo(f"{len(serious)} to act on, {len(found) - len(serious)} worth knowing")
    if serious:
        click.get_current_context().exit(1)
