"""The audit trail: one line for each thing that was done with a secret, each line bound to the one before it.

A line is a JSON object with the SHA-256 of the line before. A small head file beside it counts the lines and keeps
the last hash, so that lines cut off at the end are missed too. Never a value, nor a hash of one.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import pwd
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sealflow.errors import AuditError, DamagedRecordError, StoreError, attempt
from sealflow.model.names import is_name
from sealflow.stores.folder import Folder
from sealflow.stores.lock import StoreLock
from sealflow.wording import without_keys

FILE = "audit.log"
BATCH_SECONDS = 0.1
_GENESIS = "0" * 64
_HEAD_BYTES = 4096  # ours are 107
_MAX_LINE = 1 << 20
_MAX_BREAKS = 100


class AuditWarning(UserWarning):
    """Values are given although their lines in the audit trail cannot be written: a read-only mount, for example."""


class Event(NamedTuple):
    """What happened, to one secret or several. ``outcome`` is ``ok`` or the error's name.

    ``secrets`` are (name, version, source), a line each; None where a part does not apply.
    """

    action: str
    secrets: Sequence[tuple[str | None, int | None, str | None]] = ((None, None, None),)
    outcome: str = "ok"
    workflow: str | None = None
    execution: str | None = None
    node: str | None = None


def key_event(action: str, key_id: str) -> Event:
    """Return what happened to a key; its id takes the place of a secret's source."""
    return Event(action, ((None, None, f"key:{key_id}"),))


class Break(NamedTuple):
    """Where the chain does not hold; ``line`` counts from 1."""

    line: int
    problem: str


