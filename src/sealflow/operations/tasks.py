"""An operator's tasks on a whole store: back it up, restore it, move it, and look at its keys.

Each takes the Settings that say where the store is, finds the master key as ``open_service`` does, and writes what it did
into the audit trail. The command line calls these functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sealflow.audit import Event
from sealflow.crypto.key_sources import find_master_keys
from sealflow.crypto.master_key import KeySource, MasterKey, Passphrase, list_keks
from sealflow.errors import MasterKeyError, MissingMasterKeyError
from sealflow.operations import migrate
from sealflow.operations.backup import BackupInfo, check_backup, opened_backup, read_header, write_backup
from sealflow.operations.keys import describe_keys
from sealflow.operations.restore import restore_from
from sealflow.operations.trail import record_event
from sealflow.settings import MASTER_KEY_FILE, Settings
from sealflow.stores.select import open_registry

GivenKey = str | MasterKey | Passphrase | None
"""A master key, as ``open_service`` takes it; None: the one that is configured."""


def create_backup(settings: Settings, path: Path, master_key: GivenKey = None) -> BackupInfo:
    """Write all of the store to the new file ``path``, still encrypted, and verify it. Others may write meanwhile.

    With a master key, every record is opened too; without one, ``decrypted`` is False in what is returned. Raises
    StoreUnavailableError when there is no store or ``path`` exists, DamagedRecordError, TamperedError, WrongMasterKeyError.
    """
    with open_registry(settings) as registry:
        info = write_backup(registry, path, _keys_if_any(master_key, settings, registry.store_id))
    record_event(settings, Event("backup"))
    return info


def verify_backup(settings: Settings, path: Path, master_key: GivenKey = None) -> BackupInfo:
    """Check the form and the checksum of a backup and, with a master key, that every record opens.

    ``settings`` say where to look for the key; there need not be a store. Raises DamagedRecordError, TamperedError,
    WrongMasterKeyError, and StoreUnavailableError for a file that cannot be read or has a newer format.
    """
    # The checksum first: damage is named as damage, and not as a record that somebody changed.
    plain = check_backup(path, ())
    keys = _keys_if_any(master_key, settings, plain.store_id)
    return check_backup(path, keys) if keys else plain


def restore_backup(settings: Settings, path: Path, master_key: GivenKey = None) -> BackupInfo:
    """Replace the store's contents with the backup's. If this is killed, the old contents remain.

    Everything is checked before anything is changed, and what was there is kept beside the store: ``kept`` says where.
    Raises MissingMasterKeyError and what ``verify_backup`` raises, and StoreUnavailableError when ``settings`` lead to
    another store.
    """
    info = restore_from(path, settings, _keys_for_restore(master_key, settings, path))
    record_event(settings, Event("restore"))
    return info


def migrate_store(settings: Settings, target: str) -> migrate.Migrated:
    """Move the store to the backend ``target`` (``sqlite``, ``file``, or one of an installed package). Needs no master key.

    Ids, versions, times and keys stay as they are, and the old store is kept in a directory inside. May be killed and run
    again. Raises SettingsError for an unknown backend, StoreUnavailableError.
    """
    done = migrate.move_store(settings, target)
    record_event(settings, Event("migrate"))
    return done


def key_status(settings: Settings, master_key: GivenKey = None) -> dict[str, Any]:
    """Return the keys of the store, their ids and uses: the shape that ``sealflow key status --json`` prints.

    Needs no master key; one that is configured is marked. Raises StoreUnavailableError.
    """
    with open_registry(settings) as registry:
        try:
            sources = find_master_keys(master_key, settings.path, registry.store_id)
        except MasterKeyError:
            sources = ()
        return describe_keys(registry, sources)


def _keys_for_restore(given: GivenKey, settings: Settings, path: Path) -> tuple[KeySource, ...]:
    """Return the master keys for a backup; MissingMasterKeyError says the order of steps on a new machine."""
    with opened_backup(path) as file:
        header = read_header(path, file)
    try:
        return find_master_keys(given, settings.path, header.store_id)
    except MissingMasterKeyError as error:
        missing = error
    raise missing.placed(
        f"the backup {path} (its master keys: {list_keks(header.keyring.keks)})",
        hint=f"First put a copy of such a key (or the recovery key) into a file of mode 0600 and name it by {MASTER_KEY_FILE}, "
        "then run `sealflow backup restore` again, then `sealflow key use` that file, then `sealflow doctor`. "
        "`sealflow init` is not needed",
    )


def _keys_if_any(given: GivenKey, settings: Settings, store_id: str) -> tuple[KeySource, ...]:
    try:
        return find_master_keys(given, settings.path, store_id)
    except MissingMasterKeyError:
        return ()
