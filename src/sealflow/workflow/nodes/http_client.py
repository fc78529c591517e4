"""Sending one HTTP request: each hop is checked before it is made, and redirects carry no secret elsewhere."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from yarl import URL

from sealflow.errors import HostNotAllowedError

if TYPE_CHECKING:
    import aiohttp

_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json", re.IGNORECASE)
_TEXT = re.compile(
    r"text/|application/(?:[\w.+-]+\+)?xml|application/(?:javascript|x-www-form-urlencoded|yaml)",
    re.IGNORECASE,
)
_CREDENTIAL_HEADERS = {"authorization", "cookie", "proxy-authorization"}
_REDIRECTS = {301, 302, 303, 307, 308}


class NetworkError(Exception):
    """No response, or none that can be used; ``kind`` goes to the error port as its type."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(slots=True)
class Request:
    """A request as it will be sent; ``headers`` by their names as given."""

    method: str
    url: URL = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    secret_headers: frozenset[str] = frozenset()

    def text(self) -> str:
        """Return all that is sent, the url also as it reads decoded, to be searched for values."""
        body = (self.body or b"").decode("utf-8", "surrogateescape")
        return "\n".join((str(self.url), unquote(str(self.url)), *self.headers.values(), body))


@dataclass(slots=True)
class Transport:
    """How requests are sent. ``check(request)`` raises when a hop is not allowed; ``holds_secret`` finds values in text."""

    check: Callable[[Request], None]
    holds_secret: Callable[[str], bool]
    follow_redirects: bool
    max_redirects: int
    max_bytes: int
    tls: ssl.SSLContext | bool
    proxy: str | None = field(repr=False)


@dataclass(slots=True)
class Response:
    status: int
    headers: dict[str, str] = field(repr=False)
    body: Any = field(repr=False)


async def send(session: aiohttp.ClientSession, request: Request, transport: Transport) -> Response:
    """Send, follow redirects, read the body up to the limit.

    Raises NetworkError, and HostNotAllowedError before anything goes to a host that is not allowed.
    """
    for _ in range(transport.max_redirects + 1):
        transport.check(request)
        async with session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
            ssl=transport.tls,
            proxy=transport.proxy,
        ) as response:
            location = response.headers.get("Location") if response.status in _REDIRECTS else None
            if location is None or not transport.follow_redirects:
                return await _read(response, transport.max_bytes)
            request = redirected(request, response.status, location, transport.holds_secret)
    raise NetworkError("TooManyRedirects", f"the server redirected more than {transport.max_redirects} times")


def redirected(request: Request, status: int, location: str, holds_secret: Callable[[str], bool]) -> Request:
    """Return the request that follows a redirect (RFC 9110, 15.4).

    To another origin no header, query or body goes that holds a secret, and no inline credential either.
    """
    try:
        url = request.url.join(URL(location))
    except ValueError:
        url = None
    if url is None or url.scheme not in ("http", "https") or not url.host:
        raise NetworkError("InvalidRedirect", "the server redirected to something that is no http address")
    method, body, headers = request.method, request.body, dict(request.headers)
    if status == 303 or (status in (301, 302) and method == "POST"):
        method = method if method == "HEAD" else "GET"
        body = None
        headers = {name: value for name, value in headers.items() if not name.lower().startswith("content-")}
    if url.origin() != request.url.origin():
        headers = {
            name: value
            for name, value in headers.items()
            if name.lower() not in _CREDENTIAL_HEADERS | request.secret_headers and not holds_secret(value)
        }
        if body is not None and holds_secret(body.decode("utf-8", "surrogateescape")):
            raise HostNotAllowedError(
                f"the server redirected a body with a secret to another origin ({url.origin()})",
                hint="Write that address into the config if it is right",
            )
        if holds_secret(str(url)) or holds_secret(unquote(str(url))):
            raise HostNotAllowedError(
                "the server redirected to another origin with a secret in the address",
                hint="Do not trust this server",
            )
    return Request(method, url.with_user(None), headers, body, request.secret_headers)


async def _read(response: aiohttp.ClientResponse, limit: int) -> Response:
    chunks, size = [], 0
    async for chunk in response.content.iter_chunked(1 << 16):
        size += len(chunk)
        if size > limit:
            raise NetworkError(
                "ResponseTooLarge", f"the response is larger than {limit} bytes (max_response_bytes)"
            )
        chunks.append(chunk)
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Response(
        response.status,
        headers,
        parsed_body(b"".join(chunks), response.headers.get("Content-Type", ""), response.charset),
    )


def parsed_body(content: bytes, content_type: str, charset: str | None) -> Any:
    """Return data for JSON, str for text, None for nothing, bytes for all else; JSON that is none stays text."""
    if not content:
        return None
    if not content_type:
        try:
            return content.decode()
        except UnicodeDecodeError:
            return content
    if _JSON.match(content_type) is None and _TEXT.match(content_type) is None:
        return content
    try:
        text = content.decode(charset or "utf-8", "replace")
    except LookupError:
        text = content.decode("utf-8", "replace")
    if _JSON.match(content_type):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text
