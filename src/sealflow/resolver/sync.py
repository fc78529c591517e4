"""The synchronous door: resolving from scripts, Flask, Django and notebooks.

One event loop, in a thread of its own, serves all synchronous calls of a process, so that they also work where a
loop is running already. The calling thread waits: in asynchronous code use ``await Resolver.resolve`` instead.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_pid = 0


def run_sync(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end in the loop of the synchronous calls and return its result, or raise its error."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _own_loop())
    try:
        return future.result()
    finally:
        future.cancel()  # the caller was interrupted: nobody waits for the answer any more


def _own_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, started when it is first needed, and again in a forked process: threads do not survive a fork."""
    global _loop, _pid
    with _lock:
        if _loop is None or _pid != os.getpid():
            _loop, _pid = asyncio.new_event_loop(), os.getpid()
            threading.Thread(target=_loop.run_forever, name="sealflow-sync", daemon=True).start()
        return _loop


def _forget_lock() -> None:
    """Replace a lock that another thread held at the fork."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)
