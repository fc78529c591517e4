"""A user's tests of a store and a provider of one's own: ``sealflow.testing``. Type-checked, never run."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from sealflow import ExternalSecretProvider, SecretRegistry
from sealflow.testing import ProviderContract, StoreContract


def make_store_tests(store: type[SecretRegistry]) -> type[StoreContract]:
    class TestMyStore(StoreContract):
        backend = store

    return TestMyStore


class Kept(ExternalSecretProvider):
    """Keeps one secret in memory."""

    def __init__(self, name: str, fields: dict[str, Any]) -> None:
        self.name = "kept"
        self._secrets = {name: fields}

    async def get_secret(self, name: str) -> dict[str, Any] | None:
        found = self._secrets.get(name)
        return None if found is None else dict(found)


class TestMyProvider(ProviderContract):
    fields: ClassVar[dict[str, Any]] = {"value": "text"}

    @pytest.fixture
    async def provider(self) -> ExternalSecretProvider:
        return Kept("contract", self.fields)
