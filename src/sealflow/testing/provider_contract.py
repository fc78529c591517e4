"""ProviderContract: what every ExternalSecretProvider must do, as tests.

::

    class TestMyProvider(ProviderContract):
        @pytest.fixture
        async def provider(self):
            # one that has the secret "contract" with the fields self.fields
            return MyProvider(...)

Needs pytest-asyncio in its auto mode.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from sealflow.errors import ProviderError
from sealflow.model.names import is_name
from sealflow.providers.base import ExternalSecretProvider


class ProviderContract:
    """Give the fixture ``provider``; where it keeps text only, set ``fields`` to what it can keep."""

    fields: ClassVar[dict[str, Any]] = {"value": "ünï \u2713 'quoted\"", "empty": "", "other_field": "x y"}

    @pytest.fixture
    async def provider(self) -> Any:
        raise NotImplementedError

    async def test_it_is_a_provider_with_a_usable_name(self, provider: ExternalSecretProvider) -> None:
        assert isinstance(provider, ExternalSecretProvider)
        assert is_name(provider.name)

    async def test_the_fields_come_as_they_are(self, provider: ExternalSecretProvider) -> None:
        assert await provider.get_secret("contract") == self.fields

    async def test_a_secret_that_is_not_there_is_none(self, provider: ExternalSecretProvider) -> None:
        assert await provider.get_secret("contract-nowhere") is None

    async def test_asking_at_once_gives_each_its_answer(self, provider: ExternalSecretProvider) -> None:
        names = ["contract", "contract-nowhere"] * 10
        answers = await asyncio.gather(*(provider.get_secret(name) for name in names))
        assert answers == [self.fields, None] * 10

    async def test_what_one_caller_changes_no_other_sees(self, provider: ExternalSecretProvider) -> None:
        first = await provider.get_secret("contract")
        assert isinstance(first, dict)
        first.clear()
        assert await provider.get_secret("contract") == self.fields

    @pytest.mark.parametrize(
        "name", ["../contract", "/etc/passwd", "a/../../b", "..", "contract\0", "a" * 600]
    )
    async def test_a_name_that_leads_elsewhere_finds_nothing(
        self, provider: ExternalSecretProvider, name: str
    ) -> None:
        try:
            found = await provider.get_secret(name)
        except ProviderError:
            return
        assert found is None

    async def test_several_at_once_where_it_can(self, provider: ExternalSecretProvider) -> None:
        several = getattr(provider, "get_secrets", None)
        if several is not None:
            found = await several(["contract", "contract-nowhere"])
            assert found["contract"] == self.fields
            assert found.get("contract-nowhere") is None

    async def test_closing_twice_is_fine(self, provider: ExternalSecretProvider) -> None:
        await provider.close()
        await provider.close()

    async def test_its_repr_holds_no_value(self, provider: ExternalSecretProvider) -> None:
        await provider.get_secret("contract")
        assert str(self.fields["value"]) not in repr(provider)
