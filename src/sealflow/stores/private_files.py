"""Files that nobody else may read: directories 0700, files 0600 from their first moment, under any umask."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path
from typing import NoReturn

from sealflow.errors import DamagedRecordError, StoreError, StoreFullError, StoreUnavailableError

TEMPORARY = ".tmp-"


def make_directory(path: Path) -> None:
    """Make ``path`` and its missing parents, each 0700 from the first moment."""
    missing = [path, *path.parents]
    missing = missing[: next(i for i, part in enumerate(missing) if part.exists())]
    for part in reversed(missing):
        try:
            part.mkdir(mode=0o700)
        except FileExistsError:
            continue
        except OSError as error:
            raise_for(error, part, "made")
        part.chmod(0o700)  # a umask can take away bits that we need


def secure_directory(path: Path, *, ours: bool) -> None:
    """Bring an existing storage directory to 0700.

    A directory that others can enter is tightened when it is empty or holds our store, and refused otherwise:
    ``/tmp`` or a project's root must not lose its mode to a mistyped path.
    """
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise StoreUnavailableError(f"{path} is no directory", hint="Name a directory for the store")
    if status.st_mode & 0o077 == 0:
        return
    if status.st_uid != os.geteuid():
        raise StoreUnavailableError(
            f"{path} belongs to another user and is open to others", hint="Choose another directory"
        )
    if not ours and any(path.iterdir()):
        raise StoreUnavailableError(
            f"{path} is open to other users and holds other files",
            hint=f"Choose a new directory, or run: chmod 700 {path}",
        )
    if os.access(path, os.W_OK):
        path.chmod(0o700)


def create_file(path: Path) -> int:
    """Make a new file with mode 0600 and return its descriptor; FileExistsError when it is there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def check_new(path: Path) -> None:
    """Raise StoreUnavailableError where something is: what a user names is never written over."""
    if os.path.lexists(path):
        raise StoreUnavailableError(f"{path} exists", hint="Name a new file: nothing is written over")


def tighten(path: Path) -> None:
    """Take group's and others' bits from a file of ours, where it exists and has them."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            path.chmod(0o600)
    except FileNotFoundError:
        return
    except OSError as error:
        raise_for(error, path, "made private")


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` so that a crash leaves the old file or the new one, on the disk."""
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{threading.get_ident()}-{path.name}")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = create_file(temporary)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise_for(error, path, "written")


def sync_directory(path: Path) -> None:
    """Put a directory's entries on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path, limit: int) -> bytes:
    """Return a file's content; FileNotFoundError when it is missing, StoreError for all else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            size = os.fstat(descriptor).st_size
            content = file.read() if size <= limit else b""
    except FileNotFoundError:
        raise
    except OSError as error:
        raise_for(error, path, "read")
    if size > limit:
        raise DamagedRecordError(
            f"{path} is larger than any file of a store", hint="Restore it from a backup"
        )
    return content


def raise_for(error: OSError, path: Path, doing: str) -> NoReturn:
    """Raise the StoreError that an OSError means."""
    kind: type[StoreError] = StoreUnavailableError
    hint = "Check that the directory exists, is writable, and belongs to you"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        kind, hint = StoreFullError, "Make room on the disk and run it again; nothing was changed"
    raise kind(f"{path} cannot be {doing} ({error.strerror or error})", hint=hint) from None
