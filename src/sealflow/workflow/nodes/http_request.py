"""http-request: one HTTP request, with references anywhere in its config."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, cast
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, Field, SecretStr
from yarl import URL

from sealflow.errors import HostNotAllowedError, NodeConfigError, SealflowError, WorkflowError
from sealflow.model import times
from sealflow.workflow.destination import check_destination
from sealflow.workflow.node import BaseNode, NodeContext, Outputs, Retry
from sealflow.workflow.node_config import NodeConfig
from sealflow.workflow.nodes.http_auth import (
    Auth,
    MaskedText,
    NoAuth,
    as_text,
    auth_headers,
    basic,
    spelled_out,
)
from sealflow.workflow.nodes.http_client import NetworkError, Request, Response, Transport, send

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_NOT_FROM_INPUT = {"host", "content-length", "transfer-encoding", "connection"}


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


Method = Annotated[
    Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"], BeforeValidator(_upper)
]


class HttpRequestConfig(NodeConfig):
    """docs/reference/http-request.md describes each field. Times are seconds, sizes bytes."""

    url: SecretStr | None = None
    method: Method = "GET"
    query: dict[str, MaskedText | list[MaskedText] | None] = Field(default_factory=dict)
    headers: dict[str, MaskedText] = Field(default_factory=dict)
    auth: Auth = Field(default_factory=lambda: NoAuth(type="none"))
    body: Any = Field(default=None, repr=False)
    body_type: Literal["json", "form", "text", "raw"] | None = None
    timeout: float = Field(default=30, gt=0, le=3600)
    follow_redirects: bool = True
    max_redirects: int = Field(default=10, ge=0, le=50)
    max_response_bytes: int = Field(default=10 << 20, gt=0, le=1 << 30)
    verify_tls: bool = True
    ca_file: str | None = None
    proxy: SecretStr | None = None
    insecure_http: bool = False
    retry_statuses: list[int] = Field(default_factory=lambda: [429, 502, 503, 504])


class HttpRequestNode(BaseNode):
    """Gives ``{status_code, headers, body, request}`` on ``output``, or ``{type, message, request}`` on ``error``."""

    type_name: ClassVar[str] = "http-request"
    inputs: ClassVar[tuple[str, ...]] = ("input", "url", "headers", "query", "body")
    outputs: ClassVar[tuple[str, ...]] = ("output", "error")
    Config: ClassVar[type[BaseModel]] = HttpRequestConfig

    @classmethod
    def prepare(cls, config: dict[str, Any]) -> dict[str, Any]:
        if "auth" in config:
            config["auth"] = spelled_out(config["auth"])
        return config

    async def process(self, context: NodeContext, config: HttpRequestConfig) -> Outputs:
        # Errors leave without the frames below: their locals hold the request as it is sent, and a traceback printer
        # that shows locals would show it. What stands in this frame is masked.
        parts = _input_parts(context)
        problem: SealflowError | NetworkError | None = None
        try:
            request = _request(config, parts, context)
        except SealflowError as error:
            problem = error.with_traceback(None)
        if problem is not None:
            raise problem
        started = times.to_text(times.now())
        transport = self._transport(context, config, request, url_from_input="url" in parts)
        session = context.resources.get("http", _Session).session
        try:
            async with asyncio.timeout(config.timeout):
                response = await send(session, request, transport)
        except TimeoutError:
            problem = NetworkError("TimeoutError", f"no answer within {config.timeout:g} seconds")
        except Exception as error:  # noqa: BLE001 - told apart by _network_error
            problem = _network_error(error)
        if isinstance(problem, SealflowError):
            if isinstance(problem, HostNotAllowedError):
                context.note_denied(problem)
            raise problem
        if problem is not None:
            failure = {"type": problem.kind, "message": str(problem)}
            raise Retry(Outputs(error={**failure, "request": _described(request, started)}))
        if response.status in config.retry_statuses:
            raise Retry(_answered(response, request, started), _retry_after(response.headers))
        return _answered(response, request, started)

    @staticmethod
    def _transport(
        context: NodeContext, config: HttpRequestConfig, written: Request, *, url_from_input: bool
    ) -> Transport:
        def check(hop: Request) -> None:
            host, port = hop.url.host or "", hop.url.port or 0
            check_destination(
                context.uses,
                context.carried(hop.text, host, port),
                hop.url,
                url_from_input=url_from_input,
                insecure_http=config.insecure_http,
                proxied=config.proxy is not None,
            )
            if hop is written:  # where a redirect leads, they do not go
                context.note_sent(host, port)

        return Transport(
            check,
            context.holds_secret,
            config.follow_redirects,
            config.max_redirects,
            config.max_response_bytes,
            _tls(config),
            config.proxy.get_secret_value() if config.proxy is not None else None,
        )


class _Session:
    """The HTTP session that the nodes of one execution share: connections, and no cookies."""

    def __init__(self) -> None:
        import aiohttp

        from sealflow import __version__

        self.session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"User-Agent": f"sealflow/{__version__}"},
            trust_env=False,
        )

    async def close(self) -> None:
        await self.session.close()


def _input_parts(context: NodeContext) -> dict[str, Any]:
    """Return the parts of the request that input data gives: from ``input``, then from the port of each part.

    The response of another http-request (it has a status_code) on ``input`` says when to run, not what to send.
    """
    data = context.input
    parts: dict[str, Any] = {}
    if isinstance(data, Mapping) and "status_code" not in data:
        parts = {key: data[key] for key in ("url", "headers", "query", "body") if key in data}
    parts.update({port: data for port, data in context.inputs.items() if port != "input"})
    kinds: dict[str, tuple[type | tuple[type, ...], str]] = {
        "url": (str, "a text"),
        "headers": (Mapping, "a mapping"),
        "query": (Mapping, "a mapping"),
    }
    for key, (kind, said) in kinds.items():
        if key in parts and not isinstance(parts[key], kind):
            raise WorkflowError(
                f"the {key} that came from input data is not {said}",
                hint="Look at what is linked to it",
                path=key,
            )
    return parts


def _request(config: HttpRequestConfig, parts: dict[str, Any], context: NodeContext) -> Request:
    """Put the request together: config, then input data, then credentials; a reference wins over both."""
    if "url" not in parts and config.url is None:
        raise NodeConfigError(
            "the request has no url", hint="Give url in the config or on the port url", path="url"
        )
    url = _url(parts["url"] if "url" in parts else cast("SecretStr", config.url).get_secret_value())
    headers = _Headers()
    for name, value in config.headers.items():
        headers.put(name, value.get_secret_value(), secret=_referenced(context, f"headers.{name}"))
    for name, given in parts.get("headers", {}).items():
        if str(name).lower() not in _NOT_FROM_INPUT:
            headers.put(str(name), str(as_text(given)), secret=False)
    auth_is_secret = any(path.startswith("auth") for path in context.referenced)
    for name, credential in auth_headers(config.auth).items():
        headers.put(name, credential, secret=auth_is_secret, wins=True)
    if url.user is not None:
        pair = basic(SecretStr(url.user), SecretStr(url.password or ""))
        headers.put("Authorization", pair, secret=_referenced(context, "url"))
        url = url.with_user(None)
    body, content_type = _body(parts.get("body", config.body), config.body_type)
    if content_type is not None and "content-type" not in headers.values:
        headers.put("Content-Type", content_type, secret=False)
    for _, sent, secret in headers.values.values():
        if secret:
            context.learn(sent)  # a Basic header has its own encoding of two values at once
    secret_names = frozenset(name for name, item in headers.values.items() if item[2])
    return Request(
        config.method, _with_query(url, config, parts, context), headers.plain(), body, secret_names
    )


class _Headers:
    """Headers by their names in lower case: (name as written, value, whether a reference gave it)."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[str, str, bool]] = {}

    def put(self, name: str, value: str, *, secret: bool, wins: bool = False) -> None:
        """Set a header; one that a reference gave stays, unless another reference has the last word."""
        if not _HEADER_NAME.fullmatch(name):
            raise NodeConfigError(
                "a header's name holds a character that HTTP does not allow",
                hint="Correct it",
                path="headers",
            )
        if any(char in value for char in "\r\n\0"):
            raise NodeConfigError(
                "a header's value holds a line break or NUL",
                hint="Remove it; a key of several lines cannot stand in a header",
                path=f"headers.{name}",
            )
        old = self.values.get(name.lower())
        if old is not None and old[2] and not (secret and wins):
            return
        self.values[name.lower()] = (name, value, secret)

    def plain(self) -> dict[str, str]:
        return {name: value for name, value, _ in self.values.values()}


