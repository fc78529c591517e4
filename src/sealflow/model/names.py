"""One grammar for every name: of secrets, fields, types, providers, nodes and ports."""

from __future__ import annotations

import re

from sealflow.errors import SecretValidationError
from sealflow.wording import holds_key, shown

NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}"
_NAME = re.compile(NAME_PATTERN)
NAME_RULE = "Use 1 to 128 letters, digits, _ or -, and do not begin with -"

BUILT_IN_TYPES = ("api_key", "basic_auth", "bearer_token", "oauth", "custom")
_TYPE_ALIASES = {"apiKey": "api_key", "basicAuth": "basic_auth", "bearerToken": "bearer_token"}


def is_name(text: object) -> bool:
    """Whether ``text`` is a string of the name grammar."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def check_secret_name(name: object) -> str:
    """Return ``name``, or raise SecretValidationError with the rule."""
    if not is_name(name):
        raise SecretValidationError(f"{shown(name)} is not a valid secret name", hint=NAME_RULE, field="name")
    return refuse_keys(str(name), "name")


def refuse_keys(text: str, field: str) -> str:
    """Return ``text``, which is stored in clear text; SecretValidationError where it holds a master key or a token."""
    if holds_key(text):
        raise SecretValidationError(
            f"{field}: this is stored in clear text, and looks like a key or a token",
            hint="Put it into a field of the secret",
            field=field,
        )
    return text


def canonical_type(name: object) -> str:
    """Return the snake_case spelling of a secret type's name (``apiKey`` gives ``api_key``)."""
    if not isinstance(name, str) or not is_name(_TYPE_ALIASES.get(name, name)):
        raise SecretValidationError(f"{shown(name)} is not a valid secret type", hint=NAME_RULE, field="type")
    return _TYPE_ALIASES.get(name, name)
