"""The project that a folder belongs to: the folder itself, or the nearest above it, that has a ``.workflow`` or a
``sealflow.toml``, as git finds its repository.

The store, the configuration and their relative paths belong to it. The search ends at the home folder, at the root of a
file system, and below a folder that another user may write to: a ``.workflow`` that somebody put into ``/tmp`` or into a
shared folder is never found from below. What is found still needs trust, as it does in the current folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sealflow.owners import find_writer
from sealflow.wording import shown_path

WORKFLOW_FOLDER = ".workflow"
CONFIG_FILE = "sealflow.toml"


class Project(NamedTuple):
    """``folder``: the project's; the current folder where there is none.

    ``marks``: which of ``.workflow`` and ``sealflow.toml`` are in it; none where there is no project. ``looked_in``: the
    folders that were searched, the nearest first. ``ended``: why the search went no further up.
    """

    folder: Path
    marks: tuple[str, ...]
    looked_in: tuple[Path, ...]
    ended: str


def find_project(beside: Path | None = None) -> Project:
    """Return the project of the folder ``beside`` (a workflow file's); where that has none, of the current folder."""
    here = Path.cwd()
    looked: list[Path] = []
    ended = ""
    for start in (here,) if beside is None else (Path(os.path.realpath(beside)), here):
        for folder, reason in _climb(start):
            if folder not in looked:
                looked.append(folder)
            marks = tuple(name for name in (WORKFLOW_FOLDER, CONFIG_FILE) if os.path.lexists(folder / name))
            if marks:
                return Project(folder, marks, tuple(looked), f"found in {shown_path(folder)}")
            ended = reason
    return Project(here, (), tuple(looked), ended)


def _climb(start: Path) -> Iterator[tuple[Path, str]]:
    """Yield the folders from ``start`` upwards, each with why the search ends there; "" where it goes on."""
    folder, ended = start, ""
    while not ended:
        ended = _why_it_ends(folder)
        yield folder, ended
        folder = folder.parent


def _why_it_ends(folder: Path) -> str:
    above = folder.parent
    if folder == above:
        return "it is the root of the file system"
    if folder == _home():
        return "it is your home folder"
    try:
        status, status_above = folder.stat(), above.stat()
    except OSError as error:
        return f"{shown_path(above)} cannot be looked at ({error.strerror})"
    if status.st_uid not in (0, os.geteuid()):
        return f"{shown_path(folder)} belongs to another user"
    if status.st_dev != status_above.st_dev:
        return f"{shown_path(above)} is on another file system"
    writer = find_writer(above, status_above)
    return "" if writer is None else writer[0]


def _home() -> Path | None:
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home raises for a user without one
    return Path(os.path.realpath(home)) if os.path.isabs(home) else None  # noqa: PTH117 - a string
