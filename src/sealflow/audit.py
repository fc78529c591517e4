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
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sealflow.errors import AuditError, StoreError
from sealflow.model.names import is_name
from sealflow.stores import private_files
from sealflow.stores.lock import StoreLock

FILE = "audit.log"
BATCH_SECONDS = 0.1
_GENESIS = "0" * 64


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
    """Return what happened to a key; its id stands where a secret's source would."""
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
        self._head = path.with_name(path.name + ".head")
        self._lock = StoreLock(path.with_name(path.name + ".lock"))
        self._mutex = threading.Lock()
        self._waiting: list[tuple[float, Event]] = []
        self._timer: threading.Timer | None = None
        self._actor = _actor()
        self._pid = os.getpid()
        self._failed = False
        atexit.register(self.close)

    def record(self, event: Event, *, now: bool = False) -> None:
        """Take an event; ``now`` writes it at once, with all that waits."""
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
        problem = None
        try:
            self._append(waiting)
        except (StoreError, OSError) as error:
            problem = str(error)
        if problem is not None and self.required:
            raise AuditError(
                f"the audit trail {self.path} cannot be written ({problem})",
                hint="Make room, or make it writable",
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
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found

    def verify(self) -> tuple[int, list[Break]]:
        """Return how many lines there are, and every place where the chain is broken."""
        with self._lock.held():
            lines = list(self._lines())
            count, head = self._read_head()
        breaks: list[Break] = []
        previous = _GENESIS
        for number, line in enumerate(lines, 1):
            try:
                said = json.loads(line)["previous"]
            except (ValueError, KeyError, TypeError):
                said = None
            if said != previous:
                breaks.append(
                    Break(
                        number,
                        "it does not follow the line before it: one of the two was changed, removed or moved",
                    )
                )
            previous = _hash(line + "\n")
            if number == count and previous != head:
                breaks.append(Break(number, "it is not the line that was written here last"))
        if len(lines) < count:
            breaks.append(Break(len(lines) + 1, f"{count - len(lines)} lines are missing at the end"))
        return len(lines), breaks

    def _append(self, waiting: list[tuple[float, Event]]) -> None:
        with self._lock.held():
            count, previous = self._read_head()
            descriptor = os.open(
                self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            try:
                if os.fstat(descriptor).st_mode & 0o777 != 0o600:
                    os.fchmod(descriptor, 0o600)
                count, previous = self._caught_up(descriptor, count, previous)
                lines: list[str] = []
                for moment, event in waiting:
                    begin = self._begin(moment, event)
                    for name, version, source in event.secrets:
                        line = (
                            f'{begin},"secret":{_json(name)},"version":{"null" if version is None else version},'
                            f'"source":{_json(source)},"previous":"{previous}"}}\n'
                        )
                        previous = _hash(line)
                        lines.append(line)
                count += len(lines)
                _write_all(descriptor, "".join(lines).encode())
                if self.required:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._write_head(count, previous)

    def _begin(self, moment: float, event: Event) -> str:
        """Return what the lines of one event have in common; put together by hand, as each read waits for it."""
        stamp = datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat()
        return (
            f'{{"time":"{stamp}Z","actor":{_json(self._actor)},"action":{_json(event.action)},'
            f'"outcome":{_json(event.outcome)},"workflow":{_json(event.workflow)},'
            f'"execution":{_json(event.execution)},"node":{_json(event.node)}'
        )

    def _caught_up(self, descriptor: int, count: int, previous: str) -> tuple[int, str]:
        """Follow lines that a killed process wrote and did not count; cut off half a line."""
        if os.fstat(descriptor).st_size == self._head_size():
            return count, previous
        lines = list(self._lines())
        content = b"".join((line + "\n").encode() for line in lines)
        if os.fstat(descriptor).st_size > len(content):
            os.ftruncate(descriptor, len(content))
        return max(count, len(lines)), _hash(lines[-1] + "\n") if lines else previous

    def _lines(self) -> Iterator[str]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            private_files.raise_for(error, self.path, "read")
        whole, _, _ = content.rpartition(b"\n")
        if whole:
            yield from whole.decode("utf-8", "replace").split("\n")

    def _read_head(self) -> tuple[int, str]:
        try:
            count, _, head = self._head.read_text(encoding="ascii").split()
            return int(count), head
        except FileNotFoundError:
            return 0, _GENESIS
        except (OSError, ValueError):
            return 0, "damaged"

    def _head_size(self) -> int:
        try:
            return int(self._head.read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return -1

    def _write_head(self, count: int, head: str) -> None:
        descriptor = os.open(self._head, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            # One short write of fixed length: readers hold the lock, and a crash is caught up with.
            os.pwrite(descriptor, f"{count:020d} {self.path.stat().st_size:020d} {head}\n".encode(), 0)
        finally:
            os.close(descriptor)

    def _flush_quietly(self) -> None:
        try:
            self.flush()
        except AuditError:
            self._failed = True  # said to whoever asked for a value


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


def _hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


def _json(text: str | None) -> str:
    """json.dumps, but for names, which are most of it and need no look at each character."""
    return "null" if text is None else f'"{text}"' if is_name(text) else json.dumps(text)


def _actor() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
