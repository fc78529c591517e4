"""ExternalSecretProvider: the base of everything that gives secrets from another system."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel

from sealflow.model.maskable import PUBLIC_FIELDS, confidential_values
from sealflow.model.policy import Policy
from sealflow.providers.options import ProviderOptions, Reveal

_NOBODYS_NAME = "sealflow-provider-test"


class ExternalSecretProvider(ABC):
    """A system that keeps secrets, by the name under which references pin it. A provider is one method: ``get_secret``.

    ::

        class MyProvider(ExternalSecretProvider):
            class Options(ProviderOptions):
                folder: str

            async def get_secret(self, name):
                return {"value": "an example"} if name == "example" else None

    Deadlines, retries, the circuit breaker and the time to live are sealflow's. A provider that can fetch several
    secrets at once also has ``async get_secrets(names) -> {name: fields}``.
    """

    Options: ClassVar[type[BaseModel]] = ProviderOptions

    def __init__(
        self, name: str = "", options: Any = None, reveal: Reveal | None = None, timeout: float = 10
    ) -> None:
        """``name``: as ``sealflow.toml`` gives it. ``options``: an instance of ``Options``. ``timeout``: seconds for one request.

        ``reveal(credential)`` returns the value of a Credential in the options; it is None for a provider made in code.
        """
        if name:
            self.name = name
        self.options = options
        self.reveal = reveal
        self.timeout = timeout

    name: str = ""

    @abstractmethod
    async def get_secret(self, name: str) -> Mapping[str, Any] | None:
        """Return the fields of one secret, or None when there is no such secret.

        Raises ProviderDeniedError, ProviderUnavailableError or ProviderMalformedError for the three other outcomes.
        """

    async def check(self) -> None:
        """Return when the provider would answer; raise a ProviderError that says in the user's terms why not.

        The default asks for a name that no secret has.
        """
        await self.get_secret(_NOBODYS_NAME)

    async def close(self) -> None:  # noqa: B027 - a default, not a method to be given
        """Free connections; closing twice is fine. The default has nothing to free."""


class Found(NamedTuple):
    """A secret's fields, the policy that binds them and their source; ``stale``: fetched before the source failed.

    ``public``: the names of the fields that are not confidential.
    """

    data: Mapping[str, Any]
    policy: Policy
    source: str
    version: int | None = None
    stale: bool = False
    public: frozenset[str] = PUBLIC_FIELDS

    @property
    def confidential(self) -> list[Any]:
        """The values that are masked, and that data must not carry to a new host."""
        return confidential_values(self.data, self.public)


NO_POLICY = Policy()
