"""Log records cleaned at their birth: whatever handler, formatter or library comes after sees no value."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sealflow.resolver.redactor import Redactor

_active: list[Redactor] = []
_lock = threading.Lock()
_previous: Callable[..., logging.LogRecord] | None = None


@contextmanager
def redacted_logs(redactor: Redactor) -> Iterator[None]:
    """Clean every log record of this process while the context lasts.

    A record factory, not a filter: filters on the root logger do not see what other loggers pass on to it.
    """
    global _previous  # noqa: PLW0603 - there is one record factory a process
    with _lock:
        _active.append(redactor)
        if _previous is None:
            _previous = logging.getLogRecordFactory()
            logging.setLogRecordFactory(_clean_record)
    try:
        yield
    finally:
        with _lock:
            _active.remove(redactor)
            if not _active and logging.getLogRecordFactory() is _clean_record:
                logging.setLogRecordFactory(logging.LogRecord if _previous is None else _previous)
                _previous = None


def _clean_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    record = (logging.LogRecord if _previous is None else _previous)(*args, **kwargs)
    redactors = tuple(_active)
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - logging reports a bad format itself, and prints the arguments when it does
        message = f"{record.msg!r} with arguments that do not fit it"
    record.msg, record.args = _cleaned(message, redactors), ()
    if record.exc_info and record.exc_info[0] is not None:
        text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        record.exc_text, record.exc_info = _cleaned(text, redactors), None
    if record.stack_info:
        record.stack_info = _cleaned(record.stack_info, redactors)
    return record


def _cleaned(text: str, redactors: tuple[Redactor, ...]) -> str:
    for redactor in redactors:
        text = redactor.clean(text)
    return text
