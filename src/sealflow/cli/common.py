"""What commands share: reading what the user gives, and asking before what cannot be undone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sealflow.cli.terminal import clean
from sealflow.crypto.key_input import holds_standard_input
from sealflow.crypto.key_sources import find_master_keys
from sealflow.crypto.master_key import WAY_OUT, MasterKey, list_keks
from sealflow.errors import MissingMasterKeyError, SealflowError, WrongMasterKeyError
from sealflow.settings import Settings
from sealflow.stores.registry import SecretRegistry
from sealflow.stores.select import open_registry

MAX_INPUT = 8 << 20

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")

expected_option = click.option(
    "--expected-version", type=click.IntRange(min=0), help="Change it only if it is at this version."
)


def open_listing() -> SecretRegistry:
    """Open the store for a command that needs no master key; a key that is configured must still be the right one."""
    settings = Settings.load()
    registry = open_registry(settings)
    try:
        keys = find_master_keys(None, settings.path, registry.store_id, registry.keyring)
        keks = registry.keyring().keks
        known = [kek.kek_id for kek in keks]
        key = keys[0]
        if isinstance(key, MasterKey) and not any(
            isinstance(item, MasterKey) and item.kek_id in known for item in keys
        ):
            raise WrongMasterKeyError(
                f"the master key from {key.source} has the id {key.kek_id}, and this store knows {list_keks(keks)}",
                hint=f"Nothing was read or changed. {WAY_OUT}",
            )
    except MissingMasterKeyError:
        pass
    except BaseException:
        registry.close()
        raise
    return registry


def read_input(source: str, option: str) -> str:
    """Return the text of ``-`` (standard input) or ``@FILE``; anything else is refused and not repeated."""
    if source == "-":
        if holds_standard_input():
            raise click.UsageError("standard input held the master key: give the value in a file (@FILE)")
        content = sys.stdin.buffer.read(MAX_INPUT + 1)
    elif source.startswith("@") and len(source) > 1:
        try:
            with Path(source[1:]).open("rb") as file:
                content = file.read(MAX_INPUT + 1)
        except OSError as error:
            raise SealflowError(
                f"{source[1:]} cannot be read ({error.strerror})", hint=f"Correct the file of {option}"
            ) from None
    else:
        raise click.UsageError(
            f"{option} takes - (standard input) or @FILE: a value on a command line is seen by every user of the machine"
        )
    if len(content) > MAX_INPUT:
        raise SealflowError(f"{option}: the input is larger than 8 MiB", hint="The limit is 8 MiB")
    return decoded(content, option)


def decoded(content: bytes, option: str) -> str:
    """Return UTF-8 text; the error repeats nothing of it."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        pass
    raise SealflowError(f"{option}: the input is not UTF-8 text", hint="Encode bytes as base64")


def read_json(text: str, option: str) -> Any:
    """Parse JSON; the error says where, and repeats nothing of the text."""
    problem = ""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        problem = f"is not JSON (line {error.lineno}, column {error.colno})"
    except (ValueError, RecursionError):
        problem = "has a key twice, or is nested too deeply"
    raise SealflowError(f"{option}: the input {problem}", hint='Give an object such as {"token": "..."}')


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def read_tags(_: click.Context, option: click.Parameter, tags: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse several tags in one, as in ``--tag a,b``."""
    if any("," in tag for tag in tags):
        raise click.BadParameter("give one tag at a time: --tag a --tag b", param=option)
    return tags


def counted(number: int, thing: str) -> str:
    """Return ``1 secret``, ``2 secrets``."""
    return f"{number} {thing}{'s' * (number != 1)}"


def confirm(question: str, yes: bool, command: str) -> None:
    """Ask before something that cannot be undone; a usage error when there is no terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{command} asks before it goes on, and there is no terminal: give --yes")
    click.confirm(clean(question), abort=True)


def options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Apply several click options that commands have in common, in the order they are written."""

    def decorate(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate
