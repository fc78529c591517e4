"""Putting an HTTP request together: config, then input data, then credentials; a reference wins over all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import SecretStr
from yarl import URL

from sealflow.errors import NodeConfigError, WorkflowError
from sealflow.model.places import key_path
from sealflow.workflow.nodes.http_auth import as_text, auth_headers, basic
from sealflow.workflow.nodes.http_client import Request, read_url
from sealflow.workflow.nodes.http_shown import MASK, bare_url, masked_url

if TYPE_CHECKING:
    from sealflow.workflow.node import NodeContext
    from sealflow.workflow.nodes.http_request import HttpRequestConfig

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_FRAMING = {"content-length", "transfer-encoding", "trailer", "upgrade"}
"""They say where a request ends. A wrong one lets a body pass for a second request, to a host that nobody checked."""
_NOT_FROM_INPUT = {
    "host",
    "connection",
    "keep-alive",
    "expect",
    "proxy-authorization",
    "proxy-connection",
}


@dataclass(slots=True)
class Composed:
    """A request, its url with every part masked that came from a secret, and the query parameters that did."""

    request: Request
    shown: URL | str = field(repr=False)
    secret_query: tuple[tuple[str, str], ...] = field(default=(), repr=False)


_PARTS = ("url", "headers", "query", "body")


def input_parts(context: NodeContext, *, is_condition: bool = False) -> dict[str, Any]:
    """Return the parts of the request that input data gives: from ``input``, then from the port of each part.

    The answer or the error of another node on ``input`` says when to run, not what to send. Raises WorkflowError for
    data there that is not a mapping and that neither the config nor a condition (``is_condition``) uses.
    """
    data = context.input
    is_used = is_condition or any(item.data.source == "input" for item in context.data)
    parts: dict[str, Any] = {}
    if isinstance(data, Mapping) and not _is_signal(data):
        parts = {key: data[key] for key in _PARTS if key in data}
    elif not is_used and not all(map(_is_signal, data if isinstance(data, list) and data else [data])):
        raise WorkflowError(
            f"the data on the port input is {_kind(data)}, and a request takes a mapping with {', '.join(_PARTS)}",
            hint="Link it to one of the ports of these names, or write {{input}} into the config",
            path="input",
        )
    parts.update({port: data for port, data in context.inputs.items() if port != "input"})
    kinds: dict[str, tuple[type | tuple[type, ...], str]] = {
        "url": (str, "a string"),
        "headers": (Mapping, "a mapping"),
        "query": (Mapping, "a mapping"),
    }
    for key, (kind, what) in kinds.items():
        if key in parts and not isinstance(parts[key], kind):
            raise WorkflowError(
                f"the {key} that came from input data is not {what}",
                hint="Look at what is linked to it",
                path=key,
            )
    return parts


def check_error_is_used(
    context: NodeContext, config: HttpRequestConfig, parts: Mapping[str, Any], *, is_condition: bool = False
) -> None:
    """Refuse to send an empty body when an error arrived on ``input`` and nothing of it would be sent."""
    is_used = is_condition or config.body is not None or parts or context.data
    if config.method in ("POST", "PUT", "PATCH") and not is_used and _is_error(context.input):
        raise WorkflowError(
            f"an error arrived on the port input, and nothing of it would be sent: the {config.method} has no body",
            hint="Link the error to the port body, or write body: {text: '{{input.message}}'}",
            path="body",
        )


def _is_signal(data: Any) -> bool:
    """Whether this is the answer of an http-request, or what a node gave on its port ``error``."""
    return data is None or _is_error(data) or (isinstance(data, Mapping) and "status_code" in data)


def _is_error(data: Any) -> bool:
    """Whether this is what a node gave on its port ``error``, or a list of that."""
    if isinstance(data, list):
        return bool(data) and all(map(_is_error, data))
    return isinstance(data, Mapping) and {"type", "message"} <= data.keys() and not data.keys() & set(_PARTS)


def _kind(data: Any) -> str:
    kinds = {
        Mapping: "a mapping",
        list: "a list",
        str: "a string",
        bool | int | float: "a number",
        bytes: "bytes",
    }
    return next((name for kind, name in kinds.items() if isinstance(data, kind)), "null")


def url_is_data(context: NodeContext, parts: Mapping[str, Any]) -> bool:
    """Whether data chose the url: it came by a port, or the config's url is a piece of data as a whole."""
    return "url" in parts or any(item.whole and item.path == "url" for item in context.data)


