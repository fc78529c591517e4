"""The local store as the last link of every chain."""

from __future__ import annotations

from collections.abc import Iterable

from sealflow.providers.base import Found
from sealflow.service.secret_service import SecretService
from sealflow.wording import closest, shown

LOCAL = "local"


class LocalStore:
    """A SecretService as a source of values. SQLite and files answer in microseconds: no thread is needed."""

    name = LOCAL

    def __init__(self, service: SecretService) -> None:
        self._service = service

    def get_many(self, names: Iterable[str]) -> dict[str, Found]:
        """Return what is there of ``names``, decrypted."""
        secrets = self._service.revealed(names)
        return {name: Found(item._data, item.policy, LOCAL, item.version) for name, item in secrets.items()}

    def hint(self, name: str) -> str:
        """Return the closest names, for an error."""
        return closest(name, (info.name for info in self._service.list_secrets()), what="secrets")

    def describe(self, name: str) -> str:
        """Return what is said of a name that is not there."""
        return f"there is no secret {shown(name)}"