def _referenced(context: NodeContext, path: str) -> bool:
    return any(item == path or item.startswith((path + ".", path + "[")) for item in context.referenced)


def _url(text: str) -> URL:
    problem = None
    try:
        url = URL(text.strip())
        if url.scheme not in ("http", "https"):
            problem = "is not http or https"
        elif not url.host:
            problem = "has no host"
        elif "\\" in text or any(ord(char) < 32 for char in text.strip()):
            problem = "holds a character that cannot stand in a url"
    except ValueError:
        problem = "cannot be understood"
    if problem is not None:
        raise NodeConfigError(f"the url {problem}", hint="Write https://host/path", path="url")
    return url


def _with_query(url: URL, config: HttpRequestConfig, parts: dict[str, Any], context: NodeContext) -> URL:
    query: dict[str, list[str]] = {}
    for name, value in config.query.items():
        if value is not None:
            items = value if isinstance(value, list) else [value]
            query[name] = [item.get_secret_value() for item in items]
    for name, given in parts.get("query", {}).items():
        if not _referenced(context, f"query.{name}"):
            query[str(name)] = [
                str(as_text(item))
                for item in (given if isinstance(given, list) else [given])
                if item is not None
            ]
    pairs = [(name, item) for name, items in query.items() for item in items]
    return url.extend_query(pairs) if pairs else url


