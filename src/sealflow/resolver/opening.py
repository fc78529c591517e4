"""Opening what resolves references: the configured providers and the local store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealflow.errors import MasterKeyError, StoreUnavailableError
from sealflow.providers.registry import make_provider
from sealflow.providers.settings import load_file
from sealflow.resolver.resolver import Resolver
from sealflow.resolver.source import ProviderSource
from sealflow.service.opening import open_service, store_exists
from sealflow.service.service import SecretService
from sealflow.settings import find_config


@contextmanager
def opened_resolver(
    config: str | os.PathLike[str] | None = None,
    service: SecretService | None = None,
    beside: Path | None = None,
    *,
    needs_local: bool = True,
) -> Iterator[Resolver]:
    """Open the providers of ``sealflow.toml`` and the local store; the resolver itself is closed by its user.

    ``config``: the file, else ``SEALFLOW_CONFIG``, else ``sealflow.toml`` in ``beside`` (default: the current
    directory). With providers the local store is used where there is one, and none is made. Without ``needs_local``
    a store whose master key is not at hand is left out. Raises SettingsError.
    """
    path = find_config(config, beside)
    file = load_file(path)
    own = None
    if service is None and (not file.providers or store_exists()):
        try:
            own = service = open_service(audit_required=file.audit.required)
        except (MasterKeyError, StoreUnavailableError):
            if needs_local:
                raise
    try:
        sources = [
            ProviderSource(make_provider(settings, service, str(path)), settings)
            for settings in file.ordered()
        ]
        yield Resolver(service, sources, timeout=file.resolver.timeout)
    finally:
        if own is not None:
            own.close()
