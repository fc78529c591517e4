"""Resolver: resolves references, each once per execution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self, runtime_checkable

from sealflow.providers.base import ExternalSecretProvider
from sealflow.providers.options import ProviderSettings
from sealflow.resolver.chain import Chain
from sealflow.resolver.local import LocalStore
from sealflow.resolver.provider_source import ProviderSource
from sealflow.resolver.scope import ExecutionScope
from sealflow.resolver.sync import run_sync
from sealflow.service.access import access_of
from sealflow.service.secret_service import SecretService


@runtime_checkable
class SecretResolver(Protocol):
    """From reference to value. Raises SecretError, PolicyError, ProviderError and their subclasses, and TamperedError."""

    async def resolve(self, name: str, field: str | None = None) -> Any:
        """Return the value of one field (a dotted path), or the mapping of all fields."""
        ...

    async def resolve_config(self, config: Any) -> Any:
        """Return a copy of ``config`` with every reference replaced by its value."""
        ...


class Resolver:
    """The chain of sources, for as long as a program runs; ``scope()`` gives one execution its own cache.

    ``await resolver.resolve("github", "token")`` and ``resolve_config(config)`` outside a workflow open a scope
    for that one call. Use it as an asynchronous context manager, or ``await close()``.
    """

    def __init__(
        self,
        service: SecretService | None,
        providers: Sequence[ExternalSecretProvider | ProviderSource] = (),
        *,
        timeout: float = 30,
    ) -> None:
        """``providers`` are asked in their order, before the local store; ``timeout``: seconds for all of them."""
        sources = [item if isinstance(item, ProviderSource) else _source(item) for item in providers]
        local = LocalStore(service) if service is not None else None
        self._chain = Chain(sources, local, timeout)
        self._local_chain = Chain((), local, timeout)
        self._audit = access_of(service).audit if service is not None else None

    @property
    def providers(self) -> list[ExternalSecretProvider]:
        """The providers, in the order in which they are asked."""
        return self._chain.providers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the providers; the service stays open for its owner."""
        await self._chain.close()

    def scope(
        self, workflow: str | None = None, execution: str | None = None, *, trusted: bool = True
    ) -> ExecutionScope:
        """Return a new scope: use it as an asynchronous context manager.

        ``trusted``: False for a workflow of strangers. No provider is asked for it, and a secret without
        ``allowed_hosts``, or with ``allowed_workflows``, is a TrustError.
        """
        chain = self._chain if trusted else self._local_chain
        return ExecutionScope(chain, workflow, execution, self._audit, trusted=trusted)

    async def resolve(self, name: str, field: str | None = None) -> Any:
        """See SecretResolver."""
        async with self.scope() as scope:
            return await scope.resolve(name, field)

    async def resolve_config(self, config: Any) -> Any:
        """See SecretResolver."""
        async with self.scope() as scope:
            return await scope.resolve_config(config)

    def resolve_sync(self, name: str, field: str | None = None) -> Any:
        """Do what ``resolve`` does, for synchronous code; works inside a running loop too, which waits meanwhile."""
        return run_sync(self.resolve(name, field))

    def resolve_config_sync(self, config: Any) -> Any:
        """Do what ``resolve_config`` does, for synchronous code."""
        return run_sync(self.resolve_config(config))

    def close_sync(self) -> None:
        """Do what ``close`` does, for synchronous code."""
        run_sync(self.close())


def _source(provider: ExternalSecretProvider) -> ProviderSource:
    """Return a provider that was made in code, with the settings that ``sealflow.toml`` gives by default."""
    return ProviderSource(provider, ProviderSettings(name=provider.name, kind="code"))
