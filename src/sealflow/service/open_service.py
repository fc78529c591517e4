"""Opening a store with its master key, and making it when there is none."""

from __future__ import annotations

import os

from sealflow.audit import FILE as AUDIT_FILE
from sealflow.audit import AuditLog, key_event
from sealflow.config import find_config, load_config
from sealflow.crypto.key_sources import find_master_keys
from sealflow.crypto.keyring import new_document
from sealflow.crypto.master_key import KeySource, MasterKey, Passphrase
from sealflow.errors import without_locals
from sealflow.model.stored import KeyringDocument
from sealflow.service.secret_service import SecretService
from sealflow.settings import Settings
from sealflow.stores.registry import SecretRegistry
from sealflow.stores.select import existing_backend, open_registry


def store_exists(settings: Settings) -> bool:
    """Whether there is a store, even if it cannot be opened."""
    return existing_backend(settings) is not None


@without_locals
def open_existing(settings: Settings | None = None, *, audit_required: bool | None = None) -> SecretService:
    """Open the store that ``settings`` name, or else the environment; StoreUnavailableError where there is none."""
    settings = Settings.load() if settings is None else settings
    return _service(settings, open_registry(settings), (), None, audit_required)


@without_locals
def open_service(
    path: str | os.PathLike[str] | None = None,
    backend: str | None = None,
    master_key: str | MasterKey | Passphrase | None = None,
    *,
    audit_required: bool | None = None,
    create: bool = True,
) -> SecretService:
    """Open the store in ``path``, and with ``create`` make it when nothing is there. Use it as a context manager.

    A missing argument is read from ``WORKFLOW_SECRETS_STORAGE_PATH``, ``WORKFLOW_SECRETS_STORAGE_BACKEND``,
    ``WORKFLOW_SECRETS_MASTER_KEY`` or ``WORKFLOW_SECRETS_MASTER_KEY_FILE``; the path defaults to
    ``.workflow/secrets`` of the project (the current folder, or the nearest above it that has a ``.workflow`` or a
    ``sealflow.toml``), the backend to SQLite. A new store is made under the current folder. ``master_key`` is ``sfk1_...`` or
    64 hex digits. ``audit_required``: a value is given only once its line in the audit trail is on the disk; None
    reads ``[audit] required`` of ``sealflow.toml``. Raises MissingMasterKeyError (nothing is made then), WrongMasterKeyError,
    InvalidMasterKeyError, StoreError, SettingsError.
    """
    settings = Settings.load(path, backend)
    if create and not store_exists(settings):
        settings = Settings.for_new_store(path, backend)
    found: list[KeySource] = []

    def new_keyring(store_id: str) -> KeyringDocument:
        found.extend(find_master_keys(master_key, settings.path, None))
        return new_document(store_id, found[0])

    registry = open_registry(settings, new_keyring if create else None)
    return _service(settings, registry, tuple(found), master_key, audit_required)


def _service(
    settings: Settings,
    registry: SecretRegistry,
    made_with: tuple[KeySource, ...],
    master_key: str | MasterKey | Passphrase | None,
    audit_required: bool | None,
) -> SecretService:
    """Return the service of an open store, which is closed when its key is missing or wrong."""
    try:
        sources = made_with or find_master_keys(
            master_key, settings.path, registry.store_id, registry.keyring
        )
        required = (
            load_config(find_config(project=settings.project)).audit_required
            if audit_required is None
            else audit_required
        )
        audit = AuditLog(settings.path / AUDIT_FILE, required=required)
        if made_with:
            audit.record(key_event("key_create", registry.keyring().keks[0].kek_id), now=True)
        return SecretService(registry, sources, audit)
    except BaseException:
        registry.close()
        raise
