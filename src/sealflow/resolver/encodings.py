"""The forms in which a value may turn up in text: raw, and as others encode it."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from sealflow.model.maskable import MIN_LENGTH


def texts(value: Any) -> Iterator[str]:
    """Yield every text and number (as text) in a value; mappings and lists all the way down."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def forms(text: str) -> set[str]:
    """Return ``text`` and its encodings, each at least four characters long."""
    raw = text.encode("utf-8", "surrogatepass")
    found = {text, *_escaped(text), raw.hex(), raw.hex().upper()}
    for altchars in (b"+/", b"-_"):
        found.update(_base64_shifts(raw, altchars))
    for line in text.splitlines():
        found.update({line, line.strip(), *_escaped(line)})
    return {form for form in found if len(form) >= MIN_LENGTH}


def _escaped(text: str) -> Iterator[str]:
    raw = text.encode("utf-8", "surrogatepass")
    yield from (quote(raw, safe=""), quote_plus(raw), quote(raw), quote(raw, safe="/:?=&,;@!$'()*+~"))
    lowered = quote(raw, safe="")
    if "%" in lowered:
        yield _lower_hex(lowered)
    for once in (_json(text), _json(text, ascii_only=False), repr(text)[1:-1]):
        yield once
        yield once.replace("/", "\\/")
        if "\\" in once:  # quoted twice: the repr of an error that quotes it, JSON within JSON
            yield _json(once)
            yield _json(once, ascii_only=False)
    yield html.escape(text)
    yield html.escape(text, quote=False)
    yield html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
    yield repr(raw)[2:-1]


def _json(text: str, *, ascii_only: bool = True) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]


def _lower_hex(quoted: str) -> str:
    head, *rest = quoted.split("%")
    return head + "".join("%" + part[:2].lower() + part[2:] for part in rest)


def _base64_shifts(raw: bytes, altchars: bytes) -> Iterator[str]:
    """Base64 of ``raw`` behind 0, 1 or 2 other bytes: the characters that only ``raw`` decides."""
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw, altchars=altchars).decode()
        yield encoded[(0, 2, 3)[shift] : (shift + len(raw)) * 8 // 6]
