"""Running a synchronous SDK beside the event loop: a pool of threads for each provider, with its logs withheld."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sealflow.logs import withheld_sdk_logs

_T = TypeVar("_T")


class SdkThreads:
    """At most ``size`` calls at a time. A call that outlives its caller's deadline ends at the SDK's own deadline."""

    def __init__(self, name: str, size: int) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=f"sealflow-{name}")

    async def run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, _quietly, work)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _quietly(work: Callable[[], _T]) -> _T:
    with withheld_sdk_logs():
        return work()
