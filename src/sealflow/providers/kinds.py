"""Provider kinds by name, and providers made from their settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from sealflow.errors import SettingsError
from sealflow.plugins import Plugins
from sealflow.providers.base import ExternalSecretProvider
from sealflow.providers.credentials import make_reveal
from sealflow.providers.options import Destinations, ProviderOptions, ProviderSettings, Reveal, check_options
from sealflow.service.secret_service import SecretService


class ProviderKind(Protocol):
    """What an entry point in the group ``sealflow.providers`` names: a class such as a subclass of ExternalSecretProvider."""

    Options: ClassVar[type[BaseModel]]

    def __call__(self, name: str, options: Any, reveal: Reveal, timeout: float) -> ExternalSecretProvider: ...


KINDS: Plugins[ProviderKind] = Plugins(
    "sealflow.providers",
    {
        "vault": "sealflow.providers.vault:VaultProvider",
        "aws": "sealflow.providers.aws:AwsProvider",
        "environment": "sealflow.providers.environment:EnvironmentProvider",
        "directory": "sealflow.providers.directory:DirectoryProvider",
    },
    what="provider kind",
    error=SettingsError,
    extras={"vault": "vault", "aws": "aws"},
)


def make_provider(
    settings: ProviderSettings, service: SecretService | None, file: Path | None
) -> ExternalSecretProvider:
    """Make a provider from its settings in ``file``; SettingsError says which option is wrong, and where."""
    kind = KINDS.get(settings.kind)
    folder = None if file is None else file.absolute().parent
    options = check_options(kind.Options, settings.options, f"{file}: provider {settings.name!r}", folder)
    destinations = options.destinations() if isinstance(options, ProviderOptions) else Destinations()
    return kind(settings.name, options, make_reveal(settings.name, service, destinations), settings.timeout)