def _data_url(config: HttpRequestConfig, parts: Mapping[str, Any], context: NodeContext) -> str:
    """Return the url as data gave it; empty where the config chose it."""
    if not url_is_data(context, parts):
        return ""
    return str(parts["url"] if "url" in parts else config.url.get_secret_value() if config.url else "")


def compose(
    config: HttpRequestConfig, parts: Mapping[str, Any], context: NodeContext, written_url: str | None
) -> Composed:
    """Put the request together. ``written_url``: the url of the config as written, with its references."""
    url = _url(config, parts)
    url_is_secret = "url" not in parts and _referenced(context, "url")
    body, content_type = _body(parts.get("body", config.body), config.body_type)
    headers = _headers(config, parts, context)
    if url.user is not None or url.password is not None:
        pair = basic(SecretStr(url.user or ""), SecretStr(url.password or ""))
        headers.put("Authorization", pair, secret=url_is_secret, private=True)
    headers.put_content_type(content_type)
    for value in headers.secret_values():
        context.learn(value)  # a Basic header encodes two values at once
    query, secret_names = _query(config, parts, context)
    base = bare_url(url)
    request = Request(
        config.method,
        base.extend_query(query) if query else base,
        headers.plain(),
        body,
        headers.private_names(),
        body_is_secret="body" not in parts and _referenced(context, "body"),
        data_names=_data_names(config, parts, context),
        data_url=_data_url(config, parts, context),
    )
    if not url_is_secret and not secret_names:
        return Composed(request, request.url)
    shown = masked_url(context, base, written_url if url_is_secret else None)
    masked_query = [(name, MASK if name in secret_names else value) for name, value in query]
    if isinstance(shown, URL):
        shown = shown.extend_query(masked_query) if query else shown
    else:
        shown += "?" + urlencode(masked_query, safe="*") if query else ""
    return Composed(request, shown, tuple(item for item in query if item[0] in secret_names))


def _url(config: HttpRequestConfig, parts: Mapping[str, Any]) -> URL:
    text = parts.get("url", config.url.get_secret_value() if config.url is not None else None)
    if text is None:
        raise NodeConfigError(
            "the request has no url", hint="Give url in the config or on the port url", path="url"
        )
    return checked_url(text, "url")


def checked_url(text: str, path: str) -> URL:
    """Return the url of a config field. Raises NodeConfigError, which does not repeat it."""
    problem = ""
    try:
        return read_url(text)
    except ValueError as error:
        problem = str(error)
    raise NodeConfigError(
        f"the {path} {problem}", hint="Write https://host/path; for a proxy http://host:port", path=path
    )


