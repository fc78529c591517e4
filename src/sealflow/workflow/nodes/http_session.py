"""The HTTP sessions that the nodes of one execution share, and the resolver that checks what a name means."""

from __future__ import annotations

import socket

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver

from sealflow import __version__
from sealflow.workflow.destination import check_address

Guard = frozenset[str] | None


class CheckedResolver(ThreadedResolver):
    """Resolves names, and refuses an answer with an address that the name may not mean (``destination.check_address``).

    A session connects only to what its resolver returned, and keeps its own connections and DNS cache, so the address
    that was checked is the one that is connected to.
    """

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answers = await super().resolve(host, port, family)
        for answer in answers:
            check_address(host, answer["host"], self._guard)
        return answers


class Sessions:
    """One session for each guard: connections are kept, cookies are not."""

    def __init__(self) -> None:
        self._sessions: dict[Guard, aiohttp.ClientSession] = {}

    def get(self, guard: Guard) -> aiohttp.ClientSession:
        """Return the session whose connections were all checked with ``guard``."""
        if guard not in self._sessions:
            self._sessions[guard] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=CheckedResolver(guard)),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"User-Agent": f"sealflow/{__version__}"},
                trust_env=False,
            )
        return self._sessions[guard]

    async def close(self) -> None:
        """Close all sessions."""
        while self._sessions:
            await self._sessions.popitem()[1].close()
