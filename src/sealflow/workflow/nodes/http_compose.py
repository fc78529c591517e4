"""Putting an HTTP request together: config, then input data, then credentials; a reference wins over all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import SecretStr
from yarl import URL

from sealflow.errors import NodeConfigError
from sealflow.model.places import key_path
from sealflow.workflow.nodes.http_auth import auth_headers, basic
from sealflow.workflow.nodes.http_body import encoded_body, scalar_text
from sealflow.workflow.nodes.http_client import Request, read_url
from sealflow.workflow.nodes.http_files import file_body, multipart_body
from sealflow.workflow.nodes.http_input import url_is_data
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


def _data_url(config: HttpRequestConfig, parts: Mapping[str, Any], context: NodeContext) -> str:
    """Return the url as data gave it; empty where the config chose it."""
    if not url_is_data(context, parts):
        return ""
    return str(parts["url"] if "url" in parts else config.url.get_secret_value() if config.url else "")


def compose(
    config: HttpRequestConfig,
    parts: Mapping[str, Any],
    context: NodeContext,
    written_url: str | None,
    folder: Path | None = None,
) -> Composed:
    """Put the request together.

    ``written_url``: the url of the config as written, with its references. ``folder``: where files are.
    """
    url = _url(config, parts)
    url_is_secret = "url" not in parts and _referenced(context, "url")
    body, content_type = _body(config, parts, folder)
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


def _body(
    config: HttpRequestConfig, parts: Mapping[str, Any], folder: Path | None
) -> tuple[bytes | None, str | None]:
    """Return the bytes to send and their content type. Only the config names files, never data."""
    content = parts.get("body", config.body)
    if config.body_file is not None:
        if content is not None or config.files:
            raise NodeConfigError(
                "body_file is the whole body, and there is another body or files beside it",
                hint="Use files and body for multipart/form-data",
                path="body_file",
            )
        return file_body(config.body_file, folder)
    if config.files and config.body_type not in (None, "multipart"):
        raise NodeConfigError(
            f"files cannot be sent with body_type: {config.body_type}", hint="Remove body_type", path="files"
        )
    if config.files or (config.body_type == "multipart" and content is not None):
        return multipart_body(content, config.files, folder)
    return encoded_body(content, config.body_type)


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
            headers.put(str(name), scalar_text(given, key_path("headers", str(name))), secret=False)
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
            query[str(name)] = [scalar_text(item, path) for item in items if item is not None]
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
    if isinstance(body, Mapping) and (config.files or config.body_type in ("form", "multipart")):
        names += map(str, body)
    if isinstance(body, str):  # it may be a form that was put together by hand
        names += [pair.partition("=")[0] for pair in body.split("&") if "=" in pair]
    return tuple(names)
