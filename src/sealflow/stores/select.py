"""Which store is in a directory, and making the first one: never a second beside it."""

from __future__ import annotations

import json
import os
import secrets
import warnings
from collections.abc import Callable
from pathlib import Path

from sealflow.errors import DamagedRecordError, SettingsError, StoreError, StoreUnavailableError
from sealflow.model.stored import KeyringDocument
from sealflow.plugins import Plugins
from sealflow.settings import DEFAULT_PATH, STORAGE_BACKEND, STORAGE_PATH, Settings
from sealflow.stores.documents import damaged, parse, read_object
from sealflow.stores.folder import Folder
from sealflow.stores.lock import StoreLock
from sealflow.stores.private_files import make_directory, raise_for, secure_directory
from sealflow.stores.registry import SecretRegistry

MARKER = "store.json"
_MAX_MARKER = 4096
_MARKER_HINT = "Remove it if the store's own files are whole: it is made again"
DEFAULT_BACKEND = "sqlite"
MAIN_FILES = {"sqlite": "secrets.db", "file": "keyring.json"}
"""Our own backends, by the file whose presence tells of them: known without importing them."""

BACKENDS: Plugins[type[SecretRegistry]] = Plugins(
    "sealflow.stores",
    {"sqlite": "sealflow.stores.sqlite:SqliteStore", "file": "sealflow.stores.file:FileStore"},
    what="storage backend",
    error=SettingsError,
    unusable=StoreUnavailableError,
)

NewKeyring = Callable[[str], KeyringDocument]
"""Called with a new store's id, before anything is written; may raise MissingMasterKeyError."""


class StoreFallbackWarning(UserWarning):
    """SQLite could not be initialised, and the file store was made in its place."""


def open_registry(settings: Settings, new_keyring: NewKeyring | None = None) -> SecretRegistry:
    """Open the store in ``settings.path``, or make it when nothing is there and ``new_keyring`` is given.

    Raises StoreUnavailableError when there is none and none may be made, SettingsError when another backend is
    asked for than the one that is there, and DamagedRecordError for a marker or store that cannot be understood.
    """
    if settings.backend is not None:
        BACKENDS.check(settings.backend)
    backend = existing_backend(settings)
    if backend is None and new_keyring is not None:
        make_directory(settings.path)
        secure_directory(settings.path, ours=False)
        with StoreLock(Folder(settings.path)).held():
            backend = existing_backend(settings)
            if backend is None:
                return _create(settings, new_keyring)
    if backend is None:
        raise no_store(settings)
    secure_directory(settings.path, ours=True)
    registry = BACKENDS.get(backend).open(settings.path)
    if not os.path.lexists(settings.path / MARKER) and os.access(settings.path, os.W_OK):
        mark(settings.path, registry)  # a crash came between the store and its marker
    return registry


def existing_backend(settings: Settings) -> str | None:
    """Return the backend of the store that is there, by its marker or, where a crash left none, by its files."""
    path = settings.path
    _refuse_links(settings)
    try:
        if path.exists() and not path.is_dir():
            raise StoreUnavailableError(f"{path} is not a directory", hint="Name a directory for the store")
        found = _marked(path)
        if found is None:
            there = [name for name, file in MAIN_FILES.items() if os.path.lexists(path / file)]
            if len(there) > 1:
                raise DamagedRecordError(
                    f"{path} holds a {' and a '.join(there)} store, and {MARKER}, which says which is live, is missing",
                    hint=f"Move the older one away, or write the live one's name into {MARKER}",
                )
            found = there[0] if there else None
    except PermissionError as error:
        raise_for(error, path, "read")
    if found is not None and settings.backend not in (None, found):
        raise SettingsError(
            f"{path} holds a {found} store, and {settings.backend} was asked for",
            hint=f"Unset {STORAGE_BACKEND} or choose another directory; a second store is never made beside the first",
        )
    return found


def no_store(settings: Settings) -> StoreUnavailableError:
    """Return the error that says where a store was looked for, and to look elsewhere before making one."""
    project = settings.project
    if project is None:
        return StoreUnavailableError(
            f"there is no store in {settings.path}",
            hint=f"Correct the path ({STORAGE_PATH}); only where there never was a store, make one: `sealflow init`",
        )
    looked = [str(folder) for folder in (project.folder,) if project.marks] or list(
        map(str, project.looked_in)
    )
    return StoreUnavailableError(
        f"there is no store in {', '.join(looked)} (looked for {DEFAULT_PATH})",
        hint=f"Go to the folder of your project, or name the store by {STORAGE_PATH}; "
        "only where there never was a store, make one: `sealflow init`",
    )


def _refuse_links(settings: Settings) -> None:
    """Refuse a default path that a link leads elsewhere: the folder chose that, and not its owner."""
    for part in (settings.path.parent, settings.path) if settings.project is not None else ():
        if part.is_symlink():
            raise StoreUnavailableError(
                f"{part} is a link, which sealflow does not follow from a project's folder",
                hint=f"If you trust where it leads, name that directory by {STORAGE_PATH}",
            )


def _marked(path: Path) -> str | None:
    try:
        content = Folder(path).read(MARKER, _MAX_MARKER)
    except FileNotFoundError:
        return None
    marker = parse(path / MARKER, _MARKER_HINT, read_object, content)
    backend = marker.get("backend")
    if not isinstance(backend, str):
        raise damaged(path / MARKER, _MARKER_HINT)
    return backend


def _create(settings: Settings, new_keyring: NewKeyring) -> SecretRegistry:
    store_id = secrets.token_hex(8)
    keyring = new_keyring(store_id)
    name = settings.backend or DEFAULT_BACKEND
    try:
        registry = BACKENDS.get(name).create(settings.path, store_id, keyring)
    except StoreError as error:
        if settings.backend is not None:
            raise  # asked for by name: another one would be a surprise
        warnings.warn(
            f"SQLite cannot be used in {settings.path} ({error}); secrets are kept in the file store there instead",
            StoreFallbackWarning,
            stacklevel=4,
        )
        registry = BACKENDS.get("file").create(settings.path, store_id, keyring)
    mark(settings.path, registry)
    return registry


def mark(path: Path, registry: SecretRegistry) -> None:
    """Write down which store is in a directory: it is live from this moment on."""
    marker = {"format": 1, "store_id": registry.store_id, "backend": registry.backend}
    Folder(path).write(MARKER, json.dumps(marker).encode())
