from __future__ import annotations

import asyncio

import pytest

import sealflow
from sealflow import (
    FieldNotFoundError,
    ProviderDeniedError,
    ProviderUnavailableError,
    Resolver,
    SecretExpiredError,
    SecretNotFoundError,
    SecretResolver,
    StoreUnavailableError,
    TamperedError,
    WorkflowNotAllowedError,
)
from sealflow.service.access import access_of


@pytest.fixture
async def resolver(service):
    service.create_secret("github", "bearer_token", {"token": "ghp-hunter2"})
    service.create_secret(
        "db",
        "custom",
        {"server": {"host": "h-ost", "ports": [5432, 5433]}, "tls": True, "odd": {"weird.key": "w-eird"}},
    )
    async with Resolver(service) as made:
        yield made


async def test_it_is_a_resolver(resolver):
    assert isinstance(resolver, SecretResolver)
    assert isinstance(resolver.scope(), SecretResolver)


async def test_values_are_resolved_anywhere_with_their_types(resolver):
    config = {
        "header": "Bearer {{secrets.github.token}}",
        "list": ["{{secrets.db.server.ports.1}}", {"tls": "{{ secrets.db.tls }}"}],
        "whole": "{{secrets.db.server}}",
        "all": "{{secrets.github}}",
        "quoted": '{{secrets.db.odd."weird.key"}}',
        "two": "{{secrets.github.token}}:{{secrets.db.server.ports.0}}:{{secrets.db.tls}}",
        "plain": 5,
        "escaped": "\\{{secrets.github.token}}",
        "pinned": "{{secrets.local:github.token}}",
    }
    assert await resolver.resolve_config(config) == {
        "header": "Bearer ghp-hunter2",
        "list": [5433, {"tls": True}],
        "whole": {"host": "h-ost", "ports": [5432, 5433]},
        "all": {"token": "ghp-hunter2"},
        "quoted": "w-eird",
        "two": "ghp-hunter2:5432:true",
        "plain": 5,
        "escaped": "{{secrets.github.token}}",
        "pinned": "ghp-hunter2",
    }
    assert config["header"] == "Bearer {{secrets.github.token}}"


async def test_one_value_is_resolved(resolver):
    assert await resolver.resolve("github", "token") == "ghp-hunter2"
    assert await resolver.resolve("db", "server.ports.0") == 5432
    assert await resolver.resolve("github") == {"token": "ghp-hunter2"}


async def test_a_missing_secret_says_where_and_what_is_close(resolver):
    with pytest.raises(SecretNotFoundError) as caught:
        await resolver.resolve_config({"auth": {"list": ["x {{secrets.githbu.token}}"]}})
    assert (caught.value.secret, caught.value.path) == ("githbu", "auth.list[0]")
    assert "'github'" in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "field", "hint"),
    [
        ("{{secrets.github.tokn}}", "tokn", "'token'"),
        ("{{secrets.github.token.deeper}}", "token.deeper", "no fields below"),
        ("{{secrets.db.server.ports.2}}", "server.ports.2", "2 items"),
        ("{{secrets.db.server.ports.x}}", "server.ports.x", "2 items"),
        ("{{secrets.db.server.hsot}}", "server.hsot", "no such field below it"),
    ],
)
async def test_a_missing_field_says_which_and_what_there_is(resolver, reference, field, hint):
    with pytest.raises(FieldNotFoundError) as caught:
        await resolver.resolve_config({"k": reference})
    assert (caught.value.field, caught.value.path) == (field, "k")
    assert hint in str(caught.value)
    assert "hunter2" not in str(caught.value)


class Provider:
    """A provider that asks a dictionary; it counts the calls and can be made to wait."""

    def __init__(self, name="prov", secrets=None, error=None):
        self.name, self.secrets, self.error = name, secrets or {}, error
        self.asked, self.gate = [], asyncio.Event()
        self.gate.set()
        self.closed = False

    async def get_secret(self, name):
        self.asked.append(name)
        await self.gate.wait()
        if self.error:
            raise self.error
        return self.secrets.get(name)

    async def check(self):
        pass

    async def close(self):
        self.closed = True


