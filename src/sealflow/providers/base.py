"""ExternalSecretProvider: what a system that keeps secrets must offer to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from sealflow.model.policy import Policy


@runtime_checkable
class ExternalSecretProvider(Protocol):
    """A system that keeps secrets, by the name under which references pin it.

    ``get_secret`` returns the fields, or None when there is no such secret; it raises ProviderDeniedError,
    ProviderUnavailableError or ProviderMalformedError for the three other things that can happen. A provider
    that can fetch several at once also has ``async get_secrets(names) -> {name: fields}``.
    """

    name: str

    async def get_secret(self, name: str) -> Mapping[str, Any] | None:
        """Return the fields of one secret, or None."""
        ...

    async def check(self) -> None:
        """Return when the provider would answer; raise a ProviderError saying in the user's terms why not."""
        ...

    async def close(self) -> None:
        """Free connections; closing twice is fine."""
        ...


class Found(NamedTuple):
    """A secret's fields with the policy that binds them and where they came from; ``stale``: from before a failure."""

    data: Mapping[str, Any]
    policy: Policy
    source: str
    version: int | None = None
    stale: bool = False


NO_POLICY = Policy()
