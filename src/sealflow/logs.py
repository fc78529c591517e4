"""Log records cleaned or withheld before any handler sees them, for as long as anything that a run started lives.

Installed at the first use and kept: ``Logger.callHandlers`` and ``Handler.handle``, through which every record passes,
whoever made it (a record factory, ``makeLogRecord``, a ``makeRecord`` of somebody else).
"""

from __future__ import annotations

import contextvars
import gc
import logging
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sealflow.wording import UNPRINTABLE, printed

Clean = Callable[[str], str]

SDK_LOGGERS = frozenset({"boto3", "botocore", "hvac", "requests", "s3transfer", "urllib3"})
"""Libraries that write requests, responses and signatures into their logs, before anybody knows what is a value."""

_MANY = 64
"""Runs whose values are kept, beyond which each run that ends collects unreachable tasks."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_here = threading.local()
_lock = threading.RLock()
_installed = False
_collecting = False


class _Lease:
    """Lives in the context of a run: tasks, callbacks and ``to_thread`` calls copy the context, and so keep it alive."""

    def __init__(self, kept: _Kept) -> None:
        self._kept = kept

    def __del__(self) -> None:
        self._kept.released = True
        if _collecting:
            # The collection may finalize this before the task that logs its own lost exception.
            self._kept.rounds = 1
        else:
            _prune()


class _Kept:
    """A run's cleaner, while the run or anything that it started may still log."""

    def __init__(self, clean: Clean) -> None:
        self.clean = clean
        self.released = False
        self.rounds = 0
        self._earlier = weakref.WeakSet(threading.enumerate())

    def is_needed(self) -> bool:
        """Whether a context or a thread of the run is alive. Plain threads copy no context, so all newer ones count."""
        if not self.released or any(thread not in self._earlier for thread in threading.enumerate()):
            return True
        self.rounds -= 1
        return self.rounds >= 0


_lease: contextvars.ContextVar[_Lease | None] = contextvars.ContextVar("sealflow_lease", default=None)
_kept: list[_Kept] = []


@contextmanager
def cleaned_logs(clean: Clean) -> Iterator[None]:
    """Pass every log record of this process through ``clean``, until all that is started inside has ended."""
    _install()
    kept = _Kept(clean)
    _prune()
    with _lock:
        _kept.append(kept)
    token = _lease.set(_Lease(kept))
    try:
        yield
    finally:
        _lease.reset(token)
        if sum(not item.released for item in _kept) > _MANY:
            gc.collect()
        _prune()


@contextmanager
def withheld_sdk_logs() -> Iterator[None]:
    """Withhold what the SDKs log in this thread: while a secret is fetched, nothing knows its value to clean it."""
    _install()
    before = getattr(_here, "withheld", False)
    _here.withheld = True
    try:
        yield
    finally:
        _here.withheld = before


def cleaned(text: str) -> str:
    """Return ``text`` without the values of any run that may still log or print."""
    for clean in active_cleaners():
        text = clean(text)
    return text


def active_cleaners() -> tuple[Clean, ...]:
    """Return the cleaners of the runs that may still log or print."""
    return tuple(kept.clean for kept in tuple(_kept))


def _prune() -> None:
    """Drop the cleaners of runs that left nothing alive."""
    with _lock:
        _kept[:] = [kept for kept in _kept if kept.is_needed()]


def _note_collection(phase: str, _: dict[str, int]) -> None:
    global _collecting  # noqa: PLW0603 - there is one garbage collector a process
    _collecting = phase == "start"


def _install() -> None:
    global _installed  # noqa: PLW0603 - there is one logging module a process
    with _lock:
        if not _installed:
            _installed = True
            gc.callbacks.append(_note_collection)
            for owner, name in ((logging.Logger, "callHandlers"), (logging.Handler, "handle")):
                setattr(owner, name, _before(getattr(owner, name)))


def _before(original: Callable[[Any, logging.LogRecord], Any]) -> Callable[[Any, logging.LogRecord], Any]:
    def handle_cleaned(self: Any, record: logging.LogRecord) -> Any:
        _clean_record(record)
        return original(self, record)

    return handle_cleaned


def _clean_record(record: logging.LogRecord) -> None:
    if getattr(_here, "withheld", False) and str(record.name).partition(".")[0] in SDK_LOGGERS:
        record.msg, record.args = "(withheld: a secret is being fetched)", ()
        record.exc_info = record.exc_text = record.stack_info = None
        return
    if not _kept:
        return
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - logging would report the bad format itself, and print the arguments
        message = f"{printed(record.msg)} with arguments that do not fit it"
    record.msg, record.args = cleaned(message), ()
    if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
        record.exc_text, record.exc_info = cleaned(_traceback(record.exc_info)), None
    elif record.exc_text:
        record.exc_text = cleaned(str(record.exc_text))
    if record.stack_info:
        record.stack_info = cleaned(str(record.stack_info))
    for name in ("name", "threadName", "processName", "taskName", "pathname", "funcName"):
        value = record.__dict__.get(name)
        if isinstance(value, str):
            record.__dict__[name] = cleaned(value)
    for name in [key for key in record.__dict__ if key not in _STANDARD]:
        value = record.__dict__.pop(name)
        record.__dict__[cleaned(name)] = _clean_extra(value)


def _clean_extra(value: Any) -> Any:
    """Return what ``extra=`` gave, or its cleaned text where that holds a value."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return cleaned(value)
    for how in (repr, str):
        text = printed(value, how)
        masked = cleaned(text)
        if masked != text or text.startswith(UNPRINTABLE):
            return masked
    return value


def _traceback(exc_info: Any) -> str:
    try:
        return "".join(traceback.format_exception(*exc_info)).rstrip("\n")
    except Exception as error:  # noqa: BLE001 - the __str__ of somebody else's exception
        return f"{exc_info[0].__name__} (its traceback cannot be printed: {type(error).__name__})"
