"""Files that no provider reads: the keys and the store of sealflow itself, and /proc."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sealflow import settings

_MAX_BYTES = 1 << 20
_KEY_VARIABLES = (
    settings.MASTER_KEY_FILE,
    settings.MASTER_KEY_PREVIOUS_FILE,
    settings.PASSPHRASE_FILE,
)


def is_own_file(path: Path, status: os.stat_result | None = None) -> bool:
    """Whether a file is one of sealflow's own, or lies where they are: never a credential and never a secret's value.

    ``/proc`` counts too: there the variables of this process can be read as a file. ``status``: of the open file, so
    that a key file is known under any other name.
    """
    resolved = path.resolve()
    places = (settings.find_user_config_directory(), settings.Settings.load().path, Path("/proc"))
    if any(
        place is not None and resolved.is_relative_to(place.resolve()) for place in places
    ) or _is_in_a_store(resolved):
        return True
    return any(resolved == file.resolve() or _is_same(file, status) for file in _key_files())


def read_credential_file(path: Path) -> tuple[str, str | None]:
    """Return the text of a file without the white space around it, and None; or "" and why it cannot be used."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return "", "is not a regular file"
            if is_own_file(path, status):
                return "", "belongs to sealflow itself, and is never a credential"
            content = file.read(_MAX_BYTES + 1)
        value = content.decode().strip()
    except UnicodeDecodeError:
        return "", "is not UTF-8"
    except (OSError, ValueError) as error:
        return "", f"cannot be read ({getattr(error, 'strerror', None) or 'not a path'})"
    if len(content) > _MAX_BYTES:
        return "", "is larger than 1 MiB"
    return value, None if value else "is empty"


def _is_in_a_store(path: Path) -> bool:
    """Whether a path lies in the storage directory of any project."""
    return any(folder.parts[-2:] == settings.DEFAULT_PATH.parts for folder in path.parents)


def _key_files() -> Iterator[Path]:
    yield from (settings.expand_user(os.environ[name]) for name in _KEY_VARIABLES if os.environ.get(name))
    if descriptor := os.environ.get(settings.MASTER_KEY_FD):
        yield Path("/dev/fd", descriptor)


def _is_same(file: Path, status: os.stat_result | None) -> bool:
    try:
        return status is not None and os.path.samestat(file.stat(), status)
    except OSError:
        return False
