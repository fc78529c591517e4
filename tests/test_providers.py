from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from pathlib import Path
from typing import ClassVar

import pytest

import sealflow
from sealflow import (
    ProviderDeniedError,
    ProviderMalformedError,
    ProviderUnavailableError,
    Resolver,
    SecretNotFoundError,
    SettingsError,
)
from sealflow.config import find_config, load_config
from sealflow.logs import withheld_sdk_logs
from sealflow.project import find_project
from sealflow.providers.directory import DirectoryOptions, DirectoryProvider
from sealflow.providers.environment import EnvironmentOptions, EnvironmentProvider
from sealflow.providers.options import ProviderSettings, provider_settings
from sealflow.resolver.provider_source import BREAK_AFTER, ProviderSource
from sealflow.testing import ProviderContract
from test_resolver import Provider


def environment(prefix="SEALFLOW_SECRET_"):
    return EnvironmentProvider("env", EnvironmentOptions(prefix=prefix), None, 1)


def directory(path):
    return DirectoryProvider("dir", DirectoryOptions(path=str(path)), None, 1)


class TestEnvironmentContract(ProviderContract):
    @pytest.fixture
    async def provider(self, monkeypatch):
        for key, value in self.fields.items():
            monkeypatch.setenv(f"SEALFLOW_SECRET_CONTRACT__{key.upper()}", value)
        return environment()


class TestDirectoryContract(ProviderContract):
    fields: ClassVar = {"value": "ünï ✓", "other_field": "two\nlines\n"}

    @pytest.fixture
    async def provider(self, tmp_path):
        (tmp_path / "mounted" / "contract").mkdir(parents=True)
        for key, value in self.fields.items():
            (tmp_path / "mounted" / "contract" / key).write_text(value)
        return directory(tmp_path / "mounted")


async def test_variables_by_name_and_field(monkeypatch):
    for name, value in {
        "GITHUB__TOKEN": "t",
        "GITHUB__DEEP__ER": "d",
        "MY_KEY": "v",
        "GITHUB2__TOKEN": "other",
        "X__": "nothing",
    }.items():
        monkeypatch.setenv(f"SEALFLOW_SECRET_{name}", value)
    provider = environment()
    assert await provider.get_secret("github") == {"token": "t", "deep": {"er": "d"}}
    assert await provider.get_secret("my-key") == {"value": "v"}
    assert await provider.get_secret("x") is None
    assert await environment("OTHER_").get_secret("github") is None
    monkeypatch.setenv("SEALFLOW_SECRET_GITHUB__DEEP", "clash")
    with pytest.raises(ProviderMalformedError, match="same field"):
        await provider.get_secret("github")
    await provider.check()


async def test_a_mounted_folder(tmp_path):
    root = tmp_path / "mounted"
    with pytest.raises(ProviderUnavailableError, match="no directory"):
        await directory(root).get_secret("x")
    # As Kubernetes lays it out: links to a folder that is exchanged as a whole.
    (root / "github" / "..2026").mkdir(parents=True)
    (root / "github" / "..2026" / "token").write_text("first\n")
    (root / "github" / "..data").symlink_to("..2026")
    (root / "github" / "token").symlink_to("..data/token")
    (root / "docker-style").write_bytes(b"one line\r\n")
    (root / "binary").write_bytes(b"\xff\xfe")
    (root / "large").write_bytes(b"x" * (1 << 20) + b"y")
    (root / "empty").mkdir()
    (tmp_path / "outside").write_text("hunter2")
    (root / "escape").symlink_to(tmp_path / "outside")
    provider = directory(root)
    await provider.check()
    assert await provider.get_secret("github") == {"token": "first"}
    (root / "github" / "..2026" / "token").write_text("second\n")
    assert await provider.get_secret("github") == {"token": "second"}
    assert await provider.get_secret("docker-style") == {"value": "one line"}
    assert await provider.get_secret("empty") is None
    for name in ("binary", "large", "escape", "../outside", "."):
        with pytest.raises(ProviderMalformedError):
            await provider.get_secret(name)


def source(provider, clock=None, **settings):
    clock = clock or [0.0]
    given = {"ttl": 10, "attempts": 1, **settings}
    return ProviderSource(
        provider, ProviderSettings(name=provider.name, kind="code", **given), clock=lambda: clock[0]
    )


UNAVAILABLE = ProviderUnavailableError("it is down", hint="start it")


