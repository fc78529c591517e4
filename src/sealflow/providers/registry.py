"""Provider kinds by name, and the credentials that they are given."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from sealflow.errors import SecretError, SettingsError
from sealflow.model.wording import closest
from sealflow.providers.base import ExternalSecretProvider
from sealflow.providers.settings import Credential, ProviderSettings, validated_settings
from sealflow.service.service import SecretService

_BUILT_IN = {
    "vault": "sealflow.providers.vault:VaultProvider",
    "aws": "sealflow.providers.aws:AwsProvider",
    "environment": "sealflow.providers.environment:EnvironmentProvider",
    "directory": "sealflow.providers.directory:DirectoryProvider",
}
_NEEDS = {"vault": "pip install 'sealflow[vault]'", "aws": "pip install 'sealflow[aws]'"}

Reveal = Callable[[Credential], str]
"""Gives a credential's value, as late as the provider asks for it."""


class ProviderKind(Protocol):
    """What an entry point in the group ``sealflow.providers`` names: a class with options, made by name."""

    Options: ClassVar[type[BaseModel]]

    def __call__(self, name: str, options: Any, reveal: Reveal, timeout: float) -> ExternalSecretProvider: ...


def make_provider(
    settings: ProviderSettings, service: SecretService | None, where: str
) -> ExternalSecretProvider:
    """Make a provider from its settings; SettingsError says which option is wrong, and where."""
    kind = _kind(settings.kind)
    options = validated_settings(kind.Options, settings.options, f"{where}: provider {settings.name!r}")
    made: ExternalSecretProvider = kind(
        settings.name, options, revealer(settings.name, service), settings.timeout
    )
    return made


def _kind(name: str) -> Any:
    target = _BUILT_IN.get(name) or _entry_points().get(name)
    if target is None:
        known = {*_BUILT_IN, *_entry_points()}
        raise SettingsError(f"there is no provider kind {name!r}", hint=closest(name, known, what="kinds"))
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        missing = error.name or str(error)
    raise SettingsError(
        f"the provider kind {name!r} needs {missing}", hint=_NEEDS.get(name, "Install what it needs")
    )


def _entry_points() -> Mapping[str, str]:
    from importlib.metadata import entry_points

    return {entry.name: entry.value for entry in entry_points(group="sealflow.providers")}


def revealer(provider: str, service: SecretService | None) -> Reveal:
    """Return what reads the credentials of one provider."""

    def reveal(credential: Credential) -> str:
        if credential.env is not None:
            value = os.environ.get(credential.env, "")
            if not value:
                raise _no_credential(provider, f"the variable {credential.env} is not set")
            return value
        if credential.file is not None:
            return _from_file(provider, Path(credential.file).expanduser())
        return _from_store(provider, credential.secret or "", service)

    return reveal


def _from_file(provider: str, path: Path) -> str:
    reason = None
    try:
        value = path.read_text(encoding="utf-8").strip()
        reason = None if value else "is empty"
    except OSError as error:
        value, reason = "", f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        value, reason = "", "is not UTF-8"
    if reason is not None:
        raise _no_credential(provider, f"the file {path} {reason}")
    return value


def _from_store(provider: str, path: str, service: SecretService | None) -> str:
    name, _, field = path.partition(".")
    if service is None:
        raise _no_credential(provider, f"its credential is the secret {path!r}, and there is no local store")
    problem = None
    try:
        value = service.get_secret(name).data.get(field)
    except SecretError as error:
        problem = error.message
        value = None
    if not isinstance(value, str):
        raise _no_credential(provider, problem or f"the secret {name!r} has no text field {field!r}")
    return value


def _no_credential(provider: str, reason: str) -> SettingsError:
    return SettingsError(
        f"the provider {provider!r} has no credential: {reason}",
        hint="Correct it in sealflow.toml, or set it",
    )
