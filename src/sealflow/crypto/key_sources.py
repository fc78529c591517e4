"""Where master keys are looked for: the argument, variables, key files, descriptors, a program, the system's keychain."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from sealflow import settings
from sealflow.crypto.key_file import default_key_file, read_key_file
from sealflow.crypto.key_input import read_command, read_descriptor
from sealflow.crypto.keychain import read_keychain
from sealflow.crypto.master_key import (
    FORM,
    WAY_OUT,
    KeySource,
    MasterKey,
    Passphrase,
    list_keks,
    read_passphrase,
)
from sealflow.errors import (
    InvalidMasterKeyError,
    MasterKeyError,
    MissingMasterKeyError,
    SealflowError,
    SettingsError,
)
from sealflow.model.stored import KeyringDocument

_Reader = Callable[[str, Path], KeySource]
"""Takes what a variable holds and the storage directory."""


def find_master_keys(
    given: str | MasterKey | Passphrase | None,
    storage: Path,
    store_id: str | None,
    keyring: Callable[[], KeyringDocument] | None = None,
) -> tuple[KeySource, ...]:
    """Return the master key, and behind it the previous one where its variable is set.

    The key is the first of: the argument, the variables in the order of ``_READERS``, the key file that ``sealflow init``
    made for this store. ``keyring`` is asked for the ids that the store knows when an error names them. Raises
    MissingMasterKeyError, which names where was looked; InvalidMasterKeyError, SettingsError.
    """
    if given is not None:
        return (_given(given),)
    problem: MasterKeyError
    try:
        return _configured(storage, store_id)
    except MasterKeyError as error:
        problem = error
    if keyring is None:
        raise problem.with_traceback(None)
    known = f"the store in {storage} (its master keys: {list_keks(keyring().keks)})"
    raise problem.placed(known, hint=WAY_OUT if isinstance(problem, MissingMasterKeyError) else None)


def find_master_key(
    given: str | MasterKey | Passphrase | None, storage: Path, store_id: str | None
) -> KeySource:
    """Return the first of ``find_master_keys``: the one that a new store is made with."""
    return find_master_keys(given, storage, store_id)[0]


def list_set_variables() -> list[str]:
    """Return the variables that give a master key here, in the order in which they count: the first is used."""
    return [variable for variable in _READERS if os.environ.get(variable)]


def name_key_source(store_id: str | None) -> str | None:
    """Return the variable or the file that the master key would come from; nothing is read from it. None: there is none."""
    variable = next(iter(list_set_variables()), None)
    if variable is not None or store_id is None or settings.find_user_config_directory() is None:
        return variable
    path = default_key_file(store_id)
    return str(path) if os.path.lexists(path) else None


def list_configured_keys(storage: Path, store_id: str) -> list[MasterKey]:
    """Return every master key that this process could read for a store, also those that another one hides.

    ``source`` says where each is. Places that cannot be read are left out.
    """
    found: list[KeySource] = []
    for variable, read in {**_READERS, **_PREVIOUS}.items():
        if text := os.environ.get(variable):
            with suppress(SealflowError):
                found.append(read(text, storage))
    with suppress(SealflowError):
        found.append(read_default_key(storage, store_id))
    return [key for key in found if isinstance(key, MasterKey)]


def read_default_key(storage: Path, store_id: str) -> MasterKey:
    """Return the key in the file that ``sealflow init`` makes; InvalidMasterKeyError, SettingsError where there is none."""
    path = default_key_file(store_id)
    return MasterKey.parse(read_key_file(path, storage), str(path))


def _configured(storage: Path, store_id: str | None) -> tuple[KeySource, ...]:
    found = _first(_READERS, storage)
    if found is None:
        found = _default(storage, store_id)
    previous = _first(_PREVIOUS, storage)
    return (found,) if previous is None else (found, previous)


def _default(storage: Path, store_id: str | None) -> MasterKey:
    if store_id is None:
        raise MissingMasterKeyError(
            f"no master key is configured for a new store in {storage}",
            hint=f"Run `sealflow init`, or set {settings.MASTER_KEY} or {settings.MASTER_KEY_FILE}",
        )
    if settings.find_user_config_directory() is None:
        place = "this user has no home directory that could hold a key file"
    else:
        path = default_key_file(store_id)
        if os.path.lexists(path):
            return read_default_key(storage, store_id)
        place = f"the key file {path} does not exist"
    raise MissingMasterKeyError(
        f"no master key is configured: {place}, and neither {settings.MASTER_KEY} nor {settings.MASTER_KEY_FILE} is set",
        hint=WAY_OUT,
    )


def _given(given: str | MasterKey | Passphrase) -> KeySource:
    if isinstance(given, MasterKey | Passphrase):
        return given
    if isinstance(given, str):
        return MasterKey.parse(given, "the argument master_key")
    raise InvalidMasterKeyError(f"the argument master_key is a {type(given).__name__}", hint=FORM)


def _first(readers: Mapping[str, _Reader], storage: Path) -> KeySource | None:
    for variable, read in readers.items():
        if text := os.environ.get(variable):
            return read(text, storage)
    return None


def _key_in_file(path: str, storage: Path) -> MasterKey:
    return MasterKey.parse(read_key_file(settings.expand_user(path), storage), f"the key file {path}")


def _passphrase_in_file(path: str, storage: Path) -> Passphrase:
    return read_passphrase(read_key_file(settings.expand_user(path), storage), f"the passphrase file {path}")


def _key_in_descriptor(text: str, _: Path) -> MasterKey:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise SettingsError(
            f"{settings.MASTER_KEY_FD} is not the number of a descriptor", hint="Write a number, such as 3"
        )
    return MasterKey.parse(read_descriptor(int(text)), f"the descriptor {text}")


_READERS: dict[str, _Reader] = {
    settings.MASTER_KEY: lambda text, _: MasterKey.parse(text, settings.MASTER_KEY),
    settings.MASTER_KEY_FILE: _key_in_file,
    settings.MASTER_KEY_FD: _key_in_descriptor,
    settings.MASTER_KEY_COMMAND: lambda text, _: MasterKey.parse(
        read_command(text), f"the program of {settings.MASTER_KEY_COMMAND}"
    ),
    settings.MASTER_KEY_KEYCHAIN: lambda entry, _: read_keychain(entry),
    settings.PASSPHRASE: lambda text, _: read_passphrase(text, settings.PASSPHRASE),
    settings.PASSPHRASE_FILE: _passphrase_in_file,
}
_PREVIOUS: dict[str, _Reader] = {
    settings.MASTER_KEY_PREVIOUS: lambda text, _: MasterKey.parse(text, settings.MASTER_KEY_PREVIOUS),
    settings.MASTER_KEY_PREVIOUS_FILE: _key_in_file,
}
