"""http-request: one HTTP request, with references anywhere in its config."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, Field, SecretStr
from yarl import URL

from sealflow.errors import NodeConfigError, PolicyError, SealflowError, attempt
from sealflow.model import times
from sealflow.model.places import find_references
from sealflow.workflow.data import find_data
from sealflow.workflow.destination import Hop, check_hop, check_names
from sealflow.workflow.node import BaseNode, NodeContext, Outputs, Retry
from sealflow.workflow.node_config import NodeConfig
from sealflow.workflow.nodes.http_auth import Auth, MaskedText, NoAuth, basic, spelled_out
from sealflow.workflow.nodes.http_client import NetworkError, Request, Response, Transport, send
from sealflow.workflow.nodes.http_compose import Composed, checked_url, compose
from sealflow.workflow.nodes.http_digest import digest_middlewares
from sealflow.workflow.nodes.http_expect import DEFAULT_EXPECT, Expect, is_expected, spelled
from sealflow.workflow.nodes.http_files import FilePart
from sealflow.workflow.nodes.http_input import check_error_is_used, input_parts, url_is_data
from sealflow.workflow.nodes.http_pages import Pages, Paginate
from sealflow.workflow.nodes.http_shown import shown_url

if TYPE_CHECKING:
    import aiohttp

    from sealflow.workflow.nodes.http_session import Sessions


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
    body_type: Literal["json", "form", "multipart", "text", "raw"] | None = None
    body_file: str | None = None
    files: dict[str, FilePart] = Field(default_factory=dict)
    timeout: float = Field(default=30, gt=0, le=3600)
    follow_redirects: bool = True
    max_redirects: int = Field(default=10, ge=0, le=50)
    max_response_bytes: int = Field(default=10 << 20, gt=0, le=1 << 30)
    verify_tls: bool = True
    ca_file: str | None = None
    proxy: SecretStr | None = None
    insecure_http: bool = False
    expect: Expect = Field(default_factory=lambda: [*DEFAULT_EXPECT])
    paginate: Paginate | None = None
    retry_statuses: list[int] = Field(default_factory=lambda: [429, 502, 503, 504])


class HttpRequestNode(BaseNode):
    """Gives ``{status_code, headers, body, request}`` on ``output``, or ``{type, message, request, response}`` on ``error``."""

    type_name: ClassVar[str] = "http-request"
    inputs: ClassVar[tuple[str, ...]] = ("input", "url", "headers", "query", "body")
    outputs: ClassVar[tuple[str, ...]] = ("output", "error")
    Config: ClassVar[type[BaseModel]] = HttpRequestConfig
    url_fields: ClassVar[tuple[str, ...]] = ("url",)
    no_data: ClassVar[tuple[str, ...]] = (
        "expect", "paginate", "files", "body_file",
        "auth.type", "auth.header", "auth.secret", "proxy", "ca_file", "verify_tls", "insecure_http",
    )  # fmt: skip
    trusted_fields: ClassVar[tuple[str, ...]] = (
        "proxy",
        "ca_file",
        "verify_tls",
        "insecure_http",
        "files",
        "body_file",
    )

    @classmethod
    def prepare(cls, config: dict[str, Any]) -> dict[str, Any]:
        if "auth" in config:
            config["auth"] = spelled_out(config["auth"])
            _check_auth_names(config["auth"])
        for field in ("expect", "paginate", "files", "body_file"):
            found = find_references(config.get(field))
            if found:
                raise NodeConfigError(
                    f"{field} cannot contain references",
                    hint="Write the value into the config",
                    path=f"{field}.{found[0].path}".rstrip("."),
                )
        return config

    async def process(self, context: NodeContext, config: HttpRequestConfig) -> Outputs:
        # Errors leave without the frames below: their locals hold the request as it is sent, and a traceback printer
        # that shows locals would show it. The locals of this frame are masked.
        started = times.to_text(times.now())
        made, problem = attempt(Exception, self._prepared_request, context, config)
        if made is None:
            raise _unsendable(problem)
        composed, transport, pages = made
        url = shown_url(composed.shown, context.masked)
        described = {"url": url, "method": config.method, "timestamp": started}
        request = composed.request if pages is None else pages.first_request()
        while True:
            response = await self._answer(context, config, request, transport, described)
            if pages is None or not is_expected(response.status, config.expect):
                return _answered(response, described, config.expect)
            following, problem = attempt(Exception, pages.next_request, response)
            if isinstance(problem, NetworkError):
                return _unanswered(problem, described)
            if problem is not None:
                raise _unsendable(problem)
            if following is None:
                return _all_pages(response, described, pages)
            request = following

    async def _answer(
        self,
        context: NodeContext,
        config: HttpRequestConfig,
        request: Request,
        transport: Transport,
        described: dict[str, str],
    ) -> Response:
        """Return the answer to one request. Raises Retry with the outputs for what may be different next time."""
        response, failure = await _attempt_send(request, transport, seconds=config.timeout)
        if isinstance(failure, PolicyError):
            context.note_denied(failure)
        if isinstance(failure, SealflowError):
            raise failure
        if response is None:
            assert failure is not None
            raise Retry(_unanswered(failure, described))
        if response.status in config.retry_statuses:
            raise Retry(_answered(response, described, config.expect), _retry_after(response.headers))
        return response

    def _prepared_request(
        self, context: NodeContext, config: HttpRequestConfig
    ) -> tuple[Composed, Transport, Pages | None]:
        is_condition = self.flow.when is not None
        parts = input_parts(context, is_condition=is_condition)
        check_error_is_used(context, config, parts, is_condition=is_condition)
        composed = compose(config, parts, context, self._written.get("url"), self.folder)
        pages = None
        if config.paginate is not None:
            pages = Pages(config.paginate, composed, config.max_response_bytes)
        return composed, _transport(context, config, url_from_input=url_is_data(context, parts)), pages


def _check_auth_names(auth: Any) -> None:
    """Refuse headers of ``auth`` that data gives as a whole: it would choose the names that carry credentials."""
    if isinstance(auth, Mapping) and isinstance(auth.get("headers"), str) and find_data(auth["headers"]):
        raise NodeConfigError(
            "data cannot choose the names of the headers in auth",
            hint="Write the names into the config, and data into their values",
            path="auth.headers",
        )


def _transport(context: NodeContext, config: HttpRequestConfig, *, url_from_input: bool) -> Transport:
    proxy = None if config.proxy is None else _proxy(config.proxy, context)
    others = tuple(field for field in HttpRequestConfig.model_fields if field != "proxy")
    config_uses = context.uses if proxy is None else context.uses_in(*others)
    staying_uses = context.uses_in("method", "body_type")
    """The secrets that a redirect to another origin does not take out of the request."""
    proxy_uses = () if proxy is None else context.uses_in("proxy")

    def admit(request: Request) -> aiohttp.ClientSession:
        uses = staying_uses if request.left_origin else config_uses
        hop = Hop(
            request.url,
            proxy,
            config.verify_tls,
            config.insecure_http,
            next((value for name, value in request.headers.items() if name.lower() == "host"), None),
            url_from_input,
            request.from_server or (request.left_origin and bool(config_uses)),
        )
        if request.data_names:
            check_names(context.carried(lambda: "\n".join(request.data_names), "names", ()))
        guard = check_hop(hop, uses, context.carried(request.text, hop.key, uses), proxy_uses)
        if not request.left_origin:  # a redirect to another origin carries none of them
            context.note_sent(hop.key, uses)
        return context.resources.get("http", _sessions).get(guard)

    return Transport(
        admit,
        context.holds_secret,
        config.follow_redirects,
        config.max_redirects,
        config.max_response_bytes,
        _tls(config),
        proxy,
        digest_middlewares(config.auth, context.learn),
    )


async def _attempt_send(
    request: Request, transport: Transport, *, seconds: float
) -> tuple[Response, None] | tuple[None, NetworkError | SealflowError]:
    try:
        async with asyncio.timeout(seconds):
            return await send(request, transport), None
    except TimeoutError:
        return None, NetworkError("TimeoutError", f"no answer within {seconds:g} seconds")
    except Exception as error:  # noqa: BLE001 - told apart by _network_error
        return None, _network_error(error)


def _sessions() -> Sessions:
    from sealflow.workflow.nodes.http_session import Sessions  # it imports aiohttp

    return Sessions()


def _unsendable(error: Exception | None) -> Exception:
    """Return our own error as it is; of others only the type, because their message may repeat a value."""
    if isinstance(error, SealflowError):
        return error
    return NodeConfigError(
        f"the request cannot be put together ({type(error).__name__})",
        hint="Look at the config and at the data that is linked to this node",
    )


def _proxy(written: SecretStr, context: NodeContext) -> URL:
    """Return the proxy's url, with its credentials."""
    url = checked_url(written.get_secret_value(), "proxy")
    if url.user is not None or url.password is not None:
        context.learn(basic(SecretStr(url.user or ""), SecretStr(url.password or "")))
    return url