class _Headers:
    """Headers by their names in lower case: (name as written, value, a reference gave it, it stays at its origin)."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[str, str, bool, bool]] = {}

    def put(self, name: str, value: str, *, secret: bool, wins: bool = False, private: bool = False) -> None:
        """Set a header. One that a reference gave stays, unless another reference has the last word (``wins``)."""
        if not _HEADER_NAME.fullmatch(name):
            raise NodeConfigError(
                "a header's name has a character that HTTP does not allow",
                hint="Correct it",
                path="headers",
            )
        if any(char in value for char in "\r\n\0"):
            raise NodeConfigError(
                "a header's value has a line break or NUL",
                hint="Remove it; a key of several lines cannot be sent in a header",
                path=f"headers.{name}",
            )
        if name.lower() in _FRAMING:
            raise NodeConfigError(
                f"the header {name} is set by sealflow",
                hint="Remove it; it follows from the body",
                path=f"headers.{name}",
            )
        old = self._values.get(name.lower())
        if old is not None and old[2] and not (secret and wins):
            return
        self._values[name.lower()] = (name, value, secret, secret or private)

    def put_content_type(self, content_type: str | None) -> None:
        if content_type is not None and "content-type" not in self._values:
            self.put("Content-Type", content_type, secret=False)

    def plain(self) -> dict[str, str]:
        return {name: value for name, value, _, _ in self._values.values()}

    def secret_values(self) -> list[str]:
        return [value for _, value, secret, _ in self._values.values() if secret]

    def private_names(self) -> frozenset[str]:
        return frozenset(name for name, item in self._values.items() if item[3])


def _headers(config: HttpRequestConfig, parts: Mapping[str, Any], context: NodeContext) -> _Headers:
    headers = _Headers()
    filled_in = {item.path for item in context.data}
    for name, value in config.headers.items():
        if filled_in & {"headers", key_path("headers", name)} and name.lower() in _NOT_FROM_INPUT:
            raise NodeConfigError(
                f"data cannot set the header {name}",
                hint="Write its value into the config, or leave it out",
                path=key_path("headers", name),
            )
        headers.put(name, value.get_secret_value(), secret=_referenced(context, key_path("headers", name)))
    for name, given in parts.get("headers", {}).items():
        if str(name).lower() not in _NOT_FROM_INPUT | _FRAMING:
            headers.put(str(name), _scalar(given, key_path("headers", str(name))), secret=False)
    auth_is_secret = _referenced(context, "auth")
    for name, credential in auth_headers(config.auth).items():
        headers.put(name, credential, secret=auth_is_secret, wins=True, private=True)
    return headers


def _referenced(context: NodeContext, path: str) -> bool:
    return any(item == path or item.startswith((path + ".", path + "[")) for item in context.referenced)


def _query(
    config: HttpRequestConfig, parts: Mapping[str, Any], context: NodeContext
) -> tuple[list[tuple[str, str]], set[str]]:
    """Return the query parameters beside those in the url, and the names of those whose values came from references."""
    query: dict[str, list[str]] = {}
    secret_names = {name for name in config.query if _referenced(context, key_path("query", name))}
    for name, value in config.query.items():
        if value is not None:
            items = value if isinstance(value, list) else [value]
            query[name] = [item.get_secret_value() for item in items]
    for name, given in parts.get("query", {}).items():
        if str(name) not in secret_names:
            items = given if isinstance(given, list) else [given]
            path = key_path("query", str(name))
            query[str(name)] = [_scalar(item, path) for item in items if item is not None]
    return [(name, item) for name, items in query.items() for item in items], secret_names


def _data_names(config: HttpRequestConfig, parts: Mapping[str, Any], context: NodeContext) -> tuple[str, ...]:
    """Return the names that data gives to headers, query parameters and form fields."""
    whole = {item.path for item in context.data if item.whole}
    names = [str(name) for key in ("headers", "query") for name in parts.get(key, ())]
    names += [*config.headers] if "headers" in whole else []
    names += [*config.query] if "query" in whole else []
    if "url" in parts or any(item.path == "url" for item in context.data):
        names += _url(config, parts).query
    body = parts.get(
        "body", config.body if any(item.path.startswith("body") for item in context.data) else None
    )
    if isinstance(body, Mapping) and config.body_type == "form":
        names += map(str, body)
    if isinstance(body, str):  # it may be a form that was put together by hand
        names += [pair.partition("=")[0] for pair in body.split("&") if "=" in pair]
    return tuple(names)


def _body(content: Any, kind: str | None) -> tuple[bytes | None, str | None]:
    """Return the bytes to send and their content type."""
    if content is None:
        return None, None
    if kind is None:
        kind = "text" if isinstance(content, str) else "raw" if isinstance(content, bytes) else "json"
    if kind == "json":
        return _json(content).encode("utf-8", "surrogatepass"), "application/json"
    if kind == "form":
        return _form(content), "application/x-www-form-urlencoded"
    if isinstance(content, bytes):
        return content, "application/octet-stream"
    text = content if isinstance(content, str) else _json(content)
    content_type = "text/plain; charset=utf-8" if kind == "text" else "application/octet-stream"
    return text.encode("utf-8", "surrogatepass"), content_type


def _form(content: Any) -> bytes:
    if not isinstance(content, Mapping):
        raise NodeConfigError(
            "a body of type form must be a mapping", hint="Give {field: value}", path="body"
        )
    pairs = [
        (str(name), _scalar(item, key_path("body", str(name))))
        for name, value in content.items()
        for item in (value if isinstance(value, list) else [value])
        if item is not None
    ]
    return urlencode(pairs, errors="surrogatepass").encode()


def _scalar(value: Any, path: str) -> str:
    """Return a value of a header, a query or a form as a string. Raises NodeConfigError for what is not one value."""
    text = as_text(value)
    if isinstance(text, str):
        return text
    raise NodeConfigError(
        f"{_kind(value)} cannot be written into a header, a query or a form",
        hint="Give its parts as fields of their own, or send the body as JSON (body_type: json)",
        path=path,
    )


def _json(content: Any) -> str:
    """Return JSON. Raises NodeConfigError for what JSON cannot say, or what Python cannot write."""
    try:
        return json.dumps(content, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        pass
    raise NodeConfigError(
        "the body cannot be written as JSON",
        hint="It holds itself, NaN, a huge number, an object that is not data, or is nested too deeply",
        path="body",
    )
