"""Directories that nobody else may enter: made 0700, and refused where others could have written into them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NoReturn

from sealflow.errors import StoreError, StoreFullError, StoreUnavailableError
from sealflow.project import WORKFLOW_FOLDER
from sealflow.wording import quoted

TEMPORARY = ".tmp-"


def make_directory(path: Path) -> None:
    """Make ``path`` and its missing parents, each 0700 from the first moment.

    A ``.workflow`` that is made gets a ``.gitignore`` of its own: no store is for a repository.
    """
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
        if part.name == WORKFLOW_FOLDER:
            (part / ".gitignore").write_text("*\n", encoding="utf-8")


def secure_directory(path: Path, *, ours: bool) -> None:
    """Bring an existing storage directory to 0700.

    A directory that others can read is tightened when it is empty or holds our store (``ours``), and refused otherwise:
    ``/tmp`` or a project's root must not lose its mode to a mistyped path. One of another user, or one that holds a
    store and that others can write to, is refused: they may have put anything into it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except NotADirectoryError:
        raise StoreUnavailableError(
            f"{path} is not a directory", hint="Name a directory for the store"
        ) from None
    except OSError as error:
        raise_for(error, path, "opened")
    try:
        _check_private(path, os.fstat(descriptor), empty=not ours and not any(path.iterdir()), ours=ours)
        if os.fstat(descriptor).st_mode & 0o077 and os.access(path, os.W_OK):
            os.fchmod(descriptor, 0o700)
    except OSError as error:
        raise_for(error, path, "made private")
    finally:
        os.close(descriptor)


def _check_private(path: Path, status: os.stat_result, *, empty: bool, ours: bool) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        raise StoreUnavailableError(
            f"{path} belongs to the user {status.st_uid}, and not to you",
            hint="Run sealflow as that user, give the directory to yours (chown), or choose another",
        )
    if mode & 0o077 and not ours and not empty:
        raise StoreUnavailableError(
            f"{path} is open to other users and holds other files",
            hint=f"Choose a new directory, or run: chmod 700 {quoted(path)}",
        )
    if mode & 0o022 and not empty:
        raise StoreUnavailableError(
            f"other users can write to {path} (mode {mode:04o}), and so may have changed the store",
            hint=f"If you trust what it holds, run: chmod 700 {quoted(path)}",
        )


def check_new(path: Path) -> None:
    """Raise StoreUnavailableError where something is: what a user names is never written over."""
    if os.path.lexists(path):
        raise StoreUnavailableError(f"{path} exists", hint="Name a new file: nothing is written over")


def raise_for(error: OSError, path: Path, doing: str) -> NoReturn:
    """Raise the StoreError that an OSError means; ``doing``: a participle, such as "read"."""
    kind: type[StoreError] = StoreUnavailableError
    hint = "Check that the directory exists, is writable, and belongs to you"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        kind, hint = StoreFullError, "Free some space on the disk and run it again; nothing was changed"
    raise kind(f"{path} cannot be {doing} ({error.strerror or error})", hint=hint) from None
