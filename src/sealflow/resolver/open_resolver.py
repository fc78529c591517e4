"""Open a Resolver: the configured providers and the local store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sealflow.config import find_config, load_config
from sealflow.errors import MasterKeyError, ReferenceSyntaxError, StoreUnavailableError, attempt
from sealflow.model.references import parse
from sealflow.project import find_project
from sealflow.providers.kinds import make_provider
from sealflow.providers.options import provider_settings
from sealflow.resolver.provider_source import ProviderSource
from sealflow.resolver.resolver import Resolver
from sealflow.service.open_service import open_existing, store_exists
from sealflow.service.secret_service import SecretService
from sealflow.settings import Settings
from sealflow.wording import shown


@contextmanager
def opened_resolver(
    config: str | os.PathLike[str] | None = None,
    service: SecretService | None = None,
    beside: Path | None = None,
    *,
    needs_local: bool = True,
) -> Iterator[Resolver]:
    """Open the providers of ``sealflow.toml`` and the local store; the caller closes the resolver.

    ``config``: the file, else ``SEALFLOW_CONFIG``, else ``sealflow.toml`` of the project. ``beside``: the folder of the
    workflow file, whose project it is; default: the current folder. No store is made: with providers the local store is
    used if it exists, and is not missed if it does not. Without ``needs_local`` a store whose master key is not
    configured is left out. Raises SettingsError, StoreUnavailableError.
    """
    project = find_project(beside)
    settings = load_config(find_config(config, project))
    providers = provider_settings(settings)
    store = Settings.load(project=project)
    own = None
    if service is None and (not providers or store_exists(store)):
        try:
            own = service = open_existing(store, audit_required=settings.audit_required)
        except (MasterKeyError, StoreUnavailableError):
            if needs_local:
                raise
    try:
        sources = [ProviderSource(make_provider(item, service, settings.path), item) for item in providers]
        yield Resolver(service, sources, timeout=settings.resolver_timeout)
    finally:
        if own is not None:
            own.close()


def get(reference: str, *, config: str | os.PathLike[str] | None = None) -> Any:
    """Return one value, for scripts: ``sealflow.get("github.token")``.

    ``reference`` is what a workflow file has between ``{{secrets.`` and ``}}``: ``name.field``, ``name`` for the
    mapping of all fields, ``provider:name.field`` to ask one provider. The providers of ``sealflow.toml`` are asked,
    then the local store, both as the environment names them; ``config`` is another configuration file. Works inside a
    running event loop too, which waits meanwhile; asynchronous code uses ``await Resolver.resolve`` instead.

    Raises ReferenceSyntaxError, SecretNotFoundError, FieldNotFoundError, SecretExpiredError, WorkflowNotAllowedError,
    ProviderError, MasterKeyError, StoreError, TamperedError, SettingsError.
    """
    text = _reference_text(reference)
    with opened_resolver(config) as resolver:
        try:
            return resolver.resolve_config_sync(text)
        finally:
            resolver.close_sync()


_BEFORE = "{{secrets."


def _reference_text(reference: str) -> str:
    """Return the whole reference that ``get`` was given the inside of. Columns count in what the caller wrote."""
    hint = "Give NAME.FIELD, such as github.token, without braces"
    if not isinstance(reference, str) or reference.lstrip().startswith("{{"):
        raise ReferenceSyntaxError(f"{shown(reference)} is not NAME.FIELD", column=1, hint=hint)
    text = _BEFORE + reference + "}}"
    template, error = attempt(ReferenceSyntaxError, parse, text)
    if template is None or template.single is None:
        column = max(error.column - len(_BEFORE), 1) if error is not None else 1
        raise ReferenceSyntaxError(f"{shown(reference)} is not NAME.FIELD", column=column, hint=hint)
    return text
