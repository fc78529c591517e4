"""Sending one HTTP request: each hop is checked before it is made, and redirects carry no secret elsewhere."""

from __future__ import annotations

import json
import math
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn
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
_STAYS_AT_ITS_ORIGIN = {"authorization", "cookie", "proxy-authorization", "host"}
_REDIRECTS = {301, 302, 303, 307, 308}
_SPACE = re.compile(r"\s")
_NOT_IN_URLS = re.compile(r"[\x00-\x1f\x7f\\]")
_AUTHORITY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//([^/?#]*)")


class NetworkError(Exception):
    """No response, or none that can be used; ``kind`` goes to the error port as its type."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(slots=True)
class Request:
    """A request as it will be sent.

    ``headers``: by their names as given. ``private_headers``: names, in lower case, of those that hold a secret or
    came from ``auth``. ``body_is_secret``: the config put a secret into the body. ``data_names``: names of headers,
    query parameters and form fields that data chose. ``data_url``: the url as data wrote it, because a host is sent in
    lower case. ``from_server``: a redirect chose the host. ``left_origin``: a redirect led to another origin, so nothing
    that the config filled from a secret is in the request any more; it does not come back with a redirect to the first origin.
    """

    method: str
    url: URL = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    private_headers: frozenset[str] = frozenset()
    body_is_secret: bool = False
    data_names: tuple[str, ...] = field(default=(), repr=False)
    data_url: str = field(default="", repr=False)
    from_server: bool = False
    left_origin: bool = False

    def text(self) -> str:
        """Return all that is sent, names included, to be searched for values; the url also as it reads decoded."""
        body = (self.body or b"").decode("utf-8", "surrogateescape")
        url = str(self.url)
        return "\n".join(
            (
                url,
                unquote(url),
                self.url.query_string,
                self.data_url,
                *self.headers,
                *self.headers.values(),
                body,
            )
        )


@dataclass(slots=True)
class Transport:
    """How requests are sent.

    ``admit(request)`` returns the session for a hop, or raises if the hop is not allowed; ``holds_secret`` finds
    values in a string. ``middlewares``: answer the challenges of the first origin.
    """

    admit: Callable[[Request], aiohttp.ClientSession]
    holds_secret: Callable[[str], bool]
    follow_redirects: bool
    max_redirects: int
    max_bytes: int
    tls: ssl.SSLContext | bool
    proxy: URL | None = field(repr=False)
    middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = field(default=(), repr=False)


@dataclass(slots=True)
class Response:
    """An answer. ``url``: where it came from, behind all redirects. ``size``: the body's bytes, decompressed."""

    status: int
    headers: dict[str, str] = field(repr=False)
    body: Any = field(repr=False)
    url: URL = field(repr=False)
    size: int


async def send(request: Request, transport: Transport) -> Response:
    """Send, follow redirects, read the body up to the limit.

    Raises NetworkError, and HostNotAllowedError before anything goes to a host that is not allowed.
    """
    for _ in range(transport.max_redirects + 1):
        async with transport.admit(request).request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            skip_auto_headers=("Content-Type",),
            allow_redirects=False,
            ssl=transport.tls,
            proxy=transport.proxy,
            middlewares=() if request.left_origin else transport.middlewares,
        ) as response:
            location = response.headers.get("Location") if response.status in _REDIRECTS else None
            if location is None or not transport.follow_redirects:
                return await _read(response, request.url, transport.max_bytes)
            request = redirected(request, response.status, location, transport.holds_secret)
    raise NetworkError("TooManyRedirects", f"the server redirected more than {transport.max_redirects} times")


def read_url(text: str, base: URL | None = None) -> URL:
    """Return an absolute http or https url, relative to ``base`` if that is given. Raises ValueError, saying what is wrong.

    Only spellings that every parser reads alike are accepted: a browser takes a backslash for a slash and drops line
    breaks, and some resolvers decode a percent sign in a host.
    """
    text = text.strip(" \t\r\n")
    if _NOT_IN_URLS.search(text):
        raise ValueError("has a character that is not allowed in a url")
    authority = _AUTHORITY.match(text)
    if authority is not None:
        _check_host(authority[1].rpartition("@")[2])
    try:
        url = URL(text) if base is None else base.join(URL(text))
        port = url.port
    except ValueError:
        raise ValueError("cannot be parsed") from None
    if url.scheme not in ("http", "https"):
        raise ValueError("is not http or https")
    if not url.raw_host or not port:
        raise ValueError("has no host" if not url.raw_host else "has a port that cannot be used")
    return url


def _check_host(host: str) -> None:
    """Refuse what some parsers read as another host or port: ``host`` is what is between userinfo and path."""
    if not host:
        raise ValueError("has no host")
    _, colon, port = host.rpartition(":")
    if "%" in host or _SPACE.search(host) or (colon and not port.isascii()):
        raise ValueError("has a character in its host or port that is not allowed there")


def redirected(request: Request, status: int, location: str, holds_secret: Callable[[str], bool]) -> Request:
    """Return the request that follows a redirect (RFC 9110, 15.4).

    To another origin go no header and no body with a secret, whatever its length, and no inline credential. The
    query of a redirect is the server's own: sealflow adds nothing to it.
    """
    try:
        url = read_url(location, request.url)
    except ValueError:
        url = None
    if url is None or url.user is not None or url.password is not None:  # RFC 9110, 4.2.4
        raise NetworkError(
            "InvalidRedirect", "the server redirected to something that is not a usable address"
        )
    url = url.with_fragment(None)
    method, body, headers = request.method, request.body, dict(request.headers)
    if status == 303 or (status in (301, 302) and method == "POST"):
        method = method if method == "HEAD" else "GET"
        body = None
        headers = {name: value for name, value in headers.items() if not name.lower().startswith("content-")}
    leaves = origin(url) != origin(request.url)
    if leaves:
        headers = {
            name: value
            for name, value in headers.items()
            if name.lower() not in _STAYS_AT_ITS_ORIGIN | request.private_headers and not holds_secret(value)
        }
        if body is not None and (
            request.body_is_secret or holds_secret(body.decode("utf-8", "surrogateescape"))
        ):
            raise HostNotAllowedError(
                f"the server redirected a body with a secret to another origin ({url.origin()})",
                hint="Write that address into the config if it is right",
            )
        if any(map(holds_secret, (location, str(url), unquote(str(url)), url.query_string))):
            raise HostNotAllowedError(
                "the server redirected to another origin with a secret in the address",
                hint="Do not trust this server",
            )
    return Request(
        method,
        url,
        headers,
        body,
        request.private_headers,
        request.body_is_secret,
        from_server=request.from_server or url.raw_host != request.url.raw_host,
        left_origin=request.left_origin or leaves,
    )


def origin(url: URL) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port. The ASCII host, so that a host in another spelling is another origin; and http is another origin than https."""
    return url.scheme, url.raw_host, url.port


async def _read(response: aiohttp.ClientResponse, url: URL, limit: int) -> Response:
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
        url,
        size,
    )


def parsed_body(content: bytes, content_type: str, charset: str | None) -> Any:
    """Return data for JSON, str for text, None for nothing, and bytes for anything else.

    What says that it is JSON and cannot be parsed stays a str: broken JSON, NaN and Infinity, numbers beyond a float's
    range, integers of more digits than Python converts (4,300), and nesting beyond Python's recursion limit.
    """
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
    except (LookupError, ValueError):
        text = content.decode("utf-8", "replace")
    if _JSON.match(content_type):
        try:
            return json.loads(text, parse_float=_finite, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return text
    return text


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
