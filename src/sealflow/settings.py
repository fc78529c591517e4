"""Where the store is and which backend it has, from arguments and ``WORKFLOW_SECRETS_*`` variables.

A dataclass and ``os.environ``, not pydantic-settings: four variables do not earn the 120 ms that its import
adds to every command (docs/decisions/0002-import-budget.md).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sealflow.errors import SettingsError
from sealflow.wording import holds_key

STORAGE_PATH = "WORKFLOW_SECRETS_STORAGE_PATH"
STORAGE_BACKEND = "WORKFLOW_SECRETS_STORAGE_BACKEND"
MASTER_KEY = "WORKFLOW_SECRETS_MASTER_KEY"
MASTER_KEY_FILE = "WORKFLOW_SECRETS_MASTER_KEY_FILE"
MASTER_KEY_PREVIOUS = "WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS"
MASTER_KEY_PREVIOUS_FILE = "WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS_FILE"
MASTER_KEY_KEYCHAIN = "WORKFLOW_SECRETS_MASTER_KEY_KEYCHAIN"
PASSPHRASE = "WORKFLOW_SECRETS_PASSPHRASE"  # noqa: S105 - the variable's name
PASSPHRASE_FILE = "WORKFLOW_SECRETS_PASSPHRASE_FILE"  # noqa: S105 - the variable's name

CONFIG = "SEALFLOW_CONFIG"
CONFIG_FILE = "sealflow.toml"
TRUSTED_FOLDERS = "SEALFLOW_TRUSTED_FOLDERS"
VALUE_PREFIX = "SEALFLOW_SECRET_"
"""What the variables that hold values begin with, unless the provider is given another prefix."""

DEFAULT_PATH = Path(".workflow") / "secrets"


def user_config_directory() -> Path:
    """Where the owner's own things are: the keys that ``sealflow init`` made, and the list of trusted folders."""
    from platformdirs import user_config_path

    return user_config_path("sealflow")


def is_own_variable(name: str) -> bool:
    """Whether a variable configures sealflow itself: it is never a credential and never a secret's value."""
    return name.startswith("WORKFLOW_SECRETS_") or (
        name.startswith("SEALFLOW_") and not name.startswith(VALUE_PREFIX)
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """``path``: absolute storage directory. ``backend``: a backend's name, or None for the default.

    ``is_default``: nobody chose the path; it is the one under the current directory.
    """

    path: Path
    backend: str | None
    is_default: bool = False

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None, backend: str | None = None) -> Settings:
        """Take what is given; where it is missing, the variable; where that is empty, the default."""
        chosen = path or os.environ.get(STORAGE_PATH)
        text = os.fspath(chosen or DEFAULT_PATH)
        if "\0" in text:
            raise SettingsError("the storage path holds a NUL character", hint=f"Correct {STORAGE_PATH}")
        if holds_key(text) and not os.path.lexists(text):
            raise SettingsError(
                "the storage path holds what looks like a key or a token",
                hint=f"Put a master key into {MASTER_KEY}, and a directory into {STORAGE_PATH}",
            )
        backend = backend or os.environ.get(STORAGE_BACKEND) or None
        return cls(
            Path(text).expanduser().absolute(), backend.strip().lower() if backend else None, not chosen
        )
