"""The one place where commands print: what somebody else wrote can neither steer a terminal nor forge a line.

Names, descriptions, paths and the lines of the audit trail come from whoever could write to the storage or to a workflow
file. So ``echo`` prints one line, spells out what a terminal obeys, and leaves out master keys and tokens.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

import click

from sealflow.wording import printable, without_keys


class Coloured(str):
    """A part of a line that is clean already, with the codes of its colour."""

    __slots__ = ()


class LogFormatter(logging.Formatter):
    """Logs one line for a message, and the lines of a traceback, all clean."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is of logging
        return clean(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "\n".join(map(clean, super().formatException(ei).split("\n")))


def clean(text: str) -> str:
    """Return ``text`` as one line that is safe to print: nothing that a terminal obeys, no key and no token."""
    return printable(without_keys(text))


def echo(*parts: str, err: bool = False, file: TextIO | None = None, nl: bool = True) -> None:
    """Print one line, made of ``parts``."""
    line = "".join(part if isinstance(part, Coloured) else clean(part) for part in parts)
    click.echo(line, err=err, file=file, nl=nl)


def echo_data(line: str, file: TextIO | None = None) -> None:
    """Print one line of what a node gave: a hash in it looks like a key, and stays."""
    click.echo(printable(line), file=file)


def echo_exactly(text: str) -> None:
    """Print what was asked for to the last character: a key, a revealed value, a script or a page of ours."""
    click.echo(text, color=True)  # else click drops what looks like a code of a terminal, in a pipe


def echo_json(text: str, file: TextIO | None = None) -> None:
    """Print JSON, of the same data, with every character that a terminal obeys as an escape of JSON."""
    click.echo("\n".join(printable(line, _json_escape) for line in text.split("\n")), file=file)


def print_json(value: Any, *, keys: bool = False) -> None:
    """Print one JSON value without keys and tokens; ``keys``: with them, where a command is there to print them."""
    echo_json(json.dumps(value if keys else _without_keys(value), indent=2, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns as wide as their widest cell."""
    lines = [list(map(clean, line)) for line in (headings, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def coloured(text: str, colour: str, stream: TextIO) -> str:
    """Return ``text`` in a colour where the stream is a terminal and NO_COLOR (no-color.org) is not set."""
    wanted = colour and stream.isatty() and not os.environ.get("NO_COLOR")
    return Coloured(click.style(clean(text), fg=colour)) if wanted else text


def _json_escape(char: str) -> str:
    return json.dumps(char)[1:-1]


def _without_keys(value: Any) -> Any:
    if isinstance(value, str):
        return without_keys(value)
    if isinstance(value, Mapping):
        return {without_keys(str(key)): _without_keys(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_keys(item) for item in value]
    return value
