"""The lock of a store, for all threads and processes that write to it."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sealflow.stores.folder import Folder
from sealflow.stores.private_files import raise_for

STORE_LOCK = "store.lock"


class StoreLock:
    """One lock file for a store: threads wait on a mutex, processes on flock. Re-entrant within a thread."""

    def __init__(self, folder: Folder, name: str = STORE_LOCK) -> None:
        self._folder = folder
        self._name = name
        self._mutex = threading.RLock()
        self._depth = 0
        self._descriptor = -1

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for as long as the block runs."""
        with self._mutex:
            if self._depth == 0:
                self._descriptor = self._acquire()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    os.close(self._descriptor)  # gives the lock back

    def _acquire(self) -> int:
        path = self._folder.path / self._name
        try:
            descriptor = self._folder.open_file(self._name, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError as error:
            raise_for(error, path, "locked")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            os.close(descriptor)
            raise_for(error, path, "locked")
        return descriptor
