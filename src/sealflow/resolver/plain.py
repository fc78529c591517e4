"""Any Python value as JSON data that can be saved: never raises, however deep, cyclic or strange the value is."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any

from sealflow.wording import UNPRINTABLE, printed

Clean = Callable[[str], str]

MAX_DEPTH = 200
"""Levels of nesting that are kept: Python's own JSON encoder and decoder stop somewhat below 1,000."""

MASK = "***"


def plain(value: Any, clean: Clean) -> Any:
    """Return ``value`` as JSON data with every string, key and number passed through ``clean``."""
    return _plain(value, clean, (), 0)


def _plain(value: Any, clean: Clean, above: tuple[int, ...], depth: int) -> Any:
    if isinstance(value, str):
        return clean(str.__str__(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value, clean)
    if isinstance(value, bytes | bytearray | memoryview):
        text = clean(bytes(value).decode("utf-8", "surrogateescape"))
        return {"base64": base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()}
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if id(value) in above:
            return "(contains itself)"
        if depth >= MAX_DEPTH:
            return f"(nested more than {MAX_DEPTH} levels deep)"
        try:
            return _container(value, clean, (*above, id(value)), depth + 1)
        except Exception as error:  # noqa: BLE001 - a mapping or list of somebody else's making
            return f"({type(value).__name__}: reading it raises {type(error).__name__})"
    return clean(printed(value))


def _container(value: Any, clean: Clean, above: tuple[int, ...], depth: int) -> Any:
    if not isinstance(value, Mapping):
        return [_plain(item, clean, above, depth) for item in value]
    cleaned: dict[str, Any] = {}
    for key, item in value.items():
        name = clean(key if isinstance(key, str) else printed(key, str))
        while name in cleaned:  # two keys that are masked stay two
            name += "*"
        cleaned[name] = _plain(item, clean, above, depth)
    return cleaned


def _number(value: float, clean: Clean) -> Any:
    """Return the number, the mask if it contains a value, or a string where JSON or Python cannot write it."""
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    text = printed(value)
    if clean(text) != text:
        return MASK
    if text.startswith(UNPRINTABLE):
        return f"(an integer of {value.bit_length()} bits)" if isinstance(value, int) else text
    return value
