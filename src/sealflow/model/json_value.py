"""JSON values: their canonical form, and copies that share nothing with the original."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_encoder = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values always give equal strings."""
    return _encoder.encode(value)


def copied(value: Any) -> Any:
    """Copy mappings and lists all the way down; everything else is immutable or not ours to copy."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copied(item) for item in value]
    return value