async def test_providers_come_first_in_their_order_then_the_local_store(service):
    service.create_secret("both", "api_key", {"value": "local-both"})
    service.create_secret("only", "api_key", {"value": "local-only"})
    first, second = (
        Provider("first", {"one": {"value": "first-one"}}),
        Provider("second", {"one": {"value": "2"}, "both": {"value": "second-both"}}),
    )
    async with Resolver(service, [first, second]) as resolver:
        assert await resolver.resolve("one", "value") == "first-one"
        assert await resolver.resolve("both", "value") == "second-both"
        assert await resolver.resolve("only", "value") == "local-only"
        assert await resolver.resolve_config("{{secrets.local:both.value}}") == "local-both"
        assert await resolver.resolve_config("{{secrets.second:one.value}}") == "2"
        with pytest.raises(SecretNotFoundError):
            await resolver.resolve_config("{{secrets.first:both.value}}")
        with pytest.raises(SecretNotFoundError, match="no provider 'frist'.*'first'"):
            await resolver.resolve_config("{{secrets.frist:both.value}}")
        with pytest.raises(SecretNotFoundError, match="asked: first, second"):
            await resolver.resolve("nope")
    assert first.closed
    assert second.closed


async def test_a_provider_that_denies_is_not_passed_over(service):
    service.create_secret("a", "api_key", {"value": "old-local"})
    async with Resolver(service, [Provider(error=ProviderDeniedError("no", hint="ask"))]) as resolver:
        with pytest.raises(ProviderDeniedError) as caught:
            await resolver.resolve_config({"k": "{{secrets.a.value}}"})
    assert caught.value.path == "k"


async def test_a_scope_asks_once_however_many_ask_at_once():
    provider = Provider(secrets={"a": {"value": "vvvv", "list": [1]}})
    provider.gate.clear()
    async with Resolver(None, [provider]) as resolver, resolver.scope() as scope:
        waiting = [asyncio.create_task(scope.resolve_config({"k": "{{secrets.a.value}}"})) for _ in range(20)]
        waiting.append(asyncio.create_task(scope.resolve("a", "value")))
        for _ in range(5):
            await asyncio.sleep(0)
        waiting[0].cancel()
        provider.gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:20] == [{"k": "vvvv"}] * 19
        changed = await scope.resolve("a", "list")
        changed.append(2)
        assert await scope.resolve("a", "list") == [1]
        assert provider.asked == ["a"]
    async with Resolver(None, [provider]) as resolver:
        await resolver.resolve("a")
    assert provider.asked == ["a", "a"]


async def test_a_failure_is_shared_by_who_waits_and_forgotten_afterwards():
    provider = Provider(error=ProviderDeniedError("no", hint="ask"))
    async with Resolver(None, [provider]) as resolver, resolver.scope() as scope:
        failures = await asyncio.gather(
            *(scope.resolve_config({f"k{n}": "{{secrets.a.value}}"}) for n in range(3)),
            return_exceptions=True,
        )
        assert [failure.path for failure in failures] == ["k0", "k1", "k2"]
        assert len({id(failure) for failure in failures}) == 3
        provider.error, provider.secrets = None, {"a": {"value": "vvvv"}}
        assert await scope.resolve("a", "value") == "vvvv"


async def test_a_closed_scope_resolves_nothing_and_lets_nobody_hang():
    provider = Provider()
    provider.gate.clear()
    async with Resolver(None, [provider]) as resolver:
        scope = resolver.scope()
        waiting = asyncio.create_task(scope.resolve("a"))
        await asyncio.sleep(0.01)
        await scope.close()
        with pytest.raises(StoreUnavailableError):
            await waiting
        with pytest.raises(StoreUnavailableError, match="ended"):
            await scope.resolve("a")
        assert not scope._cache


