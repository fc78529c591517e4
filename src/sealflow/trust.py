"""Which folders the owner trusts: ``sealflow trust``, ``SEALFLOW_TRUSTED_FOLDERS``, and ``--trust`` for one command.

Trust in a folder covers what lies below it. The list is a file in the owner's own config directory, by resolved path
and owner of the directory. A folder that another user may write to is never trusted, whoever says so.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from sealflow.errors import SettingsError, TrustError
from sealflow.owners import find_writer
from sealflow.settings import (
    TRUSTED_FOLDERS,
    expand_user,
    find_user_config_directory,
    user_config_directory,
)
from sealflow.wording import quoted, shown_path

_MAX_BYTES = 1 << 20
_VERSION = 1

_for_now: ContextVar[frozenset[Path]] = ContextVar("sealflow_trusted", default=frozenset())


class TrustedFolder(NamedTuple):
    """A folder in the list: its resolved path, and the user id of its owner when it was trusted."""

    path: Path
    owner: int


def trust_file() -> Path:
    """Where the list of trusted folders is kept: ``trusted.json`` in the user's config directory."""
    return user_config_directory() / "trusted.json"


def trusted_folders() -> list[TrustedFolder]:
    """Return the folders in the list, sorted by path. Raises SettingsError when the file is not safe to use."""
    return sorted(_read())


def trust_folder(folder: str | os.PathLike[str]) -> Path:
    """Add a folder to the list and return its resolved path.

    Raises TrustError when another user may write to it, or when it is not a directory.
    """
    path = _resolved(folder)
    if path is None or not path.is_dir():
        raise TrustError(
            f"{shown_path(folder)} is not a directory", hint="Name the folder of your workflow files"
        )
    problem = _writable_by_others(path, path)
    if problem is not None:
        raise TrustError(f"{shown_path(path)} cannot be trusted: {problem[0]}", hint=problem[1])
    with _locked():
        others = [item for item in _read() if item.path != path]
        _write([*others, TrustedFolder(path, path.stat().st_uid)])
    return path


def revoke_folder(folder: str | os.PathLike[str]) -> bool:
    """Remove a folder from the list; False when it is not in the list. The folder need not exist any more."""
    path = expand_user(folder)
    paths = {path.absolute(), Path(os.path.realpath(path))}
    with _locked():
        known = _read()
        left = [item for item in known if item.path not in paths]
        if len(left) == len(known):
            return False
        _write(left)
    return True


@contextmanager
def trusting(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Trust a folder until the context ends: the owner's ``--trust``."""
    path = _resolved(folder)
    token = _for_now.set(_for_now.get() | ({path} if path is not None else set()))
    try:
        yield
    finally:
        _for_now.reset(token)


def is_trusted(folder: str | os.PathLike[str]) -> bool:
    """Whether the owner trusts ``folder`` or a folder above it, and nobody else may write to it."""
    return _problem(folder) is None


def require_trust(folder: str | os.PathLike[str], what: str) -> None:
    """Raise TrustError, which says that ``what`` needs trust and names the command, unless ``folder`` is trusted."""
    problem = _problem(folder)
    if problem is not None:
        raise TrustError(f"{what} needs a folder that you trust: {problem[0]}", hint=problem[1])


def require_trusted_file(path: Path, what: str) -> Path:
    """Return the resolved path of a file that lies in a trusted folder and that nobody else may write to.

    Both the folder in which the path is and the folder to which its links lead must be trusted. Raises TrustError.
    """
    require_trust(path.parent, what)
    resolved = _resolved(path)
    if resolved is None:
        raise TrustError(
            f"{what} needs a folder that you trust: {shown_path(path)} does not exist", hint="Correct it"
        )
    require_trust(resolved.parent, what)
    problem = find_writer(resolved, resolved.stat())
    if problem is not None:
        raise TrustError(f"{what} is not used: {problem[0]}", hint=problem[1])
    return resolved


def find_file_problem(path: Path) -> TrustError | None:
    """Return why a file is not one that the owner trusts; None when it is. See ``require_trusted_file``."""
    try:
        require_trusted_file(path, str(path))
    except TrustError as error:
        return error
    return None


def trust_hint(folder: Path) -> str:
    """Return what a message says to do where a folder is not trusted."""
    return f"If you trust what is in it, run: sealflow trust {quoted(folder)}"


def _problem(folder: str | os.PathLike[str]) -> tuple[str, str] | None:
    """Return why ``folder`` is not trusted, and what to do; None when it is."""
    path = _resolved(folder)
    if path is None:
        return f"{shown_path(folder)} does not exist", "Correct the path"
    above = next((root for root in _roots() if path == root or root in path.parents), None)
    if above is None:
        return f"you have not trusted {shown_path(path)}", trust_hint(path)
    return _writable_by_others(path, above)


def _roots() -> Iterator[Path]:
    yield from _for_now.get()
    for text in os.environ.get(TRUSTED_FOLDERS, "").split(os.pathsep):
        if text:
            path = expand_user(text)
            if not path.is_absolute():
                raise SettingsError(
                    f"{TRUSTED_FOLDERS} has a path that is not absolute: {path}", hint="Write whole paths"
                )
            resolved = _resolved(path)
            if resolved is not None:
                yield resolved
    for item in _read():
        try:
            status = item.path.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode) and status.st_uid == item.owner:
            yield item.path


def _resolved(path: str | os.PathLike[str]) -> Path | None:
    try:
        return Path(path).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None


def _writable_by_others(path: Path, root: Path) -> tuple[str, str] | None:
    """Return who else may write to ``path``, and what to do.

    Another user who may write to any folder above ``path`` could put another folder in its place; a sticky folder such
    as ``/tmp`` above ``root`` keeps them from that.
    """
    for folder in (path, *path.parents):
        status = folder.lstat()
        problem = find_writer(folder, status)
        sticky = (
            status.st_mode & stat.S_ISVTX and folder in root.parents and status.st_uid in (0, os.geteuid())
        )
        if problem is not None and not sticky:
            return problem
    return None


def _read() -> list[TrustedFolder]:
    if find_user_config_directory() is None:
        return []  # a user without a home directory has no list; SEALFLOW_TRUSTED_FOLDERS still counts
    path = trust_file()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unusable(path, f"cannot be opened ({error.strerror})") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise _unusable(path, "is not a regular file of yours that nobody else can write to")
        content = file.read(_MAX_BYTES + 1)
    try:
        data = json.loads(content)
        if data["version"] != _VERSION:
            raise ValueError
        folders = [TrustedFolder(Path(item["path"]), int(item["owner"])) for item in data["folders"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        folders = None
    if folders is None or len(content) > _MAX_BYTES:
        raise _unusable(path, "cannot be understood")
    return folders


def _unusable(path: Path, reason: str) -> SettingsError:
    return SettingsError(
        f"the list of trusted folders, {path}, {reason}", hint="Remove the file, and trust your folders again"
    )


@contextmanager
def _locked() -> Iterator[None]:
    """Hold a lock on the config directory, so that two commands do not lose each other's change."""
    directory = trust_file().parent
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(folders: list[TrustedFolder]) -> None:
    path = trust_file()
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    items = [{"path": str(item.path), "owner": item.owner} for item in sorted(folders)]
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"version": _VERSION, "folders": items}, file, indent=2)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
