"""Where the fields of a secret come from: prompts, files, standard input. Never from an argument."""

from __future__ import annotations

import os
import select
import sys
import termios
from collections.abc import Sequence
from typing import Any

import click

from sealflow.cli.common import decoded, read_input, read_json
from sealflow.cli.terminal import echo
from sealflow.errors import SecretValidationError
from sealflow.model.maskable import PUBLIC_FIELDS
from sealflow.model.names import NAME_RULE, is_name

_TRIES = 3


def given_fields(
    fields: Sequence[str], from_json: str | None, required: Sequence[str], *, custom: bool = False
) -> dict[str, Any] | None:
    """Return the fields that the user gives, or None when there are none to give.

    ``required`` are asked for when nothing is given; ``custom``: names and values are.
    """
    if from_json is not None:
        if fields:
            raise click.UsageError("--from-json and --field exclude each other")
        return _read_object(from_json)
    if sum(field.endswith("=@-") for field in fields) > 1:
        raise click.UsageError("only one --field can read standard input")
    if not fields and not sys.stdin.isatty():
        text = _read_piped(required)
        if text is not None:
            return text
    if fields or required:
        return dict(_field(field) for field in fields or required)
    return _ask_custom() if custom and sys.stdin.isatty() else None


def _read_object(source: str) -> dict[str, Any]:
    data = read_json(read_input(source, "--from-json"), "--from-json")
    if not isinstance(data, dict):
        raise SecretValidationError(
            "--from-json: the input is not a JSON object", hint='Give {"field": "value"}'
        )
    return data


def _read_piped(required: Sequence[str]) -> dict[str, Any] | None:
    """Return what is piped in as the value of the one required field, if there is one and it is confidential."""
    if len(required) != 1 or required[0] in PUBLIC_FIELDS:
        return None
    text = _without_last_break(read_input("-", "standard input"))
    if not text:
        return None
    if text.lstrip().startswith("{"):
        raise click.UsageError(
            f"standard input looks like JSON: use --from-json - for all fields, or --field {required[0]}=@- if it is the value"
        )
    return {required[0]: text}


def _field(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if equals and not source.startswith("@"):
        raise click.UsageError(
            f"--field {name if name.isidentifier() else 'NAME'}=... would put a value on the command line, where every user of the machine sees it: "
            "use --field NAME (asks without echo), --field NAME=@FILE, --field NAME=@- (standard input), or --from-json -"
        )
    if equals:
        return name, _without_last_break(read_input("-" if source == "@-" else source, f"--field {name}"))
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"there is no terminal to ask for {name}: use --field NAME=@FILE, --field NAME=@-, or --from-json -"
        )
    return name, _ask(name)


def _without_last_break(text: str) -> str:
    """Editors end a file with a line break that does not belong to a token; a PEM key keeps its own."""
    bare = text.removesuffix("\n").removesuffix("\r")
    return text if "\n" in bare else bare


def _ask(name: str) -> str:
    """Ask for a field: a public one is shown while it is typed, any other is asked for twice."""
    if name in PUBLIC_FIELDS:
        return str(click.prompt(name, err=True))
    for _ in range(_TRIES):
        value = _read_hidden(name)
        if not value:
            echo("It is empty.", err=True)
        elif _read_hidden(name, " again") == value:
            return value
        else:
            echo("The two are not the same.", err=True)
    raise click.UsageError(f"{name} was not typed twice in the same way")


def _ask_custom() -> dict[str, Any]:
    """Ask for names and values until a name is left empty."""
    found: dict[str, Any] = {}
    while name := str(click.prompt("field name (empty: done)", default="", show_default=False, err=True)):
        if is_name(name):
            found[name] = _ask(name)
        else:
            echo(f"That is not a valid field name. {NAME_RULE}.", err=True)
    return found


def _read_hidden(name: str, suffix: str = "") -> str:
    """Read one line from the terminal without echo. Several pasted lines are refused: only the first would be kept."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
    echo(f"{name}{suffix}: ", nl=False, err=True)
    try:
        line = os.read(descriptor, 1 << 16)
        more = bool(select.select([descriptor], [], [], 0.1)[0])
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
        echo(err=True)
    if not line:
        raise click.Abort
    if more:
        raise SecretValidationError(
            f"several lines were pasted for {name}, and a prompt takes one",
            hint=f"Use --field {name}=@- and end with Ctrl-D, or --field {name}=@FILE",
            field=name,
        )
    return decoded(line, name).rstrip("\r\n")
