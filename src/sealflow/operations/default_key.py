"""The default key file of a store: putting the key that works into it, and what still has a removed key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from sealflow.crypto.key_file import default_key_file, read_key_file, replace_key_file
from sealflow.crypto.key_input import descriptor_named
from sealflow.crypto.key_sources import find_master_keys, list_configured_keys
from sealflow.crypto.keyring import Keyring
from sealflow.crypto.master_key import MasterKey
from sealflow.errors import InvalidMasterKeyError, MasterKeyError, SettingsError, without_locals
from sealflow.model import times
from sealflow.settings import MASTER_KEY_FILE, MASTER_KEY_PREVIOUS_FILE, Settings, expand_user
from sealflow.stores.select import open_registry


class UsedKey(NamedTuple):
    """The key that is the default now. ``kept``: the key file before; ``hidden_by``: what is used before the default."""

    id: str
    path: Path
    kept: Path | None
    hidden_by: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON shape that ``sealflow key use`` prints."""
        kept = None if self.kept is None else str(self.kept)
        return {"id": self.id, "key_file": str(self.path), "kept": kept, "hidden_by": self.hidden_by}


class KeysLeft(NamedTuple):
    """What this process is configured with after a key was removed.

    ``configured_here``: the places that hold the removed key, and ``default`` the default key file if it is one of them.
    ``in_use``: the id of the key that opens the store; ``file_in_use``: the file that a variable names for it.
    """

    configured_here: tuple[str, ...]
    default: Path | None
    in_use: str | None
    file_in_use: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON shape that ``sealflow key remove`` prints."""
        return {"configured_here": list(self.configured_here), "in_use": self.in_use}


@without_locals
def use_key_file(settings: Settings, file: Path) -> UsedKey:
    """Make the master key in ``file`` the default of this user for the store. A key that is there is kept beside it.

    Raises WrongMasterKeyError for a key that does not open the store, InvalidMasterKeyError for a recovery key.
    """
    with open_registry(settings) as registry:
        store_id, document = registry.store_id, registry.keyring()
    key = MasterKey.parse(read_key_file(expand_user(file), settings.path), f"the key file {file}")
    if any(kek.kek_id == key.kek_id and kek.kind == "recovery" for kek in document.keks):
        raise InvalidMasterKeyError(
            f"{file} holds the recovery key, which belongs in a safe",
            hint="Make a master key with `sealflow key add --generate FILE`, and use that",
        )
    Keyring.open(store_id, document, key)
    path = default_key_file(store_id)
    kept = None
    if not _holds(path, settings.path, key.kek_id):
        if os.path.lexists(path):
            kept = path.with_name(f"{store_id}.before-{times.now().strftime('%Y%m%dT%H%M%S%fZ')}.key")
        _replace(path, key, kept)
    first = find_master_keys(None, settings.path, store_id)[0]
    hidden = not isinstance(first, MasterKey) or first.kek_id != key.kek_id
    return UsedKey(key.kek_id, path, kept, first.source if hidden else None)


@without_locals
def keys_left(settings: Settings, removed: str) -> KeysLeft:
    """Return where the key ``removed`` is still configured for this process, and which key opens the store."""
    with open_registry(settings) as registry:
        store_id, known = registry.store_id, {kek.kek_id for kek in registry.keyring().keks}
    keys = list_configured_keys(settings.path, store_id)
    places = tuple(dict.fromkeys(key.source for key in keys if key.kek_id == removed))
    in_use = next((key.kek_id for key in keys if key.kek_id in known), None)
    default = _find_default(store_id)
    if default is not None and not _holds(default, settings.path, removed):
        default = None
    return KeysLeft(places, default, in_use, _find_file(settings.path, in_use))


def _find_default(store_id: str) -> Path | None:
    try:
        return default_key_file(store_id)
    except SettingsError:  # a user without a home directory
        return None


def _find_file(storage: Path, kek_id: str | None) -> Path | None:
    """Return the file that a variable names and that holds a key."""
    for variable in (MASTER_KEY_FILE, MASTER_KEY_PREVIOUS_FILE):
        text = os.environ.get(variable)
        if text and descriptor_named(Path(text)) is None:
            path = expand_user(text)
            if kek_id is not None and _holds(path, storage, kek_id):
                return path
    return None


def _holds(path: Path, storage: Path, kek_id: str) -> bool:
    try:
        return MasterKey.parse(read_key_file(path, storage), str(path)).kek_id == kek_id
    except MasterKeyError:
        return False


def _replace(path: Path, key: MasterKey, kept: Path | None) -> None:
    try:
        replace_key_file(path, key.to_text(), kept)
    except OSError as error:
        problem = error.strerror
    else:
        return
    raise SettingsError(
        f"{path} cannot be written ({problem})",
        hint="Set HOME or XDG_CONFIG_HOME to a directory of this user",
    )
