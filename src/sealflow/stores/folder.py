"""A private directory, whose files are opened relative to its descriptor: no link below it is ever followed.

The path of the directory itself may lead through links, because its owner chose it. What lies inside may have been put
there by anybody who could write to the storage, so every name is opened with O_NOFOLLOW (POSIX openat) and must be a
regular file. docs/decisions/0011-planted-storage.md says why.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sealflow.errors import DamagedRecordError, StoreUnavailableError
from sealflow.stores.private_files import TEMPORARY, raise_for

_FILE_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # nonblocking: a FIFO must not make us wait
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Folder:
    """A directory ``path``, or one ``below`` it whose every step is a real directory. Holds nothing open.

    Names are those of entries, without a slash. Raises StoreError; FileNotFoundError where it says so.
    """

    def __init__(self, path: Path, *below: str) -> None:
        self.path = path.joinpath(*below)
        self._root = path
        self._below = below

    def folder(self, name: str) -> Folder:
        """Return the directory ``name`` inside this one."""
        return Folder(self._root, *self._below, name)

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """Open the directory for as long as the block runs; raises FileNotFoundError where it is missing."""
        opened = self._open_directory()
        try:
            yield opened
        finally:
            os.close(opened)

    def read(self, name: str, limit: int) -> bytes:
        """Return a file's content, of at most ``limit`` bytes; FileNotFoundError when it is missing."""
        with os.fdopen(self.open_file(name, os.O_RDONLY), "rb") as file:
            try:
                content = file.read(limit + 1)
            except OSError as error:
                raise_for(error, self.path / name, "read")
        if len(content) > limit:
            raise DamagedRecordError(
                f"{self.path / name} is larger than sealflow ever writes it", hint="Restore it from a backup"
            )
        return content

    def open_file(self, name: str, flags: int) -> int:
        """Open a regular file and return its descriptor; FileNotFoundError when it is missing and not to be made.

        A file opened for writing is changed in place, so it must be ours, and have no other name (hard link) elsewhere;
        it is brought to 0600.
        """
        try:
            with self.descriptor() as directory:
                opened = os.open(name, flags | _FILE_FLAGS, 0o600, dir_fd=directory)
        except FileNotFoundError:
            raise
        except OSError as error:
            self._check_regular(name)  # says more than "too many levels of symbolic links"
            raise_for(error, self.path / name, "opened")
        try:
            status = os.fstat(opened)
            if not stat.S_ISREG(status.st_mode):
                raise _not_a_file(self.path / name, status)
            if flags & (os.O_WRONLY | os.O_RDWR):
                _check_ours(self.path / name, status)
                if status.st_mode & 0o777 != 0o600:
                    os.fchmod(opened, 0o600)
        except OSError as error:
            os.close(opened)
            raise_for(error, self.path / name, "opened")
        except BaseException:
            os.close(opened)
            raise
        return opened

    def create(self, name: str) -> int:
        """Make a new file, 0600 under any umask, and return its descriptor; FileExistsError when the name is taken."""
        with self.descriptor() as directory:
            return _create(name, directory)

    def write(self, name: str, content: bytes) -> None:
        """Replace a file so that a crash leaves the old one or the new one, on the disk."""
        temporary = f"{TEMPORARY}{os.getpid()}-{threading.get_ident()}-{name}"
        try:
            with self.descriptor() as directory:
                try:
                    _unlink(temporary, directory)
                    with os.fdopen(_create(temporary, directory), "wb") as file:
                        file.write(content)
                        file.flush()
                        os.fsync(file.fileno())
                    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
                    os.fsync(directory)
                except OSError:
                    with suppress(OSError):
                        _unlink(temporary, directory)
                    raise
        except OSError as error:
            raise_for(error, self.path / name, "written")

    def remove(self, name: str) -> None:
        """Remove a file or a link, where there is one; the removal is on the disk."""
        try:
            with self.descriptor() as directory:
                _unlink(name, directory)
                os.fsync(directory)
        except OSError as error:
            raise_for(error, self.path / name, "removed")

    def remove_tree(self, name: str) -> None:
        """Remove a directory with all that is in it, or a file, or a link and not what it leads to."""
        found = self.status(name)
        if found is None:
            return
        if not stat.S_ISDIR(found.st_mode):
            self.remove(name)
            return
        import shutil

        try:
            with self.descriptor() as directory:
                shutil.rmtree(
                    name, dir_fd=directory
                )  # follows no links where the system has openat, as all of ours
        except OSError as error:
            raise_for(error, self.path / name, "removed")

    def move(self, name: str, target: Folder, new_name: str | None = None) -> None:
        """Move an entry into ``target``, over what has its name there."""
        try:
            with self.descriptor() as source, target.descriptor() as destination:
                os.rename(name, new_name or name, src_dir_fd=source, dst_dir_fd=destination)
        except OSError as error:
            raise_for(error, self.path / name, "moved")

    def make(self, name: str) -> Folder:
        """Make the new directory ``name``, 0700, and return it."""
        made = self.folder(name)
        try:
            with self.descriptor() as directory:
                os.mkdir(name, 0o700, dir_fd=directory)
            with made.descriptor() as directory:
                os.fchmod(directory, 0o700)  # a umask can take away bits that we need
        except OSError as error:
            raise_for(error, made.path, "made")
        return made

    def names(self) -> list[str]:
        """Return the names of its entries, sorted; FileNotFoundError when it is missing."""
        try:
            with self.descriptor() as directory:
                return sorted(os.listdir(directory))  # noqa: PTH208 - pathlib takes no descriptor
        except FileNotFoundError:
            raise
        except OSError as error:
            raise_for(error, self.path, "read")

    def status(self, name: str) -> os.stat_result | None:
        """Return what an entry is, a link being a link; None when it is missing."""
        try:
            with self.descriptor() as directory:
                return os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise_for(error, self.path / name, "read")

    def check_in_place(self, name: str) -> os.stat_result | None:
        """Return what a file is that a library will open by its path; None when it is missing.

        Raises StoreUnavailableError unless it is a regular file of ours with this one name.
        """
        found = self.status(name)
        if found is not None:
            if not stat.S_ISREG(found.st_mode):
                raise _not_a_file(self.path / name, found)
            _check_ours(self.path / name, found)
        return found

    def tighten(self, name: str) -> None:
        """Remove group and other permissions from a file of ours, if it exists, has them, and has no other name."""
        found = self.status(name)
        if found is None or not stat.S_ISREG(found.st_mode) or not found.st_mode & 0o077:
            return
        if found.st_nlink == 1 and found.st_uid == os.geteuid():
            try:
                opened = self.open_file(name, os.O_RDWR)  # which makes it private
            except FileNotFoundError:
                return
            os.close(opened)

    def sync(self) -> None:
        """Put its entries on the disk."""
        try:
            with self.descriptor() as directory:
                os.fsync(directory)
        except OSError as error:
            raise_for(error, self.path, "written")

    def _open_directory(self) -> int:
        opened = os.open(self._root, _DIRECTORY_FLAGS)
        try:
            for name in self._below:
                inner = os.open(name, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=opened)
                os.close(opened)
                opened = inner
        except BaseException:
            os.close(opened)
            raise
        return opened

    def _check_regular(self, name: str) -> None:
        found = self.status(name)
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise _not_a_file(self.path / name, found)


def _create(name: str, directory: int) -> int:
    opened = os.open(
        name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=directory
    )
    os.fchmod(opened, 0o600)
    return opened


def _unlink(name: str, directory: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def _not_a_file(path: Path, status: os.stat_result) -> StoreUnavailableError:
    kinds = {
        stat.S_IFLNK: "a link",
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
    }
    return StoreUnavailableError(
        f"{path} is {kinds.get(stat.S_IFMT(status.st_mode), 'a device')} and not a regular file",
        hint="sealflow did not put it there: find out who did, and restore a backup into a new directory",
    )


def _check_ours(path: Path, status: os.stat_result) -> None:
    """Refuse to change in place what is also a file elsewhere, or another user's."""
    if status.st_nlink > 1:
        raise StoreUnavailableError(
            f"{path} has another name elsewhere (it is a hard link)",
            hint="Find out who made it; replace it by a copy: sealflow changes this file in place",
        )
    if status.st_uid != os.geteuid():
        raise StoreUnavailableError(
            f"{path} belongs to the user {status.st_uid}, and not to you",
            hint="Run sealflow as that user, or give the file to yours (chown)",
        )
