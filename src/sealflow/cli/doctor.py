"""``sealflow doctor``: what is wrong with the store, and what to do."""

from __future__ import annotations

from pathlib import Path

import click

from sealflow.cli.common import json_option, print_json
from sealflow.cli.trust import trust_for_this_command, trust_option
from sealflow.config import find_config
from sealflow.errors import TrustError
from sealflow.settings import Settings


@click.command()
@trust_option
@json_option
def doctor(trust_now: bool, as_json: bool) -> None:
    """Look at permissions, keys, schema, every record, the audit trail, expiry and use.

    Exit code 1 when there is an error or a warning: good for CI. Notes alone are 0.
    """
    from sealflow.operations import Finding, examine, examine_config

    if trust_now:
        trust_for_this_command([Path.cwd()])
    found = [*examine(Settings.load())]
    try:
        found += examine_config(find_config())
    except TrustError as error:
        found.append(Finding("trust", "warning", error.message, error.hint or ""))
    serious = [item for item in found if item.level != "note"]
    if as_json:
        print_json([item._asdict() for item in found])
    else:
        for item in sorted(found, key=lambda item: ("error", "warning", "note").index(item.level)):
            click.echo(f"{item.level}: {item.check}: {item.problem}\n    {item.fix}")
        click.echo(f"{len(serious)} to act on, {len(found) - len(serious)} worth knowing")
    if serious:
        click.get_current_context().exit(1)
