"""Copies of a store that earlier moves and restores put aside. They still hold secrets that were destroyed since.

A move leaves ``old-BACKEND-TIME`` inside the storage directory; a restore leaves ``NAME.before-restore-TIME`` beside it, a
directory or a ``.backup`` file.
"""

from __future__ import annotations

from pathlib import Path

from sealflow.errors import StoreUnavailableError
from sealflow.settings import Settings
from sealflow.stores.folder import Folder
from sealflow.stores.select import open_registry

OLD = "old-"
BEFORE_RESTORE = ".before-restore-"
REMOVE = "sealflow store migrate --remove-old"
"""The command that removes them."""


def find_old_copies(settings: Settings) -> tuple[Path, ...]:
    """Return what moves and restores put aside, sorted by name; backups that you made yourself are not among them."""
    path = settings.path
    moved = [item for item in path.glob(f"{OLD}*") if item.is_dir()]
    begin = path.name + BEFORE_RESTORE
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    restored = [item for item in beside if item.name.startswith(begin)]
    return tuple(sorted(item for item in (*moved, *restored) if not item.is_symlink()))


def remove_old_copies(settings: Settings) -> tuple[Path, ...]:
    """Remove for good what moves and restores put aside, and return it.

    The live store must open first. Raises StoreUnavailableError when there is nothing to remove, or it cannot be removed.
    """
    with open_registry(settings):
        found = find_old_copies(settings)
    for item in found:
        Folder(item.parent).remove_tree(item.name)
    if not found:
        raise StoreUnavailableError(
            f"no old copies of the store in {settings.path} were found", hint="There is nothing to remove"
        )
    return found