async def test_an_unavailable_provider_gives_way_to_the_next_with_a_warning(caplog):
    first, second = Provider("first", error=UNAVAILABLE), Provider("second", {"a": {"v": "vvvv"}})
    async with Resolver(None, [source(first), source(second)]) as resolver:
        with caplog.at_level(logging.WARNING):
            assert await resolver.resolve("a", "v") == "vvvv"
        assert "came from second, because first: it is down" in caplog.text
        with pytest.raises(ProviderUnavailableError) as caught:
            await resolver.resolve("nope", "v")
    assert "first: it is down; second: not found" in str(caught.value)


@pytest.mark.parametrize(
    "error", [ProviderDeniedError("no", hint="h"), ProviderMalformedError("odd", hint="h")]
)
async def test_denied_and_malformed_end_the_search(error):
    second = Provider("second", {"a": {"v": "older"}})
    async with Resolver(None, [source(Provider("first", error=error)), source(second)]) as resolver:
        with pytest.raises(type(error)):
            await resolver.resolve("a", "v")
    assert second.asked == []


async def test_a_provider_that_breaks_or_gives_nonsense_is_malformed():
    for broken in (
        Provider(error=RuntimeError("hunter2")),
        Provider(secrets={"a": ["hunter2"]}),
        Provider(secrets={"a": {1: "hunter2"}}),
    ):
        async with Resolver(None, [source(broken)]) as resolver:
            with pytest.raises(ProviderMalformedError) as caught:
                await resolver.resolve("a")
        assert "hunter2" not in str(caught.value)


async def test_the_last_value_is_used_while_it_is_young_enough(caplog):
    clock = [0.0]
    provider = Provider(secrets={"a": {"v": "vvvv"}})
    async with Resolver(None, [source(provider, clock, ttl=10, max_stale=100)]) as resolver:
        assert await resolver.resolve("a", "v") == "vvvv"
        provider.error = UNAVAILABLE
        clock[0] = 50
        with caplog.at_level(logging.WARNING):
            assert await resolver.resolve("a", "v") == "vvvv"
        assert "last known value" in caplog.text
        clock[0] = 101
        with pytest.raises(ProviderUnavailableError):
            await resolver.resolve("a", "v")
        provider.error = ProviderDeniedError("no", hint="h")
        with pytest.raises(ProviderDeniedError):
            await resolver.resolve("a", "v")
        provider.error = UNAVAILABLE  # what was denied is not kept
        clock[0] = 51
        with pytest.raises(ProviderUnavailableError):
            await resolver.resolve("a", "v")


async def test_by_default_nothing_stale_is_used():
    clock = [0.0]
    provider = Provider(secrets={"a": {"v": "vvvv"}})
    async with Resolver(None, [source(provider, clock)]) as resolver:
        await resolver.resolve("a", "v")
        provider.error = UNAVAILABLE
        clock[0] = 9.9
        assert await resolver.resolve("a", "v") == "vvvv"
        clock[0] = 10.1
        with pytest.raises(ProviderUnavailableError):
            await resolver.resolve("a", "v")


async def test_the_breaker_opens_and_closes():
    clock = [0.0]
    provider = Provider(error=UNAVAILABLE)
    one = source(provider, clock)
    for _ in range(BREAK_AFTER):
        await one.get_many(["a"])
    assert len(provider.asked) == BREAK_AFTER
    (answer,) = (await one.get_many(["a"])).values()
    assert f"failed {BREAK_AFTER} times" in str(answer)
    assert len(provider.asked) == BREAK_AFTER
    clock[0] = 11
    provider.error, provider.secrets = None, {"a": {"v": "back"}}
    (answer,) = (await one.get_many(["a"])).values()
    assert answer.data == {"v": "back"}
    provider.error = UNAVAILABLE
    clock[0] = 30
    await one.get_many(["a"])
    assert len(provider.asked) == BREAK_AFTER + 2


async def test_the_deadline_of_one_and_of_all():
    slow, after = Provider("slow"), Provider("after", {"a": {"v": "vvvv"}})
    slow.gate.clear()
    async with Resolver(None, [source(slow, timeout=0.05), source(after)]) as resolver:
        assert await resolver.resolve("a", "v") == "vvvv"
    slow = Provider("slow")
    slow.gate.clear()
    async with Resolver(None, [source(slow, timeout=60)], timeout=0.05) as resolver:
        with pytest.raises(ProviderUnavailableError, match=r"all providers together took more than 0\.05"):
            await resolver.resolve("a", "v")


