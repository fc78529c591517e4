"""Key files: read only when nobody else could have read or placed them, written so that nobody else can."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sealflow.errors import InvalidMasterKeyError
from sealflow.settings import user_config_directory

MAX_BYTES = 4096


def default_key_file(store_id: str) -> Path:
    """Where ``sealflow init`` keeps a store's master key: the user's config directory, by the store's id."""
    return user_config_directory() / "keys" / f"{store_id}.key"


def read_key_file(path: Path, storage: Path) -> str:
    """Return the file's text.

    Raises InvalidMasterKeyError unless it is a regular file (no link), of this user or root, without group and
    other bits, at most 4 KiB, and not inside the storage directory.
    """
    path = path.absolute()
    if path.resolve().is_relative_to(storage.resolve()):
        raise _unsafe(path, "is inside the storage directory", "Keep the key away from what it encrypts")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise _unsafe(path, "does not exist", "Correct the path, or run `sealflow init`") from None
    except OSError as error:
        reason = "is a symbolic link" if path.is_symlink() else f"cannot be opened ({error.strerror})"
        raise _unsafe(path, reason, "Name a regular file that you own") from None
    try:
        _check(path, os.fstat(descriptor))
        content = os.read(descriptor, MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    try:
        return content.decode("ascii" if content.startswith(b"sfk1_") else "utf-8")
    except UnicodeDecodeError:
        pass
    raise _unsafe(path, "does not hold text", "Make a key with `sealflow key generate`")


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _unsafe(path, "is not a regular file", "Name a regular file")
    if status.st_uid not in (os.geteuid(), 0):
        raise _unsafe(path, "belongs to another user", "Copy it to a file of your own")
    if status.st_mode & 0o077:
        raise _unsafe(path, "can be read or changed by others", f"Run: chmod 600 {path}")
    if status.st_size > MAX_BYTES:
        raise _unsafe(path, "is larger than 4 KiB", "Name the file that holds just the key")


def write_key_file(path: Path, text: str) -> None:
    """Write a new file with mode 0600 in a directory with mode 0700; never over an existing one (FileExistsError)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def _unsafe(path: Path, reason: str, hint: str) -> InvalidMasterKeyError:
    return InvalidMasterKeyError(f"the key file {path} {reason}", hint=hint)
