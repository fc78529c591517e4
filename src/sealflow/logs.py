"""Log records cleaned or withheld at their birth: whatever handler, formatter or library comes after sees no value."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Clean = Callable[[str], str]

_active: list[Clean] = []
_lock = threading.Lock()
_users = 0
_previous: Callable[..., logging.LogRecord] | None = None
_here = threading.local()

SDK_LOGGERS = frozenset({"boto3", "botocore", "hvac", "requests", "s3transfer", "urllib3"})
"""Libraries that write requests, responses and signatures into their logs, before anybody knows what is a value."""


@contextmanager
def cleaned_logs(clean: Clean) -> Iterator[None]:
    """Pass the texts of every log record of this process through ``clean`` while the context lasts."""
    with _installed():
        _active.append(clean)
        try:
            yield
        finally:
            _active.remove(clean)


@contextmanager
def withheld_sdk_logs() -> Iterator[None]:
    """Withhold what the SDKs log in this thread: while a secret is fetched, its value is in no text that could be cleaned."""
    with _installed():
        before = getattr(_here, "withheld", False)
        _here.withheld = True
        try:
            yield
        finally:
            _here.withheld = before


@contextmanager
def _installed() -> Iterator[None]:
    """Have our record factory in place: filters on the root logger do not see what other loggers pass on to it."""
    global _previous, _users  # noqa: PLW0603 - there is one record factory a process
    with _lock:
        _users += 1
        if _users == 1 and _previous is None:
            _previous = logging.getLogRecordFactory()
            logging.setLogRecordFactory(_clean_record)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and logging.getLogRecordFactory() is _clean_record:
                logging.setLogRecordFactory(logging.LogRecord if _previous is None else _previous)
                _previous = None


def _clean_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    record = (logging.LogRecord if _previous is None else _previous)(*args, **kwargs)
    if getattr(_here, "withheld", False) and record.name.partition(".")[0] in SDK_LOGGERS:
        record.msg, record.args, record.exc_info = "(withheld: a secret is being fetched)", (), None
        return record
    cleaners = tuple(_active)
    if not cleaners:
        return record
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - logging reports a bad format itself, and prints the arguments when it does
        message = f"{record.msg!r} with arguments that do not fit it"
    record.msg, record.args = _cleaned(message, cleaners), ()
    if record.exc_info and record.exc_info[0] is not None:
        text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        record.exc_text, record.exc_info = _cleaned(text, cleaners), None
    if record.stack_info:
        record.stack_info = _cleaned(record.stack_info, cleaners)
    return record


def _cleaned(text: str, cleaners: tuple[Clean, ...]) -> str:
    for clean in cleaners:
        text = clean(text)
    return text