async def test_a_cancelled_caller_takes_nobody_along():
    provider = Provider(secrets={"a": {"v": "vvvv"}})
    provider.gate.clear()
    one = source(provider)
    first, second = asyncio.create_task(one.get_many(["a"])), asyncio.create_task(one.get_many(["a"]))
    await asyncio.sleep(0.01)
    first.cancel()
    provider.gate.set()
    assert (await second)["a"].data == {"v": "vvvv"}
    assert provider.asked == ["a"]


VAULT_TOML = """
[resolver]
timeout = 20

[[providers]]
name = "late"
kind = "environment"
order = 9

[[providers]]
name = "vault"
kind = "vault"
timeout = 5
address = "https://vault.example.com"
login = {method = "approle", role_id = {env = "ROLE"}, secret_id = {file = "/run/secret-id"}}

[[providers]]
name = "folder"
kind = "directory"
path = "/run/secrets"
order = 0
"""


def test_the_file_is_read_and_ordered(tmp_path, monkeypatch):
    path = tmp_path / "project" / "sealflow.toml"
    path.parent.mkdir()
    path.write_text(VAULT_TOML)
    assert [item.name for item in provider_settings(load_config(path))] == ["folder", "vault", "late"]
    assert load_config(path).resolver_timeout == 20
    assert provider_settings(load_config(path))[1].options["address"] == "https://vault.example.com"
    assert find_config(None, find_project(path.parent)) == path
    assert find_config(None, find_project()) is None
    monkeypatch.setenv("SEALFLOW_CONFIG", "/named/by/variable.toml")
    assert find_config(None, find_project(path.parent)) == Path("/named/by/variable.toml")
    assert find_config("given.toml", find_project(path.parent)) == Path("given.toml")
    assert provider_settings(load_config(None)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not toml hunter2", "not valid TOML"),
        ("[[providers]]\nkind = 'vault'", "name"),
        ("[[providers]]\nname = 'a b'\nkind = 'vault'", "provider name"),
        ("[[providers]]\nname = 'local'\nkind = 'vault'", "local is the store"),
        (
            "[[providers]]\nname = 'a'\nkind = 'directory'\n[[providers]]\nname = 'a'\nkind = 'directory'",
            "two providers",
        ),
        ("[[providers]]\nname = 'a'\nkind = 'directory'\ntimeout = 0", "timeout"),
        ("[resolvr]\ntimeout = 1", "Known here"),
        ("\xff", None),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, said):
    path = tmp_path / "sealflow.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match=said) as caught:
        provider_settings(load_config(path))
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingsError):
        load_config(tmp_path / "missing.toml")


WORKFLOW = {
    "sealflow": 1,
    "name": "everywhere",
    "nodes": {
        "a": {
            "type": "http-request",
            "config": {"url": "URL/a", "auth": {"type": "bearer", "token": "{{secrets.github.token}}"}},
        },
        "b": {
            "type": "http-request",
            "config": {
                "url": "URL/b",
                "headers": {"X-Deep": "{{secrets.db.deep.er}}"},
                "auth": {"secret": "db"},
            },
        },
    },
}
DATA = {
    "github": {"token": "everywhere-hunter2"},
    "db": {"username": "us-er", "password": "pass-hunter2", "deep": {"er": "deep-hunter2"}},
}


def vault_toml(bao, own_world):
    bao.policy("everywhere", 'path "secret/data/everywhere/*" { capabilities = ["read"] }')
    for name, fields in DATA.items():
        bao.put(f"everywhere/{name}", fields)
    (own_world / "token").write_text(bao.token("everywhere"))
    return f"""
[[providers]]
name = "vault"
kind = "vault"
address = "{bao.url}"
path = "everywhere/{{name}}"
attempts = 1
login = {{method = "token", token = {{file = "{own_world / "token"}"}}}}
"""


def aws_toml(moto, monkeypatch):
    for name, fields in DATA.items():
        with contextlib.suppress(moto.client.exceptions.ResourceExistsException):
            moto.client.create_secret(Name=f"everywhere/{name}", SecretString=json.dumps(fields))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    return f"""
[[providers]]
name = "aws"
kind = "aws"
region = "eu-west-1"
endpoint = "{moto.url}"
secret_name = "everywhere/{{name}}"
"""