async def test_an_expired_secret_is_refused(service):
    service.create_secret("old", "api_key", {"value": "hunter2"}, expires_at="2020-01-01T00:00:00Z")
    service.create_secret("new", "api_key", {"value": "vvvv"}, expires_at="2999-01-01T00:00:00Z")
    async with Resolver(service) as resolver:
        assert await resolver.resolve("new", "value") == "vvvv"
        with pytest.raises(SecretExpiredError, match="2020-01-01T00:00:00Z"):
            await resolver.resolve_config({"k": "{{secrets.old.value}}"})


async def test_a_secret_is_used_by_the_workflows_that_its_owner_allows(service):
    service.create_secret("s", "api_key", {"value": "vvvv"}, allowed_workflows=["nightly-*"])
    async with Resolver(service) as resolver:
        async with resolver.scope("nightly-1") as scope:
            assert await scope.resolve("s", "value") == "vvvv"
        for workflow in ("daily", None):
            async with resolver.scope(workflow) as scope:
                with pytest.raises(WorkflowNotAllowedError):
                    await scope.resolve("s", "value")


async def test_a_tampered_record_fails_with_its_place(service):
    service.create_secret("s", "api_key", {"value": "vvvv"})
    with access_of(service).registry.transaction() as transaction:
        old = transaction.load("s")
        transaction.save(old._replace(versions=(old.current._replace(type="custom"),)))
    async with Resolver(service) as resolver:
        with pytest.raises(TamperedError) as caught:
            await resolver.resolve_config({"k": "{{secrets.s.value}}"})
    assert (caught.value.secret, caught.value.path) == ("s", "k")


class _RateLimited(ProviderUnavailableError):
    """A third party's error with an ``__init__`` of its own."""

    def __init__(self, seconds: float) -> None:
        super().__init__("the vendor limits the rate", hint="Wait")
        self.retry_after = seconds


async def test_a_third_partys_error_keeps_its_class_and_its_retry_after():
    async with Resolver(None, [Provider(error=_RateLimited(0.01))]) as resolver:
        resolver.scope()
        with pytest.raises(_RateLimited) as caught:
            await resolver.resolve_config({"k": "{{secrets.a.value}}"})
    assert (caught.value.retry_after, caught.value.path) == (0.01, "k")


async def test_where_several_cannot_answer_the_shortest_retry_after_is_kept():
    providers = [Provider("one", error=_RateLimited(0.03)), Provider("two", error=_RateLimited(0.01))]
    async with Resolver(None, providers) as resolver:
        with pytest.raises(ProviderUnavailableError, match="one: .*two: ") as caught:
            await resolver.resolve_config({"k": "{{secrets.a.value}}"})
    assert caught.value.retry_after == 0.01


class _Refused(ProviderDeniedError):
    def __init__(self, code: int) -> None:
        super().__init__(f"the vendor refused with code {code}")
        self.code, self.retry_after = code, 3.0


async def test_a_third_partys_denial_arrives_with_its_own_attributes_and_the_place():
    async with Resolver(None, [Provider(error=_Refused(7))]) as resolver:
        with pytest.raises(_Refused) as caught:
            await resolver.resolve_config({"k": "{{secrets.a.value}}"})
    assert (caught.value.code, caught.value.retry_after, caught.value.path) == (7, 3.0, "k")
    assert caught.value.__context__ is None


async def test_names_of_nested_fields_are_not_in_the_hint():
    provider = Provider(secrets={"a": {"users": {"hunter2-as-a-key": 1}}})
    async with Resolver(None, [provider]) as resolver:
        with pytest.raises(FieldNotFoundError) as caught:
            await resolver.resolve_config({"k": "{{secrets.a.users.hunter}}"})
    assert "hunter2" not in str(caught.value)


async def test_any_error_of_a_provider_other_than_unavailable_ends_the_search(service):
    class LoginFailedError(sealflow.ProviderError):
        pass

    class Failing(sealflow.ExternalSecretProvider):
        name = "failing"

        async def get_secret(self, name):
            raise LoginFailedError("the login failed", hint="Log in")

    service.create_secret("github", "bearer_token", {"token": "an-older-local-value"})
    async with sealflow.Resolver(service, [Failing()]) as resolver:
        with pytest.raises(LoginFailedError):
            await resolver.resolve("github", "token")
