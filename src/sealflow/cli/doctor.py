"""``sealflow doctor``: what is wrong with the store, and what to do."""

from __future__ import annotations

import click

from sealflow.cli.common import json_option
from sealflow.cli.terminal import echo, print_json
from sealflow.cli.trust import trust_for_this_command, trust_option
from sealflow.config import find_config, has_providers
from sealflow.errors import TrustError, attempt
from sealflow.project import find_project
from sealflow.settings import Settings


@click.command()
@trust_option
@json_option
def doctor(trust_now: bool, as_json: bool) -> None:
    """Look at permissions, keys, schema, every record, the audit trail, expiry and use.

    Exit code 1 when there is an error or a warning: good for CI. Notes alone are 0.
    """
    from sealflow.operations import Finding, examine, examine_config

    project = find_project()
    if trust_now:
        trust_for_this_command([project.folder])
    config, refused = attempt((TrustError,), find_config, None, project)
    found = examine(Settings.load(project=project), needs_store=not has_providers(config))
    found += examine_config(config)
    if refused is not None:
        found.append(Finding("trust", "warning", refused.message, refused.hint or ""))
    serious = [item for item in found if item.level != "note"]
    if as_json:
        print_json([item._asdict() for item in found])
    else:
        for item in sorted(found, key=lambda item: ("error", "warning", "note").index(item.level)):
            echo(f"{item.level}: {item.check}: {item.problem}")
            echo(f"    {item.fix}")
        echo(f"{len(serious)} to act on, {len(found) - len(serious)} worth knowing")
    if serious:
        click.get_current_context().exit(1)
