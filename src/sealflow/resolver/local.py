"""The local store as the last link of every chain."""

from __future__ import annotations

from collections.abc import Iterable

from sealflow.providers.base import Found
from sealflow.service.access import access_of
from sealflow.service.secret_service import SecretService
from sealflow.wording import closest

LOCAL = "local"


class LocalStore:
    """A SecretService as a source of values. SQLite and files answer in microseconds: no thread is needed."""

    name = LOCAL

    def __init__(self, service: SecretService) -> None:
        self._service = service
        self._access = access_of(service)

    def get_many(self, names: Iterable[str]) -> dict[str, Found]:
        """Return those of ``names`` that exist, decrypted for this call: nobody else holds these mappings."""
        opened = self._access.open_many(names)
        return {
            name: Found(item.contents.fields, item.policy, LOCAL, item.version, public=item.contents.public)
            for name, item in opened.items()
        }

    def hint(self, name: str) -> str:
        """Return the closest names, for an error."""
        return closest(name, (info.name for info in self._service.list_secrets()), what="secrets")