def _body(content: Any, kind: str | None) -> tuple[bytes | None, str | None]:
    """Return the bytes to send and their content type."""
    if content is None:
        return None, None
    if kind is None:
        kind = "text" if isinstance(content, str) else "raw" if isinstance(content, bytes) else "json"
    if kind == "json":
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass"), "application/json"
    if kind == "form":
        if not isinstance(content, Mapping):
            raise NodeConfigError("a body of type form is a mapping", hint="Give {field: value}", path="body")
        pairs = {
            name: [as_text(item) for item in value] if isinstance(value, list) else as_text(value)
            for name, value in content.items()
        }
        return urlencode(pairs, doseq=True).encode(), "application/x-www-form-urlencoded"
    if isinstance(content, bytes):
        return content, "application/octet-stream"
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return text.encode(
        "utf-8", "surrogatepass"
    ), "text/plain; charset=utf-8" if kind == "text" else "application/octet-stream"


def _tls(config: HttpRequestConfig) -> ssl.SSLContext | bool:
    if not config.verify_tls:
        return False
    if config.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=config.ca_file)
    except (OSError, ssl.SSLError):
        pass
    raise NodeConfigError(
        "ca_file cannot be read as PEM certificates", hint="Correct the path", path="ca_file"
    )


def _described(request: Request, started: str) -> dict[str, str]:
    return {"url": str(request.url), "method": request.method, "timestamp": started}


def _answered(response: Response, request: Request, started: str) -> Outputs:
    return Outputs(
        output={
            "status_code": response.status,
            "headers": response.headers,
            "body": response.body,
            "request": _described(request, started),
        }
    )


def _network_error(error: Exception) -> NetworkError | SealflowError:
    """Return what the error port says, without a text of the library's, which may hold a header or a url; or our error.

    Others, a mistake of the library's or of ours, are named by type alone.
    """
    import aiohttp

    if isinstance(error, NetworkError | SealflowError):
        return error.with_traceback(None)
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return NetworkError("TLSError", f"the server's certificate or TLS cannot be trusted ({error.host})")
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return NetworkError("ProxyError", "the proxy cannot be reached or refused")
    if isinstance(error, aiohttp.ClientConnectorError):
        return NetworkError(
            "ConnectionError", f"cannot connect to {error.host}:{error.port} ({error.os_error.strerror})"
        )
    if isinstance(error, aiohttp.ClientError | OSError):
        return NetworkError("ConnectionError", f"the connection broke ({type(error).__name__})")
    return NetworkError("RequestError", f"the request could not be made ({type(error).__name__})")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header; a date there is left to the back-off."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return float(value) if value.isascii() and value.isdigit() else None
