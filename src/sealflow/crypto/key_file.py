"""Key files: read only when nobody else could have placed them, written so that nobody else can read them.

Everywhere, a key file may be a regular file of this user or root that gives nobody else any permission. Where a platform
puts secrets (a read-only mount, ``/run/secrets``, systemd's ``$CREDENTIALS_DIRECTORY``, a path that the owner names), it may
also be what Kubernetes and Docker make: a link to a file that others may read. Nobody else may have been able to write
it, or to change anything on the way to it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from sealflow.crypto.key_input import MAX_BYTES, decode_key, descriptor_named, read_descriptor
from sealflow.errors import InvalidMasterKeyError, SettingsError, without_locals
from sealflow.settings import MASTER_KEY_TRUSTED_PATH, user_config_directory
from sealflow.wording import quoted

_RUN_SECRETS = Path("/run/secrets")  # Docker, Podman and Kubernetes; /var/run is a link to /run
_CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), "Credentials"
_MAX_LINKS = 40  # as Linux, path_resolution(7)
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_trusted_for_now: ContextVar[tuple[str, ...]] = ContextVar("sealflow_trusted_key_paths", default=())


def default_key_file(store_id: str) -> Path:
    """Where ``sealflow init`` keeps a store's master key: the user's config directory, by the store's id."""
    return user_config_directory() / "keys" / f"{store_id}.key"


@contextmanager
def trusting_key_path(path: str) -> Iterator[None]:
    """Accept key files below ``path`` as a platform makes them until the context ends: the owner's ``--trust-key-path``."""
    token = _trusted_for_now.set((*_trusted_for_now.get(), path))
    try:
        yield
    finally:
        _trusted_for_now.reset(token)


@without_locals
def read_key_file(path: Path, storage: Path) -> str:
    """Return the text of a key file, of at most 4 KiB, or of the descriptor that ``/dev/stdin`` or ``/dev/fd/N`` names.

    Raises InvalidMasterKeyError for a file that this module's rules refuse or that is inside the storage directory.
    """
    descriptor = descriptor_named(path)
    if descriptor is not None:
        return read_descriptor(descriptor)
    path = path.absolute()
    target = Path(os.path.realpath(path))
    if target.is_relative_to(os.path.realpath(storage)):
        raise _unsafe(path, "is inside the storage directory", "Keep the key away from what it encrypts")
    is_link = path.is_symlink()
    if is_link and not _is_place(Path(os.path.realpath(path.parent), path.name)):
        raise _unsafe(
            path,
            "is a symbolic link",
            f"Name the file to which it leads, or trust this path with {MASTER_KEY_TRUSTED_PATH}",
        )
    opened = _open(path, target if is_link else path)
    try:
        status = os.fstat(opened)
        _check_form(path, status)
        if is_link or not _is_private(status):
            _check_made_by_platform(path, target, status)
        content = os.read(opened, MAX_BYTES + 1)
    finally:
        os.close(opened)
    return decode_key(content, f"the key file {path}")


def write_key_file(path: Path, text: str) -> None:
    """Write a new file with mode 0600 in a directory with mode 0700; never over an existing one (FileExistsError)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def replace_key_file(path: Path, text: str, kept: Path | None) -> None:
    """Put a key into ``path`` so that a crash leaves the old file or the new one.

    The old file is kept under the new name ``kept``, which is None where there is nothing to keep. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.unlink(missing_ok=True)
    write_key_file(draft, text)
    try:
        if kept is not None:
            os.link(path, kept, follow_symlinks=False)
        draft.replace(path)
        _sync(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path, target: Path) -> int:
    try:
        return os.open(target, _FLAGS)
    except FileNotFoundError:
        raise _unsafe(path, "does not exist", "Correct the path, or put your copy of the key there") from None
    except PermissionError:
        raise _unsafe(
            path,
            f"cannot be opened by this user (uid {os.geteuid()})",
            "Give it to this user; in Kubernetes, set fsGroup, and defaultMode 0440",
        ) from None
    except OSError as error:
        raise _unsafe(
            path, f"cannot be opened ({error.strerror})", "Name a regular file that you own"
        ) from None


def _check_form(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _unsafe(path, "is not a regular file", "Name a regular file")
    if status.st_size > MAX_BYTES:
        raise _unsafe(path, "is larger than 4 KiB", "Name the file that holds just the key")


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o077


def _check_made_by_platform(path: Path, target: Path, status: os.stat_result) -> None:
    """Refuse a file that others may read, or to which a link leads, unless a platform put it there."""
    if status.st_uid not in (0, os.geteuid()):
        raise _unsafe(path, "belongs to another user", "Copy it to a file of your own")
    if not _is_place(target):
        if path != target and path.is_symlink():
            raise _unsafe(
                path,
                f"leads to {target}",
                f"If you trust where it leads, name both with {MASTER_KEY_TRUSTED_PATH}",
            )
        raise _unsafe(
            path,
            "can be read or changed by others",
            f"Run: chmod 600 {quoted(path)}. If your platform mounts it so, see `sealflow help containers`",
        )
    for step in _steps(path):
        found = step.lstat()
        if found.st_uid not in (0, os.geteuid()):
            raise _unsafe(path, f"is not safe: {step} belongs to another user", "Give it to root or to you")
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if found.st_mode & 0o022 and not sticky and not stat.S_ISLNK(found.st_mode):
            raise _unsafe(path, f"is not safe: others may write to {step}", f"Run: chmod go-w {quoted(step)}")


def _is_place(path: Path) -> bool:
    """Whether a platform or the owner, and nobody else, decides what is at ``path``, whose folder is resolved."""
    if any(path.is_relative_to(place) for place in _places()):
        return True
    try:
        around = path.parent if path.is_symlink() else path
        return bool(os.statvfs(around).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _places() -> Iterator[Path]:
    """Yield the places of platforms and of the owner, as they are written and resolved."""
    named = [text for text in os.environ.get(MASTER_KEY_TRUSTED_PATH, "").split(os.pathsep) if text]
    for text in (*named, *_trusted_for_now.get()):
        if not Path(text).is_absolute():
            raise SettingsError(
                f"a path where keys are trusted is not absolute: {text}",
                hint=f"Correct {MASTER_KEY_TRUSTED_PATH} or --trust-key-path",
            )
        yield Path(text)
        yield Path(os.path.realpath(text))
    credentials = os.environ.get(_CREDENTIALS_DIRECTORY, "")
    for place in (_RUN_SECRETS, Path(credentials)):
        if place.is_absolute():
            yield Path(os.path.realpath(place))


def _steps(path: Path) -> Iterator[Path]:
    """Yield every folder and link that the system passes on the way to a file, and the file itself."""
    here, left, links = Path("/"), list(reversed(path.parts[1:])), 0
    yield here
    while left:
        name = left.pop()
        if name == "..":
            here = here.parent
            continue
        step = here / name
        yield step
        if not step.is_symlink():
            here = step
            continue
        links += 1
        if links > _MAX_LINKS:
            raise _unsafe(path, "leads through too many links", "Name the file itself")
        target = step.readlink()
        if target.is_absolute():
            here = Path("/")
        left.extend(part for part in reversed(target.parts) if part != "/")


def _unsafe(path: Path, reason: str, hint: str) -> InvalidMasterKeyError:
    return InvalidMasterKeyError(f"the key file {path} {reason}", hint=hint)
