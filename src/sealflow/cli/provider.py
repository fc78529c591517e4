"""``sealflow provider``: what is configured, and whether it would answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from sealflow.cli.common import json_option, options
from sealflow.cli.terminal import echo, print_json, print_table
from sealflow.cli.trust import trust_for_this_command, trust_option
from sealflow.errors import SealflowError, SettingsError
from sealflow.project import find_project
from sealflow.wording import closest, shown

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The configuration; else SEALFLOW_CONFIG, else sealflow.toml.",
)
_common = options(config_option, trust_option, json_option)


@click.group()
def provider() -> None:
    """Look at the providers of secrets that sealflow.toml configures."""


@provider.command("list")
@_common
def list_(config: Path | None, trust_now: bool, as_json: bool) -> None:
    """List the providers in the order in which they are asked."""
    from sealflow.config import find_config, load_config
    from sealflow.providers.options import provider_settings

    if trust_now:
        trust_for_this_command([find_project().folder])
    found = [
        {
            "name": item.name,
            "kind": item.kind,
            "timeout": item.timeout,
            "ttl": item.ttl,
            "max_stale": item.max_stale,
        }
        for item in provider_settings(load_config(find_config(config)))
    ]
    if as_json:
        print_json(found)
    elif found:
        print_table(
            ("NAME", "KIND", "TIMEOUT", "TTL", "MAX STALE"),
            [
                [f"{value:g}" if isinstance(value, float) else str(value) for value in item.values()]
                for item in found
            ],
        )
    else:
        echo("No providers are configured: references use the local store.", err=True)


@provider.command()
@click.argument("name")
@click.option("--secret", help="Also ask for this secret, and show the names of its fields.")
@_common
def test(name: str, secret: str | None, config: Path | None, trust_now: bool, as_json: bool) -> None:
    """Say whether the provider NAME would answer, and what is wrong if not."""
    from sealflow.resolver.open_resolver import opened_resolver

    if trust_now:
        trust_for_this_command([find_project().folder])
    with opened_resolver(config) as resolver:
        found = {item.name: item for item in resolver.providers}
        if name not in found:
            raise SettingsError(
                f"there is no provider {shown(name)}", hint=closest(name, found, what="providers")
            )
        result = asyncio.run(_asked(resolver, found[name], secret))
    if as_json:
        print_json(result)
    else:
        echo(f"{name}: {'it answers' if result['ok'] else result['problem']}")
        if result["fields"] is not None:
            echo(f"{secret}: {', '.join(result['fields']) or 'there is no such secret'}")
    if not result["ok"] or result["fields"] == []:
        click.get_current_context().exit(1)


async def _asked(resolver: Any, item: Any, secret: str | None) -> dict[str, Any]:
    problem, fields = None, None
    async with resolver:
        try:
            await item.check()
            if secret is not None:
                fields = sorted(await item.get_secret(secret) or {})
        except SealflowError as error:
            problem = str(error)
    return {"name": item.name, "ok": problem is None, "problem": problem, "fields": fields}
