"""External systems that keep secrets, behind ExternalSecretProvider. What ``__all__`` names is public."""

from __future__ import annotations

from sealflow.providers.base import ExternalSecretProvider
from sealflow.providers.kinds import ProviderKind
from sealflow.providers.options import (
    Credential,
    CredentialSource,
    Destinations,
    FilePath,
    ProviderOptions,
    ProviderSettings,
    Reveal,
)

__all__ = [
    "Credential",
    "CredentialSource",
    "Destinations",
    "ExternalSecretProvider",
    "FilePath",
    "ProviderKind",
    "ProviderOptions",
    "ProviderSettings",
    "Reveal",
]
