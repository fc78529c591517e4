"""``sealflow audit``: what was done with secrets, by whom and when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from sealflow.audit import FILE, AuditLog
from sealflow.cli.common import json_option, print_json, print_table
from sealflow.errors import SealflowError
from sealflow.model import times
from sealflow.settings import Settings
from sealflow.stores.select import open_registry


@click.command()
@click.option("--secret", help="Only what was done with this secret.")
@click.option("--since", metavar="TIME", help="Only from this time on: 2026-01-31T00:00:00Z.")
@click.option("--verify", is_flag=True, help="Check that no line was changed, removed or moved.")
@json_option
def audit(secret: str | None, since: str | None, verify: bool, as_json: bool) -> None:
    """Show the audit trail of the store: no values, and no master key needed."""
    trail = opened_trail()
    if verify:
        _verify(trail, as_json)
        return
    begin = times.read_time(since, "--since") if since else None
    found = list(chosen(trail, secret, begin))
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
        click.echo("Nothing of the kind is in the audit trail.", err=True)


def opened_trail() -> AuditLog:
    """Return the trail of the store that the environment names."""
    settings = Settings.load()
    open_registry(settings).close()
    return AuditLog(settings.path / FILE)


def chosen(trail: AuditLog, secret: str | None, since: datetime | None) -> Iterator[dict[str, Any]]:
    """Yield the lines of one secret, or of all, from a time on."""
    for item in trail.events():
        if secret in (None, item.get("secret")) and (
            since is None or times.from_text(str(item.get("time"))) >= since
        ):
            yield {key: value for key, value in item.items() if key != "previous"}


def _verify(trail: AuditLog, as_json: bool) -> None:
    count, breaks = trail.verify()
    if as_json:
        print_json({"lines": count, "ok": not breaks, "breaks": [item._asdict() for item in breaks]})
    else:
        for item in breaks:
            click.echo(f"{trail.path}:{item.line}: {item.problem}")
        click.echo(
            f"{count} lines: {'every one follows the one before it' if not breaks else 'the chain is broken'}"
        )
    if breaks:
        click.get_current_context().exit(1)


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def last_use(secret: str) -> dict[str, Any] | None:
    """Return the last line that says that a secret was resolved or revealed."""
    try:
        trail = opened_trail()
    except SealflowError:
        return None
    used = [item for item in chosen(trail, secret, None) if item.get("action") in ("resolve", "reveal")]
    return used[-1] if used else None
