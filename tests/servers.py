"""A real HTTP server on a free loopback port, in a thread, that records what it is asked."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self

from aiohttp import web


class Seen(NamedTuple):
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: str
    target: str


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """Answers with what it got as JSON, or as the handler set for a path answers."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.handlers: dict[str, Handler] = {}
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def on(self, path: str, handler: Handler) -> None:
        self.handlers[path] = handler

    def answer(self, path: str, **response: object) -> None:
        async def handler(_: web.Request) -> web.Response:
            return web.Response(**response)

        self.on(path, handler)

    def at(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path == path]

    async def _start(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        """Stop, and end the handlers that still wait: a task that the loop leaves pending complains when it is collected."""
        await self._runner.cleanup()
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode("utf-8", "replace")
        query: dict[str, list[str]] = {}
        for name, value in request.query.items():
            query.setdefault(name, []).append(value)
        seen = Seen(request.method, request.path, query, dict(request.headers), body, request.raw_path)
        self.seen.append(seen)
        if request.path in self.handlers:
            return await self.handlers[request.path](request)
        return web.json_response(seen._asdict())


class RawServer:
    """Speaks no protocol: records every byte that it is sent, and answers each connection with fixed bytes."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.received = bytearray()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def port(self) -> int:
        return self._server.sockets[0].getsockname()[1]

    @property
    def text(self) -> str:
        return self.received.decode("latin-1")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.received += head
            writer.write(self.answer)
            await writer.drain()
            while more := await asyncio.wait_for(reader.read(1 << 16), 0.5):
                self.received += more
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            writer.close()