class AuditLog:
    """One audit file, for all threads and processes that use a store.

    Reads are written in batches: at the end of an execution, or a tenth of a second after the first. With
    ``required`` each line is on the disk before ``record`` returns, and AuditError says when it cannot be.
    """

    def __init__(self, path: Path, *, required: bool = False) -> None:
        self.path = path
        self.required = required
        self._folder = Folder(path.parent)
        self._name = path.name
        self._head = f"{path.name}.head"
        self._lock = StoreLock(self._folder, f"{path.name}.lock")
        self._mutex = threading.Lock()
        self._waiting: list[tuple[float, Event]] = []
        self._timer: threading.Timer | None = None
        self._actor = _actor()
        self._pid = os.getpid()
        self._failed = False
        atexit.register(self.close)

    def record(self, event: Event, *, now: bool = False) -> None:
        """Take an event; ``now`` writes it at once, with all that waits.

        Warns once (AuditWarning) where the trail is on a read-only mount; this is looked at before each batch, because
        every read of a secret comes here. Raises AuditError where the trail must be written and cannot.
        """
        begins_batch = not self._waiting and not self.required and not self._failed
        if begins_batch and not os.access(self.path.parent, os.W_OK):
            self._failed = True
            warnings.warn(
                f"{self.path.parent} is read-only: what is done with secrets here is not written into the audit trail "
                "([audit] required = true in sealflow.toml makes this an error)",
                AuditWarning,
                stacklevel=2,
            )
        with self._mutex:
            if self._pid != os.getpid():
                self._waiting, self._timer, self._pid = [], None, os.getpid()  # the parent writes its own
            self._waiting.append((time.time(), event))
            if not now and not self.required and self._timer is None:
                self._timer = threading.Timer(BATCH_SECONDS, self._flush_quietly)
                self._timer.daemon = True
                self._timer.start()
        if now or self.required:
            self.flush()

    def flush(self) -> None:
        """Write what waits. Raises AuditError where it cannot be written and must be."""
        with self._mutex:
            waiting, self._waiting = self._waiting, []
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if not waiting or self._pid != os.getpid():
            return
        _, error = attempt((StoreError, OSError), self._append, waiting)
        problem = None if error is None else str(error)
        if problem is not None and self.required:
            raise AuditError(
                f"the audit trail {self.path} cannot be written ({problem})",
                hint="Free some space, or make it writable",
            )
        if problem is not None and not self._failed:
            self._failed = True
            logging.getLogger("sealflow.audit").warning(
                "the audit trail %s cannot be written: %s", self.path, problem
            )

    def close(self) -> None:
        """Write what waits; may be called twice."""
        atexit.unregister(self.close)
        self._flush_quietly()

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the lines that can be read, oldest first."""
        for line in self._lines():
            found, _ = attempt((ValueError, RecursionError), json.loads, line)
            if isinstance(found, dict):
                yield found

    def verify(self) -> tuple[int, list[Break]]:
        """Return how many lines there are, and the places where the chain is broken, the first hundred of them."""
        breaks: list[Break] = []
        number, previous = 0, _GENESIS
        with self._lock.held():
            count, head = self._read_head()
            for number, line in enumerate(self._lines(), 1):
                if _previous(line) != previous:
                    breaks.append(
                        Break(
                            number,
                            "it does not follow the line before it: one of the two was changed, removed or moved",
                        )
                    )
                previous = _hash(line)
                if number == count and previous != head:
                    breaks.append(Break(number, "it is not the line that was written here last"))
                if len(breaks) >= _MAX_BREAKS:
                    return number, breaks
        if number < count:
            breaks.append(Break(number + 1, f"{count - number} lines are missing at the end"))
        return number, breaks

    def _append(self, waiting: list[tuple[float, Event]]) -> None:
        with self._lock.held():
            count, previous = self._read_head()
            descriptor = self._folder.open_file(self._name, os.O_RDWR | os.O_APPEND | os.O_CREAT)
            try:
                count, previous = self._catch_up(descriptor, count, previous)
                lines: list[bytes] = []
                for moment, event in waiting:
                    begin = self._begin(moment, event)
                    for name, version, source in event.secrets:
                        line = (
                            f'{begin},"secret":{_json(name)},"version":{"null" if version is None else version},'
                            f'"source":{_json(source)},"previous":"{previous}"}}\n'
                        ).encode()
                        previous = _hash(line)
                        lines.append(line)
                _write_all(descriptor, b"".join(lines))
                if self.required:
                    os.fsync(descriptor)
                self._write_head(count + len(lines), os.fstat(descriptor).st_size, previous)
            finally:
                os.close(descriptor)

    def _begin(self, moment: float, event: Event) -> str:
        """Return what the lines of one event have in common; built by hand, because json.dumps would slow every read."""
        stamp = datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat()
        return (
            f'{{"time":"{stamp}Z","actor":{_json(self._actor)},"action":{_json(event.action)},'
            f'"outcome":{_json(event.outcome)},"workflow":{_json(event.workflow)},'
            f'"execution":{_json(event.execution)},"node":{_json(event.node)}'
        )

    def _catch_up(self, descriptor: int, count: int, previous: str) -> tuple[int, str]:
        """Count lines that a killed process wrote but did not record in the head; cut off half a line."""
        if os.fstat(descriptor).st_size == self._head_size():
            return count, previous
        number, size, last = 0, 0, b""
        for line in self._lines():
            number, size, last = number + 1, size + len(line), line
        if os.fstat(descriptor).st_size > size:
            os.ftruncate(descriptor, size)
        return max(count, number), _hash(last) if last else previous

    def _lines(self) -> Iterator[bytes]:
        """Yield the whole lines, each with its end; DamagedRecordError for one that is longer than ours ever are."""
        try:
            descriptor = self._folder.open_file(self._name, os.O_RDONLY)
        except FileNotFoundError:
            return
        with os.fdopen(descriptor, "rb") as file:
            while line := file.readline(_MAX_LINE):
                if line.endswith(b"\n"):
                    yield line
                elif len(line) == _MAX_LINE:
                    raise DamagedRecordError(
                        f"{self.path} holds a line of more than {_MAX_LINE} bytes, which sealflow never writes",
                        hint="Find out who can write to the store; move the trail away with its .head: a new one begins",
                    )

    def _read_head(self) -> tuple[int, str]:
        """Return the number of lines and the hash of the last; a damaged head counts none."""
        content, error = attempt((FileNotFoundError,), self._folder.read, self._head, _HEAD_BYTES)
        if error is not None or content is None:
            return 0, _GENESIS
        found, _ = attempt((ValueError,), _parse_head, content)
        return (0, "damaged") if found is None else (found[0], found[2])

    def _head_size(self) -> int:
        """Return the size of the trail as the head has it; -1 where it says none."""
        content, _ = attempt((FileNotFoundError,), self._folder.read, self._head, _HEAD_BYTES)
        found, _ = attempt((ValueError,), _parse_head, content or b"")
        return -1 if found is None else found[1]

    def _write_head(self, count: int, size: int, last: str) -> None:
        descriptor = self._folder.open_file(self._head, os.O_RDWR | os.O_CREAT)
        try:
            # One short write of fixed length: readers hold the lock, and a crash is caught up with.
            os.pwrite(descriptor, f"{count:020d} {size:020d} {last}\n".encode(), 0)
        finally:
            os.close(descriptor)

    def _flush_quietly(self) -> None:
        try:
            self.flush()
        except AuditError:
            self._failed = True  # whoever asked for a value gets the error


def _write_all(descriptor: int, content: bytes) -> None:
    """Write all or nothing: half a line would break the chain for whoever comes next."""
    size = os.fstat(descriptor).st_size
    try:
        written = os.write(descriptor, content)
        if written != len(content):
            raise OSError(28, os.strerror(28))
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _previous(line: bytes) -> object:
    """Return the hash that a line says it follows; None where it says none."""
    found, _ = attempt((ValueError, RecursionError), json.loads, line)
    return found.get("previous") if isinstance(found, dict) else None


def _parse_head(content: bytes) -> tuple[int, int, str]:
    """Return count, size and last hash; raises ValueError."""
    count, size, last = content.decode("ascii").split()
    return int(count), int(size), last


def _json(text: str | None) -> str:
    """Return JSON text; names, which most of these are, need no look at each character."""
    if text is None:
        return "null"
    clean = without_keys(text)  # a reference may name a master key by mistake
    return f'"{clean}"' if is_name(clean) else json.dumps(clean)


def _actor() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
