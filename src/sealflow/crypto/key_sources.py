"""Where master keys are looked for: the argument, variables, key files, the system's keychain."""

from __future__ import annotations

import os
from pathlib import Path

from sealflow import settings
from sealflow.crypto.key_file import default_key_file, read_key_file
from sealflow.crypto.keychain import read_keychain
from sealflow.crypto.master_key import FORM, KeySource, MasterKey, Passphrase, read_passphrase
from sealflow.errors import InvalidMasterKeyError, MissingMasterKeyError


def find_master_keys(
    given: str | MasterKey | Passphrase | None, storage: Path, store_id: str | None
) -> tuple[KeySource, ...]:
    """Return the master key, and behind it the previous one where its variable is set.

    The key is the first of: the argument, the variable, the key file named by its variable, the system's keychain, the
    passphrase, the key file that ``sealflow init`` made for this store. Raises MissingMasterKeyError naming them.
    """
    if given is not None:
        return (_given(given),)
    found = _from_environment(storage)
    if found is None and store_id is not None:
        path = default_key_file(store_id)
        if os.path.lexists(path):
            found = MasterKey.parse(read_key_file(path, storage), str(path))
    if found is None:
        raise MissingMasterKeyError(
            f"no master key is configured for the store in {storage}",
            hint=f"Run `sealflow init`, or set {settings.MASTER_KEY} or {settings.MASTER_KEY_FILE}",
        )
    previous = _key_of(settings.MASTER_KEY_PREVIOUS, settings.MASTER_KEY_PREVIOUS_FILE, storage)
    return (found,) if previous is None else (found, previous)


def find_master_key(
    given: str | MasterKey | Passphrase | None, storage: Path, store_id: str | None
) -> KeySource:
    """Return the first of ``find_master_keys``: the one that a new store is made with."""
    return find_master_keys(given, storage, store_id)[0]


def _given(given: str | MasterKey | Passphrase) -> KeySource:
    if isinstance(given, MasterKey | Passphrase):
        return given
    if isinstance(given, str):
        return MasterKey.parse(given, "the argument master_key")
    raise InvalidMasterKeyError(f"the argument master_key is a {type(given).__name__}", hint=FORM)


def _from_environment(storage: Path) -> KeySource | None:
    found = _key_of(settings.MASTER_KEY, settings.MASTER_KEY_FILE, storage)
    if found is not None:
        return found
    if entry := os.environ.get(settings.MASTER_KEY_KEYCHAIN):
        return read_keychain(entry)
    if text := os.environ.get(settings.PASSPHRASE):
        return read_passphrase(text, settings.PASSPHRASE)
    if path := os.environ.get(settings.PASSPHRASE_FILE):
        return read_passphrase(read_key_file(Path(path).expanduser(), storage), f"the passphrase file {path}")
    return None


def _key_of(variable: str, file_variable: str, storage: Path) -> MasterKey | None:
    if text := os.environ.get(variable):
        return MasterKey.parse(text, variable)
    if path := os.environ.get(file_variable):
        return MasterKey.parse(read_key_file(Path(path).expanduser(), storage), f"the key file {path}")
    return None