def _tls(config: HttpRequestConfig) -> ssl.SSLContext | bool:
    if not config.verify_tls:
        return False
    if config.ca_file is None:
        return True
    context, _ = attempt((OSError, ssl.SSLError), lambda: ssl.create_default_context(cafile=config.ca_file))
    if context is None:
        raise NodeConfigError(
            "ca_file cannot be read as PEM certificates", hint="Correct the path", path="ca_file"
        )
    return context


def _answered(response: Response, described: dict[str, str], expect: Expect) -> Outputs:
    answer = {"status_code": response.status, "headers": response.headers, "body": response.body}
    if is_expected(response.status, expect):
        return Outputs(output={**answer, "request": described})
    return Outputs(
        error={
            "type": "UnexpectedStatus",
            "message": f"the server answered {response.status}; expected: {spelled(expect)}",
            "request": described,
            "response": answer,
        }
    )


def _unanswered(failure: NetworkError, described: dict[str, str]) -> Outputs:
    return Outputs(error={"type": failure.kind, "message": str(failure), "request": described})


def _all_pages(last: Response, described: dict[str, str], pages: Pages) -> Outputs:
    answer = {"status_code": last.status, "headers": last.headers, **pages.result(), "request": described}
    return Outputs(output=answer)


def _network_error(error: Exception) -> NetworkError | SealflowError:
    """Return what the error port says, or our own error.

    The library's messages are not repeated, because they may hold a header or a url. Other errors are internal ones,
    named by type alone.
    """
    import aiohttp

    if isinstance(error, NetworkError | SealflowError):
        return error.with_traceback(None)
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return NetworkError("TLSError", f"the server's certificate or TLS cannot be trusted ({error.host})")
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return NetworkError("ProxyError", "the proxy cannot be reached or refused the request")
    if isinstance(error, aiohttp.ClientConnectorError):
        return NetworkError(
            "ConnectionError", f"cannot connect to {error.host}:{error.port} ({error.os_error.strerror})"
        )
    if isinstance(error, aiohttp.ClientError | OSError):
        return NetworkError("ConnectionError", f"the connection broke ({type(error).__name__})")
    return NetworkError("RequestError", f"the request could not be made ({type(error).__name__})")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header. A date there is left to the back-off."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return float(value) if value.isascii() and value.isdigit() else None
