"""The body of an HTTP request: data as JSON, a form, text or bytes."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from sealflow.errors import NodeConfigError, attempt
from sealflow.model.places import key_path
from sealflow.workflow.nodes.http_auth import as_text


def encoded_body(content: Any, kind: str | None) -> tuple[bytes | None, str | None]:
    """Return the bytes to send and their content type."""
    if content is None:
        return None, None
    if kind is None:
        kind = "text" if isinstance(content, str) else "raw" if isinstance(content, bytes) else "json"
    if kind == "json":
        return _json(content).encode("utf-8", "surrogatepass"), "application/json"
    if kind == "raw" and isinstance(content, Mapping) and content.keys() == {"base64"}:
        return _from_base64(content["base64"]), "application/octet-stream"
    if kind == "form":
        return _form(content), "application/x-www-form-urlencoded"
    if isinstance(content, bytes):
        return content, "application/octet-stream"
    text = content if isinstance(content, str) else _json(content)
    content_type = "text/plain; charset=utf-8" if kind == "text" else "application/octet-stream"
    return text.encode("utf-8", "surrogatepass"), content_type


def _from_base64(text: Any) -> bytes:
    """Return the bytes of ``{"base64": …}``, as a run that was printed has them."""
    content = None
    if isinstance(text, str):
        content, _ = attempt(ValueError, b64decode, text, None, True)
    if content is not None:
        return content
    raise NodeConfigError(
        "the body is not valid base64", hint="Give {base64: …} as a saved run has it", path="body"
    )


def _form(content: Any) -> bytes:
    if not isinstance(content, Mapping):
        raise NodeConfigError(
            "a body of type form must be a mapping", hint="Give {field: value}", path="body"
        )
    pairs = [
        (str(name), scalar_text(item, key_path("body", str(name))))
        for name, value in content.items()
        for item in (value if isinstance(value, list) else [value])
        if item is not None
    ]
    return urlencode(pairs, errors="surrogatepass").encode()


def scalar_text(value: Any, path: str) -> str:
    """Return a value of a header, a query or a form as a string. Raises NodeConfigError for what is not one value."""
    text = as_text(value)
    if isinstance(text, str):
        return text
    raise NodeConfigError(
        f"{kind_of(value)} cannot be written into a header, a query or a form",
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


def kind_of(data: Any) -> str:
    kinds = {
        Mapping: "a mapping",
        list: "a list",
        str: "a string",
        bool | int | float: "a number",
        bytes: "bytes",
    }
    return next((name for kind, name in kinds.items() if isinstance(data, kind)), "null")
