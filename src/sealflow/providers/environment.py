"""Secrets from environment variables: ``SEALFLOW_SECRET_GITHUB__TOKEN`` is ``github.token``."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from sealflow.errors import ProviderMalformedError
from sealflow.providers.base import ExternalSecretProvider
from sealflow.providers.options import ProviderOptions, Reveal
from sealflow.settings import VALUE_PREFIX, is_own_variable


class EnvironmentOptions(ProviderOptions):
    prefix: str = VALUE_PREFIX


class EnvironmentProvider(ExternalSecretProvider):
    """The name in upper case with ``-`` as ``_``; two underscores go one level down; a variable without them is ``value``.

    sealflow's own variables are never read, whatever the prefix.
    """

    Options: ClassVar[type[ProviderOptions]] = EnvironmentOptions

    def __init__(self, name: str, options: EnvironmentOptions, reveal: Reveal, timeout: float) -> None:
        super().__init__(name, options, reveal, timeout)
        self._prefix = options.prefix

    async def get_secret(self, name: str) -> dict[str, Any] | None:
        start = self._prefix + name.upper().replace("-", "_")
        fields: dict[str, Any] = {}
        for variable, value in os.environ.items():
            if is_own_variable(variable):
                continue
            if variable == start:
                _put(fields, ["value"], value, variable)
            elif variable.startswith(start + "__") and len(variable) > len(start) + 2:
                _put(fields, variable[len(start) + 2 :].lower().split("__"), value, variable)
        return fields or None

    async def check(self) -> None:
        """Do nothing: variables are always there."""


def _put(fields: dict[str, Any], path: list[str], value: str, variable: str) -> None:
    target = fields
    for part in path[:-1]:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            break
    if not isinstance(target, dict) or path[-1] in target:
        raise ProviderMalformedError(
            f"the variable {variable} and another one give the same field", hint="Unset one of them"
        )
    target[path[-1]] = value
