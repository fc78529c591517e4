"""A user's tests of a store and a provider of one's own: ``sealflow.testing``. Type-checked, never run."""

from __future__ import annotations

from typing import Any, ClassVar

from sealflow import ExternalSecretProvider, SecretRegistry
from sealflow.testing import ProviderContract, StoreContract


def make_store_tests(store: type[SecretRegistry]) -> type[StoreContract]:
    class TestMyStore(StoreContract):
        backend = store

    return TestMyStore


class TestMyProvider(ProviderContract):
    fields: ClassVar[dict[str, Any]] = {"value": "text"}

    async def make(self) -> ExternalSecretProvider:
        raise NotImplementedError
