"""``sealflow audit``: what was done with secrets, by whom and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sealflow.cli.common import json_option
from sealflow.cli.completion import complete_secrets
from sealflow.cli.terminal import echo, print_json, print_table
from sealflow.config import find_config, has_providers
from sealflow.errors import SealflowError, TrustError, attempt
from sealflow.model import times
from sealflow.settings import Settings
from sealflow.stores.select import existing_backend

if TYPE_CHECKING:
    from sealflow.operations import AuditCheck


@click.command()
@click.option("--secret", shell_complete=complete_secrets, help="Only what was done with this secret.")
@click.option(
    "--since",
    metavar="TIME",
    help="Only from this time on: 1h, 90d (ago), yesterday, 2026-01-31 or 2026-01-31T09:00:00Z.",
)
@click.option("--verify", is_flag=True, help="Check that no line was changed, removed or moved.")
@json_option
def audit(secret: str | None, since: str | None, verify: bool, as_json: bool) -> None:
    """Show the audit trail of the store: no values, and no master key needed."""
    from sealflow.operations import read_audit, verify_audit

    settings = Settings.load()
    if existing_backend(settings) is None and _has_providers_alone():
        echo("This project has providers and no store, so no audit trail is kept here.", err=True)
        if as_json:
            print_json({"lines": 0, "ok": True, "breaks": []} if verify else [])
        return
    if verify:
        _print_check(verify_audit(settings), as_json)
        return
    begin = times.read_moment(since, "--since", past=True) if since else None
    found = list(read_audit(settings, secret, begin))
    if as_json:
        print_json(found)
    elif found:
        columns = ("time", "actor", "action", "secret", "version", "workflow", "node", "outcome")
        rows = [
            [_cell(item.get(name) or (item.get("source") if name == "secret" else None)) for name in columns]
            for item in found
        ]
        print_table([name.upper() for name in columns], rows)
    else:
        echo("The audit trail has no such lines.", err=True)


def _has_providers_alone() -> bool:
    """Whether the project's configuration, which only its providers are asked about here, names providers."""
    config, _ = attempt((TrustError,), find_config)
    return has_providers(config)


def _print_check(checked: AuditCheck, as_json: bool) -> None:
    whole = not checked.breaks
    if as_json:
        print_json(
            {"lines": checked.lines, "ok": whole, "breaks": [item._asdict() for item in checked.breaks]}
        )
    else:
        for item in checked.breaks:
            echo(f"{checked.path}:{item.line}: {item.problem}")
        said = "every one follows the one before it" if whole else "the chain is broken"
        echo(f"{checked.lines} lines: {said}")
    if not whole:
        click.get_current_context().exit(1)


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def last_use(secret: str) -> dict[str, Any] | None:
    """Return the last line that says that a secret was resolved or revealed."""
    from sealflow.operations import read_audit

    try:
        lines = list(read_audit(Settings.load(), secret))
    except SealflowError:
        return None
    used = [item for item in lines if item.get("action") in ("resolve", "reveal")]
    return used[-1] if used else None
