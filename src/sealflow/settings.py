"""Where the store is and which backend it has, from arguments and ``WORKFLOW_SECRETS_*`` variables.

A dataclass and ``os.environ``, not pydantic-settings: four variables do not earn the 120 ms that its import
adds to every command (docs/decisions/0002-import-budget.md).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sealflow.errors import SettingsError
from sealflow.project import WORKFLOW_FOLDER, Project, find_project
from sealflow.wording import holds_key

STORAGE_PATH = "WORKFLOW_SECRETS_STORAGE_PATH"
STORAGE_BACKEND = "WORKFLOW_SECRETS_STORAGE_BACKEND"
MASTER_KEY = "WORKFLOW_SECRETS_MASTER_KEY"
MASTER_KEY_FILE = "WORKFLOW_SECRETS_MASTER_KEY_FILE"
MASTER_KEY_FD = "WORKFLOW_SECRETS_MASTER_KEY_FD"
MASTER_KEY_COMMAND = "WORKFLOW_SECRETS_MASTER_KEY_COMMAND"
MASTER_KEY_TRUSTED_PATH = "WORKFLOW_SECRETS_MASTER_KEY_TRUSTED_PATH"
MASTER_KEY_PREVIOUS = "WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS"
MASTER_KEY_PREVIOUS_FILE = "WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS_FILE"
MASTER_KEY_KEYCHAIN = "WORKFLOW_SECRETS_MASTER_KEY_KEYCHAIN"
PASSPHRASE = "WORKFLOW_SECRETS_PASSPHRASE"  # noqa: S105 - the variable's name
PASSPHRASE_FILE = "WORKFLOW_SECRETS_PASSPHRASE_FILE"  # noqa: S105 - the variable's name

CONFIG = "SEALFLOW_CONFIG"
TRUSTED_FOLDERS = "SEALFLOW_TRUSTED_FOLDERS"
VALUE_PREFIX = "SEALFLOW_SECRET_"
"""What the variables that hold values begin with, unless the provider is given another prefix."""

DEFAULT_PATH = Path(WORKFLOW_FOLDER) / "secrets"


def find_user_config_directory() -> Path | None:
    """Return where the owner's own things are: keys that ``sealflow init`` made, and the list of trusted folders.

    None for a user without a home directory, as in many containers.
    """
    from platformdirs import user_config_path

    try:
        path = user_config_path("sealflow")
    except RuntimeError:  # neither HOME nor a passwd entry; older versions leave the "~"
        return None
    return path if path.is_absolute() else None


def user_config_directory() -> Path:
    """Return ``find_user_config_directory()``; SettingsError where there is none."""
    path = find_user_config_directory()
    if path is None:
        raise SettingsError(
            f"this user (uid {os.getuid()}) has no home directory",
            hint=f"Set HOME or XDG_CONFIG_HOME to a directory of this user, and name the key by {MASTER_KEY_FILE}",
        )
    return path


def expand_user(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` with a leading ``~`` replaced; SettingsError for a user without a home directory."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        pass
    raise SettingsError(
        f"{os.fspath(path)}: there is no such home directory", hint="Set HOME, or write the whole path"
    )


def is_own_variable(name: str) -> bool:
    """Whether a variable configures sealflow itself: it is never a credential and never a secret's value."""
    return name.startswith("WORKFLOW_SECRETS_") or (
        name.startswith("SEALFLOW_") and not name.startswith(VALUE_PREFIX)
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """``path``: absolute storage directory. ``backend``: a backend's name, or None for the default.

    ``project``: where nobody chose the path, the project that it is in.
    """

    path: Path
    backend: str | None
    project: Project | None = None

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        backend: str | None = None,
        *,
        project: Project | None = None,
    ) -> Settings:
        """Take what is given; where it is missing, the variable; where that is empty, ``.workflow/secrets`` of the project.

        ``project``: default the one that the current folder belongs to.
        """
        backend = (backend or os.environ.get(STORAGE_BACKEND) or "").strip().lower() or None
        chosen = path or os.environ.get(STORAGE_PATH)
        if not chosen:
            project = find_project() if project is None else project
            return cls((project.folder / DEFAULT_PATH).absolute(), backend, project)
        text = os.fspath(chosen)
        if "\0" in text:
            raise SettingsError("the storage path holds a NUL character", hint=f"Correct {STORAGE_PATH}")
        if holds_key(text) and not os.path.lexists(text):
            raise SettingsError(
                "the storage path holds what looks like a key or a token",
                hint=f"Put a master key into {MASTER_KEY}, and a directory into {STORAGE_PATH}",
            )
        return cls(expand_user(text).absolute(), backend)

    @classmethod
    def for_new_store(
        cls, path: str | os.PathLike[str] | None = None, backend: str | None = None
    ) -> Settings:
        """Return where a new store is made: what is given, the variable, or ``.workflow/secrets`` in the current folder."""
        here = Path.cwd()
        return cls.load(path, backend, project=Project(here, (), (here,), "a new store is made there"))
