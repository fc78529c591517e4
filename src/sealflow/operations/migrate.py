"""Moving a store to another backend, in the directory where it is.

The new store is built in a directory of its own inside, compared with the old one, moved into place, and goes live by one
rename of the marker. Until then the old store is the live one, whatever was killed; afterwards its files are moved to
``old-BACKEND-TIME`` and stay there until somebody asks for their removal.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sealflow.errors import DamagedRecordError
from sealflow.model import times
from sealflow.operations.old_copies import OLD
from sealflow.settings import Settings
from sealflow.stores import private_files
from sealflow.stores.registry import SecretRegistry
from sealflow.stores.select import BACKENDS, MAIN_FILES, mark, open_registry

DRAFT = private_files.TEMPORARY + "migrate"


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
    path = settings.path
    registry = open_registry(replace(settings, backend=None))
    try:
        source = registry.backend
        if source == target:
            _put_aside_all_but(path, target)  # what a killed run had left to do
            return Migrated(source, target, registry.status().secrets, old_stores(path))
        with registry.transaction():  # the store's lock: nobody writes until the new one is live
            new = _built(path, kind, registry)
            secrets = _filled(registry, new)
            new.close()
            for name in kind.files:
                _remove(path / name)  # no live store: a killed run left it
                if (path / DRAFT / name).exists():
                    (path / DRAFT / name).rename(path / name)
            private_files.sync_directory(path)
            shutil.rmtree(path / DRAFT, ignore_errors=True)
            new = kind.open(path)
            try:
                mark(path, new)
            finally:
                new.close()
            _put_aside_all_but(path, target)  # before a writer that waits can write into the old one
    finally:
        registry.close()
    return Migrated(source, target, secrets, old_stores(path))


def _built(path: Path, kind: type[SecretRegistry], registry: SecretRegistry) -> SecretRegistry:
    draft = path / DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    private_files.make_directory(draft)
    return kind.create(draft if kind.files else path, registry.store_id, registry.keyring())


def _filled(registry: SecretRegistry, new: SecretRegistry) -> int:
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
                "the new store does not hold what the old one does",
                hint="Nothing was changed: run `sealflow doctor`, and report it",
            )
    return new.status().secrets


def _put_aside_all_but(path: Path, live: str) -> None:
    """Move the files of the other backends into directories of their own."""
    for name in MAIN_FILES:
        files = [path / file for file in BACKENDS.get(name).files if name != live]
        there = [file for file in files if file.exists()]
        if there:
            stamp = times.now().strftime("%Y%m%dT%H%M%S%fZ")
            aside = path / f"{OLD}{name}-{stamp}"
            private_files.make_directory(aside)
            for file in there:
                file.rename(aside / file.name)
    private_files.sync_directory(path)


def old_stores(path: Path) -> tuple[Path, ...]:
    """Return the directories of the stores that were live before, oldest first."""
    return tuple(sorted(item for item in path.glob(f"{OLD}*") if item.is_dir()))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
