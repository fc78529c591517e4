"""Which values can be masked: how long a value must be, and which fields are public.

The redactor masks strings of ``MIN_LENGTH`` characters and more; a shorter one would destroy the text around it.
Data is searched for values of ``CARRIED_MIN_LENGTH`` characters and more; a shorter one occurs in data by chance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

MIN_LENGTH = 4
"""Characters of the shortest value that is masked."""

CARRIED_MIN_LENGTH = 8
"""Characters of the shortest value that is looked for in data on its way to another host."""

PUBLIC_FIELDS = frozenset({"username", "client_id", "token_url", "scopes", "expires_at"})
"""Fields that say who, where and when. In a provider's secret they are public by these names: it has no type."""

_PUBLIC_BY_TYPE = {
    "basic_auth": frozenset({"username"}),
    "bearer_token": frozenset({"expires_at"}),
    "oauth": frozenset({"client_id", "token_url", "scopes", "expires_at"}),
}
_NONE: frozenset[str] = frozenset()


def public_by_type(type_name: str) -> frozenset[str]:
    """Return the public fields of a built-in type; none for any other type, whose records name them."""
    return _PUBLIC_BY_TYPE.get(type_name, _NONE)


def confidential_values(fields: Mapping[str, Any], public: Collection[str]) -> list[Any]:
    """Return the values of the fields that are not public."""
    return [value for name, value in fields.items() if name not in public]


def unmaskable_fields(fields: Mapping[str, Any], public: Collection[str]) -> Iterator[str]:
    """Yield the names of the fields that are not public and hold, at any depth, a value too short to mask."""
    for name, value in fields.items():
        if name not in public and _has_short_string(value):
            yield name


def _has_short_string(value: Any) -> bool:
    if isinstance(value, str):
        return 0 < len(value) < MIN_LENGTH
    if isinstance(value, list):
        return any(map(_has_short_string, value))
    return isinstance(value, dict) and any(map(_has_short_string, value.values()))
