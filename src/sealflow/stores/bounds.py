"""How much work and memory a query may take: in proportion to what the files of the database can hold.

The pages of a table form a tree, and in a file that somebody else wrote many branches may lead to the same page: 23 pages
then hold as many rows as there are ways through them. SQLite follows each, inside one call, where no signal ends it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sealflow.errors import DamagedRecordError

_EVERY = 20_000
"""Steps of SQLite's virtual machine between two looks at the budget. They take about a millisecond."""

_BASE_STEPS = 5_000_000
_STEPS_A_BYTE = 5
"""Stores of 20,000 secrets need at most 0.13 for each byte, for the listing, a backup and the checks of the doctor."""
_MAX_STEPS = 500_000_000
"""A file with holes may look as large as it likes."""

_BASE_BYTES = 1 << 20
_SIZED = (str, bytes)


class BoundedConnection(sqlite3.Connection):
    """A connection whose queries end when they have taken more than any honest store of this size could need.

    SQLite then raises its error ``interrupted``. A signal that comes during a query ends it with the same error.
    """

    _files: tuple[Path, ...] = ()
    _looks = 0

    def bound(self, *files: Path, exhausted: threading.Event) -> None:
        """Take the budget from the size of these files: the database and its log. ``exhausted`` is set when it is spent."""
        self._files = files
        self._exhausted = exhausted
        self.set_progress_handler(self._look, _EVERY)

    def restart(self) -> None:
        """Begin a new budget."""
        self._looks = 0

    def fetch(self, query: str, values: Iterable[Any] = ()) -> list[Any]:
        """Return all rows. Raises DamagedRecordError where they hold more than the files, which hold each value once."""
        rows = []
        left = _BASE_BYTES + 2 * self._size()
        for row in self.execute(query, tuple(values)):
            left -= 8 + sum([len(value) for value in row if isinstance(value, _SIZED)])
            if left < 0:
                raise DamagedRecordError(
                    f"{self._files[0]} is damaged (its tables give more than it can hold)",
                    hint="Restore it from a backup",
                )
            rows.append(row)
        return rows

    def _look(self) -> bool:
        self._looks += 1
        steps = self._looks * _EVERY
        if steps <= _BASE_STEPS or steps <= min(_BASE_STEPS + _STEPS_A_BYTE * self._size(), _MAX_STEPS):
            return False
        self._exhausted.set()
        return True

    def _size(self) -> int:
        size = 0
        for file in self._files:
            with suppress(OSError):
                size += os.stat(file).st_size  # noqa: PTH116
        return size
