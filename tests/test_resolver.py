from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealflow import (
    ExternalSecretProvider,
    FieldNotFoundError,
    ProviderDeniedError,
    Resolver,
    SecretExpiredError,
    SecretNotFoundError,
    SecretResolver,
    StoreUnavailableError,
    TamperedError,
    WorkflowNotAllowedError,
)
from sealflow.logs import cleaned_logs
from sealflow.resolver.encodings import forms
from sealflow.resolver.redactor import Redactor
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
    """A real provider in every respect but that it asks a dictionary; it counts and can be made to wait."""

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
    assert isinstance(first, ExternalSecretProvider)
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


ENCODED = [
    'päss/w+rd&<"x">',
    "hunter2-hunter2",
    "line one\nline two of it\n",
    "%41 $& \\1",
    "{{secrets.a.b}}",
]


@pytest.mark.parametrize("value", ENCODED)
def test_every_form_of_a_value_is_masked(value):
    import base64
    import html
    import json
    from urllib.parse import quote, quote_plus, urlencode

    redactor = Redactor()
    redactor.add({"deep": [value]})
    raw = value.encode()
    shown = [
        value,
        quote(value, safe=""),
        quote_plus(value),
        urlencode({"k": value}),
        raw.hex(),
        raw.hex().upper(),
        json.dumps({"k": value}),
    ]
    shown += [json.dumps({"k": value}, ensure_ascii=False), html.escape(value), repr(value), repr(raw)]
    shown += [
        base64.b64encode(before + raw + b"tail").decode() for before in (b"", b"u", b"us", b"use:", b"user:")
    ]
    shown += [base64.urlsafe_b64encode(before + raw).decode() for before in (b"", b"u", b"us")]
    for text in shown:
        cleaned = redactor.clean(f"before {text} after")
        assert "***" in cleaned, text
        for form in forms(value):
            assert form not in cleaned or form in "before  after", text
        assert cleaned.startswith("before ")
        assert cleaned.endswith(" after")


def test_overlapping_values_are_merged_and_the_longest_wins():
    redactor = Redactor()
    redactor.add(["abcdef", "defghi", "abc-long-one", "long"])
    assert redactor.clean("<abcdefghi>") == "<***>"
    assert redactor.clean("<abc-long-one>") == "<***>"
    assert redactor.clean("nothing here") == "nothing here"


def test_numbers_are_masked_as_text_and_short_ones_are_not():
    redactor = Redactor()
    redactor.add({"pin": 482913, "ratio": 0.123456, "n": 5, "flag": True, "short": "abc"})
    cleaned = redactor.clean_value(
        {"pin": 482913, "text": "pin 482913 is 0.123456", "n": 5, "flag": True, "short": "abc", 482913: None}
    )
    assert cleaned == {
        "pin": "***",
        "text": "pin *** is ***",
        "n": 5,
        "flag": True,
        "short": "abc",
        "***": None,
    }


def test_bytes_and_strange_objects_are_cleaned_before_they_are_shown():
    class Strange:
        def __repr__(self):
            return "Strange(hunter2)"

    redactor = Redactor()
    redactor.add("hunter2")
    assert redactor.clean_value([b"\xff hunter2", Strange(), ("hunter2",), {"hunter2"}]) == [
        {"base64": "/yAqKio="},
        "Strange(***)",
        ["***"],
        ["***"],
    ]
    assert redactor.holds("a hunter2 b")
    assert "hunter2" not in repr(redactor)
    assert Redactor().clean("hunter2") == "hunter2"


@given(st.lists(st.text(min_size=4, max_size=12), min_size=1, max_size=5), st.text(max_size=5))
def test_no_value_survives_in_any_text(values, between):
    redactor = Redactor()
    redactor.add(values)
    cleaned = redactor.clean(between.join(values))
    for value in values:
        assert value not in cleaned.replace("***", "\x00\x01") or value in between + between


def test_log_records_are_clean_for_every_handler(caplog):
    redactor = Redactor()
    redactor.add("hunter2")
    with caplog.at_level(logging.DEBUG), cleaned_logs(redactor.clean):
        logger = logging.getLogger("some.library")
        logger.info("value %s and %r", "hunter2", {"k": "hunter2"})
        logger.info("bad format %d %d", "hunter2")
        logger.info("stack", stack_info=True)
        try:
            raise ValueError("hunter2")
        except ValueError:
            logger.exception("failed with hunter2")
    assert "hunter2" not in caplog.text
    assert caplog.text.count("***") >= 4
    assert "ValueError: ***" in caplog.text
    assert all(record.exc_info is None and record.args == () for record in caplog.records)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").info("hunter2 again")
    assert "hunter2 again" in caplog.text


def test_log_cleaning_nests(caplog):
    one, two = Redactor(), Redactor()
    one.add("hunter1")
    two.add("hunter2")
    factory = logging.getLogRecordFactory()
    with cleaned_logs(one.clean):
        with cleaned_logs(two.clean):
            logging.getLogger("x").warning("hunter1 hunter2")
        logging.getLogger("x").warning("hunter1 stays masked")
    assert "hunter1" not in caplog.text
    assert "hunter2" not in caplog.text
    assert logging.getLogRecordFactory() is factory
