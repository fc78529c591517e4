"""``sealflow secret usage``: where a secret is referred to, and when it was last used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from sealflow.cli.common import json_option
from sealflow.cli.completion import name_argument
from sealflow.cli.terminal import echo, print_json

_ENDINGS = (".yaml", ".yml", ".json")
_SKIPPED = {".git", ".venv", ".workflow", "node_modules", "__pycache__"}


@click.command()
@name_argument
@click.argument("folders", nargs=-1, type=click.Path(exists=True, path_type=Path))
@json_option
def usage(name: str, folders: tuple[Path, ...], as_json: bool) -> None:
    """List the workflow files, nodes and fields below DIR… (default: here) that refer to the secret NAME.

    It also shows when the secret was last used, from the audit trail. Needs no master key.
    """
    from sealflow.cli.audit import last_use

    found = [
        place for folder in folders or (Path(),) for file in _files(folder) for place in _places(file, name)
    ]
    used = last_use(name)
    if as_json:
        print_json({"name": name, "references": found, "last_used": used})
        return
    for item in found:
        echo(f"{item['file']}:{item['line']}:{item['column']}: {item['path']}: {item['reference']}")
    if not found:
        echo(f"No workflow file refers to {name}.")
    said = (
        f"{used.get('time')} by {used.get('actor')}, {used.get('action')} ({used.get('outcome')})"
        if used
        else "never, according to the audit trail"
    )
    echo(f"Last used: {said}")


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
        return
    for path in sorted(folder.rglob("*")):
        if path.suffix in _ENDINGS and path.is_file() and not _SKIPPED & set(path.parts):
            yield path


def _places(file: Path, name: str) -> list[dict[str, Any]]:
    """Return the references of one file; a file that is not a workflow has none."""
    from sealflow.errors import SealflowError
    from sealflow.workflow.check import Known, check_file
    from sealflow.workflow.reader import is_json, parse_text, read_text

    try:
        data = parse_text(read_text(file), is_json(file))
    except SealflowError:
        return []
    if not isinstance(data, dict) or "sealflow" not in data:
        return []
    checked = check_file(file, Known({}))
    return [
        {
            "file": str(file),
            "line": found.line,
            "column": found.column,
            "path": found.path,
            "reference": found.written,
        }
        for found in checked.found
        if found.name == name
    ]
