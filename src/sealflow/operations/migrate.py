"""Moving a store to another backend, in the directory where it is.

The new store is built in a directory of its own inside, compared with the old one, moved into place, and goes live by one
rename of the marker. Until then the old store is the live one, whatever was killed; afterwards its files are moved to
``old-BACKEND-TIME`` and stay there until somebody asks for their removal.
"""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sealflow.errors import DamagedRecordError
from sealflow.model import times
from sealflow.operations.old_copies import OLD
from sealflow.settings import Settings
from sealflow.stores.folder import Folder
from sealflow.stores.private_files import TEMPORARY
from sealflow.stores.registry import SecretRegistry
from sealflow.stores.select import BACKENDS, MAIN_FILES, mark, open_registry

DRAFT = TEMPORARY + "migrate"


class Migrated(NamedTuple):
    """What was moved; ``old`` are the directories that hold the stores that were live before."""

    source: str
    target: str
    secrets: int
    old: tuple[Path, ...]


def move_store(settings: Settings, target: str) -> Migrated:
    """Move the store to the backend ``target``, with ids, versions, times and keys as they are.

    Writers wait meanwhile; who had the store open is refused afterwards until it is opened again. Killed anywhere, it can
    be run again. Raises SettingsError for an unknown backend, StoreUnavailableError.
    """
    kind = BACKENDS.get(target)
    folder = Folder(settings.path)
    with open_registry(replace(settings, backend=None)) as registry:
        source = registry.backend
        if source == target:
            _put_aside_all_but(folder, target)  # what a killed run had left to do
            return Migrated(source, target, registry.status().secrets, old_stores(folder.path))
        with registry.transaction():  # the store's lock: nobody writes until the new one is live
            with _build(folder, kind, registry) as new:
                secrets = _fill(registry, new)
            draft = folder.folder(DRAFT)
            for name in kind.files:
                folder.remove_tree(name)  # not a live store: a killed run left it
                if draft.status(name) is not None:
                    draft.move(name, folder)
            folder.sync()
            folder.remove_tree(DRAFT)
            with kind.open(folder.path) as new:
                mark(folder.path, new)
            _put_aside_all_but(folder, target)  # before a writer that waits can write into the old one
    return Migrated(source, target, secrets, old_stores(folder.path))


def _build(folder: Folder, kind: type[SecretRegistry], registry: SecretRegistry) -> SecretRegistry:
    folder.remove_tree(DRAFT)
    draft = folder.make(DRAFT)
    return kind.create(draft.path if kind.files else folder.path, registry.store_id, registry.keyring())


def _fill(registry: SecretRegistry, new: SecretRegistry) -> int:
    """Copy all secrets and compare both stores; return how many there are that are not deleted."""
    with registry.snapshot() as snapshot, new.transaction() as transaction:
        for secret in snapshot.secrets:
            transaction.save(secret)
    with registry.snapshot() as ours, new.snapshot() as theirs:
        same_keys = [sorted(part, key=str) for part in ours.keyring] == [
            sorted(part, key=str) for part in theirs.keyring
        ]
        if not same_keys or sorted(ours.secrets) != sorted(theirs.secrets):
            raise DamagedRecordError(
                "the new store does not hold the same as the old one",
                hint="Nothing was changed. Run `sealflow doctor`, and report this",
            )
    return new.status().secrets


def _put_aside_all_but(folder: Folder, live: str) -> None:
    """Move the files of the other backends into directories of their own."""
    for backend in MAIN_FILES:
        files = (
            [] if backend == live else [name for name in BACKENDS.get(backend).files if folder.status(name)]
        )
        if files:
            aside = folder.make(f"{OLD}{backend}-{times.now().strftime('%Y%m%dT%H%M%S%fZ')}")
            for name in files:
                folder.move(name, aside)
    folder.sync()


def old_stores(path: Path) -> tuple[Path, ...]:
    """Return the directories of the stores that were live before, oldest first."""
    folder = Folder(path)
    return tuple(
        path / name for name in folder.names() if name.startswith(OLD) and _is_directory(folder, name)
    )


def _is_directory(folder: Folder, name: str) -> bool:
    found = folder.status(name)
    return found is not None and stat.S_ISDIR(found.st_mode)
