"""One grammar for every name: secrets, fields, tags aside, providers, nodes, ports, workflows' nodes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from sealflow.errors import SecretValidationError

NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}"
_NAME = re.compile(NAME_PATTERN)
NAME_RULE = "Use 1 to 128 letters, digits, _ or -, the first one no -"

BUILT_IN_TYPES = ("api_key", "basic_auth", "bearer_token", "oauth", "custom")
_TYPE_ALIASES = {"apiKey": "api_key", "basicAuth": "basic_auth", "bearerToken": "bearer_token"}

PUBLIC_FIELDS = frozenset({"username", "client_id", "token_url", "scopes", "expires_at"})
"""Fields that say who, where and when: they may be short, and stand in ordinary data by chance."""


def is_name(text: object) -> bool:
    """Whether ``text`` is a string of the name grammar."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def shown(text: object) -> str:
    """Text for an error message: what a user typed as a *name*, shortened, on one line."""
    representation = repr(text) if isinstance(text, str) else f"a {type(text).__name__}"
    return representation if len(representation) <= 60 else representation[:56] + "...'"


def check_secret_name(name: object) -> str:
    """Return ``name``, or raise SecretValidationError with the rule."""
    if not is_name(name):
        raise SecretValidationError(f"{shown(name)} is no secret name", hint=NAME_RULE, field="name")
    return str(name)


def canonical_type(name: object) -> str:
    """Return the snake_case spelling of a secret type's name (``apiKey`` gives ``api_key``)."""
    if not isinstance(name, str) or not is_name(_TYPE_ALIASES.get(name, name)):
        raise SecretValidationError(f"{shown(name)} is no secret type", hint=NAME_RULE, field="type")
    return _TYPE_ALIASES.get(name, name)


def closest(wanted: str, known: Iterable[str], *, what: str = "names") -> str:
    """Return a hint with the closest known names, for an error message."""
    names = sorted(set(known))
    if not names:
        return f"There are no {what} yet"
    by_fold = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(wanted.casefold(), by_fold, n=3, cutoff=0.5)
    if near:
        return "Did you mean " + " or ".join(repr(by_fold[name]) for name in near) + "?"
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"The {what} are: {listed}"
