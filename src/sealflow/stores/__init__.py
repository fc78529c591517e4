"""Where encrypted secrets are kept: SQLite (default) and files, behind SecretRegistry.

A store of your own needs only the names here; ``sealflow.testing.StoreContract`` tests it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealflow.lazy import load_name
from sealflow.model.stored import (
    Dek,
    DekState,
    Kek,
    KeyringDocument,
    KeyWrap,
    RecordPlace,
    StoredRecord,
    StoredSecret,
    StoredVersion,
)
from sealflow.stores.registry import (
    JournalSeal,
    RegistryTransaction,
    SecretRegistry,
    Snapshot,
    StoreStatus,
)
from sealflow.stores.select import StoreFallbackWarning

if TYPE_CHECKING:
    from sealflow.stores.file import FileStore
    from sealflow.stores.sqlite import SqliteStore

__all__ = [
    "Dek",
    "DekState",
    "FileStore",
    "JournalSeal",
    "Kek",
    "KeyWrap",
    "KeyringDocument",
    "RecordPlace",
    "RegistryTransaction",
    "SecretRegistry",
    "Snapshot",
    "SqliteStore",
    "StoreFallbackWarning",
    "StoreStatus",
    "StoredRecord",
    "StoredSecret",
    "StoredVersion",
]

_LAZY = {"FileStore": "sealflow.stores.file", "SqliteStore": "sealflow.stores.sqlite"}


def __getattr__(name: str) -> Any:
    """Import a backend when it is first used: where SQLite is missing, the file store still works."""
    return load_name(__name__, _LAZY, name)
