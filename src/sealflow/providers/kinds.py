"""Provider kinds by name, and providers made from their settings."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from sealflow.errors import SettingsError
from sealflow.plugins import Plugins
from sealflow.providers.base import ExternalSecretProvider
from sealflow.providers.credentials import Reveal, revealer
from sealflow.providers.options import ProviderSettings, check_options
from sealflow.service.secret_service import SecretService


class ProviderKind(Protocol):
    """What an entry point in the group ``sealflow.providers`` names: a class with options, made by name."""

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
    settings: ProviderSettings, service: SecretService | None, where: str
) -> ExternalSecretProvider:
    """Make a provider from its settings; SettingsError says which option is wrong, and where."""
    kind = KINDS.get(settings.kind)
    options = check_options(kind.Options, settings.options, f"{where}: provider {settings.name!r}")
    return kind(settings.name, options, revealer(settings.name, service), settings.timeout)