@pytest.mark.parametrize("where", ["local", "vault", "aws", "chain"])
def test_one_workflow_file_against_every_source(
    cli, canary, store_key, own_world, server, bao, moto, monkeypatch, where
):
    path = own_world / "w.json"
    path.write_text(json.dumps(WORKFLOW).replace("URL", server.url))
    if where in ("local", "chain"):
        with sealflow.open_service() as service:
            service.create_secret("db", "custom", DATA["db"])
            if where == "local":
                service.create_secret("github", "bearer_token", DATA["github"])
    canary.learn(DATA)
    with withheld_sdk_logs():  # what this test's own clients log while they put the values there
        config = {"local": "", "vault": vault_toml(bao, own_world), "aws": aws_toml(moto, monkeypatch)}
    config["chain"] = (
        config["vault"].replace("everywhere/{name}", "nowhere/{name}").replace('"everywhere"', '"x"')
        + config["aws"]
    )
    if where == "chain":
        bao.policy("everywhere", 'path "secret/data/*" { capabilities = ["read"] }')
    (own_world / "sealflow.toml").write_text(config[where])
    result = cli("run", str(path), "--json", "--log-level", "debug")
    assert result.code == 0, result.out + result.err
    assert server.at("/a")[0].headers["Authorization"] == "Bearer everywhere-hunter2"
    assert server.at("/b")[0].headers["X-Deep"] == "deep-hunter2"
    assert server.at("/b")[0].headers["Authorization"].startswith("Basic ")
    assert "hunter2" not in result.out + result.err
    assert (own_world / ".workflow").exists() is (where in ("local", "chain"))


def test_provider_commands(cli, own_world, bao, tmp_path):
    (own_world / "sealflow.toml").write_text(
        vault_toml(bao, own_world) + '[[providers]]\nname = "env"\nkind = "environment"\n'
    )
    listed = json.loads(cli("provider", "list", "--json").out)
    assert [(item["name"], item["kind"]) for item in listed] == [("vault", "vault"), ("env", "environment")]
    assert "vault" in cli("provider", "list").out
    result = cli("provider", "test", "vault", "--secret", "github")
    assert result.code in (0, 1)
    assert "hunter2" not in result.out + result.err
    assert json.loads(cli("provider", "test", "env", "--json").out) == {
        "name": "env",
        "ok": True,
        "problem": None,
        "fields": None,
    }
    os.environ["SEALFLOW_SECRET_A__B"] = "cccc"
    try:
        assert "a: b" in cli("provider", "test", "env", "--secret", "a").out
    finally:
        del os.environ["SEALFLOW_SECRET_A__B"]
    assert cli("provider", "test", "env", "--secret", "nope").code == 1
    assert "'vault'" in cli("provider", "test", "vautl").err
    (tmp_path / "other.toml").write_text(
        '[[providers]]\nname = "gone"\nkind = "vault"\naddress = "http://127.0.0.1:1"\nlogin = {method = "token", token = {env = "NOPE"}}\n'
    )
    result = cli("provider", "test", "gone", "--config", str(tmp_path / "other.toml"))
    assert result.code == 1
    assert "cannot be reached" in result.out
    assert "No providers" in cli("provider", "list", "--config", os.devnull).err
    (tmp_path / "kind.toml").write_text('[[providers]]\nname = "x"\nkind = "vualt"\n')
    assert "'vault'" in cli("provider", "test", "x", "--config", str(tmp_path / "kind.toml")).err


def test_check_asks_the_providers_when_told(cli, own_world, monkeypatch):
    monkeypatch.setenv("SEALFLOW_SECRET_GITHUB__TOKEN", "hunter2-hunter2")
    (own_world / "sealflow.toml").write_text('[[providers]]\nname = "env"\nkind = "environment"\n')
    path = own_world / "w.json"
    references = [
        "{{secrets.github.token}}",
        "{{secrets.github.nope}}",
        "{{secrets.gone.x}}",
        "{{secrets.env:github.token}}",
        "{{secrets.env:gone.x}}",
        "{{secrets.vnv:github.token}}",
    ]
    path.write_text(
        json.dumps(
            {
                "sealflow": 1,
                "name": "w",
                "nodes": {
                    "a": {
                        "type": "http-request",
                        "config": {
                            "url": "https://x/",
                            "headers": {f"h{number}": text for number, text in enumerate(references)},
                        },
                    }
                },
            }
        )
    )
    result = cli("check", str(path), "--providers", "--json")
    found = json.loads(result.out)
    assert result.code == 1
    assert {item["reference"] for item in found} == {
        references[1],
        references[2],
        references[4],
        references[5],
    }
    assert "hunter2" not in result.out + result.err


async def test_a_missing_secret_says_who_was_asked():
    async with Resolver(None, [Provider("one"), Provider("two")]) as resolver:
        with pytest.raises(SecretNotFoundError, match=r"asked: one, two"):
            await resolver.resolve("nope")
