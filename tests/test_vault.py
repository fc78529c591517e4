from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from pathlib import Path

import pytest
from aiohttp import web

from needs import needs
from real_servers import OpenBao
from sealflow import (
    ProviderDeniedError,
    ProviderMalformedError,
    ProviderUnavailableError,
    Resolver,
    SettingsError,
)
from sealflow.providers.kinds import make_provider
from sealflow.providers.options import ProviderSettings
from sealflow.resolver.provider_source import ProviderSource
from sealflow.testing import ProviderContract

needs("hvac")

VALUE = "hunter2-from-vault"
READER = (
    'path "secret/data/apps/*" { capabilities = ["read"] }\npath "kv1/apps/*" { capabilities = ["read"] }'
)


@pytest.fixture
def own_bao(tmp_path):
    with OpenBao(tmp_path) as running:
        running.policy("reader", READER)
        running.put("apps/github", {"token": VALUE})
        yield running


@pytest.fixture
async def make(monkeypatch):
    """Makes a provider, with a token of the given policies where no login is named, and closes it."""
    made = []

    def provider(server, login=None, service=None, timeout=10, attempts=1, **options):
        if login is None:
            monkeypatch.setenv(
                "TEST_TOKEN", server.token("reader") if isinstance(server, OpenBao) else "t-hunter2"
            )
            login = {"method": "token", "token": {"env": "TEST_TOKEN"}}
        address = server.url
        settings = ProviderSettings(
            name="vault",
            kind="vault",
            timeout=timeout,
            attempts=attempts,
            **{"address": address, "path": "apps/{name}", "login": login, **options},
        )
        made.append(make_provider(settings, service, Path("a-test.toml")))
        made[-1].settings = settings
        return made[-1]

    yield provider
    for item in made:
        await item.close()


class TestVaultContract(ProviderContract):
    @pytest.fixture
    async def provider(self, bao, make):
        bao.put("apps/contract", self.fields)
        return make(bao)


async def test_secrets_come_with_their_nested_fields(bao, make):
    provider = make(bao)
    assert await provider.get_secret("github") == {"token": VALUE, "deep": {"er": [1, {"x": True}]}}
    assert await provider.get_secret("team/app") == {"value": "nested-path"}
    assert await provider.get_secret("nope") is None


async def test_version_1_and_a_given_version(bao, make):
    assert await make(bao, mount="kv1", kv_version=1).get_secret("github") == {"token": "from-v1"}
    bao.put("apps/versioned", {"v": "one"})
    bao.put("apps/versioned", {"v": "two"})
    assert await make(bao, version=1).get_secret("versioned") == {"v": "one"}
    assert await make(bao).get_secret("versioned") == {"v": "two"}
    assert await make(bao, version=9).get_secret("versioned") is None
    bao.client.secrets.kv.v2.delete_latest_version_of_secret("apps/versioned")
    assert await make(bao).get_secret("versioned") is None


async def test_what_the_policy_denies_is_an_error_and_never_an_older_local_value(bao, make, service):
    service.create_secret("hidden", "api_key", {"value": "old-local"})
    provider = make(bao, path="other/{name}")
    async with Resolver(service, [provider]) as resolver:
        with pytest.raises(ProviderDeniedError) as caught:
            await resolver.resolve_config({"k": "{{secrets.hidden.value}}"})
    assert caught.value.path == "k"
    with pytest.raises(ProviderDeniedError):
        await make(bao, path="other/{name}").get_secret("github")


@pytest.mark.parametrize("name", ["../other/hidden", "a//b", "./x", "a/..", "", "a\nb"])
async def test_a_name_cannot_leave_the_path(bao, make, name):
    with pytest.raises(ProviderMalformedError):
        await make(bao).get_secret(name)


@pytest.mark.parametrize("options", [{"mount": "nothing-here"}, {"kv_version": 1}, {"mount": "kv1"}])
async def test_a_wrong_mount_or_version_is_no_missing_secret(bao, make, options, monkeypatch):
    monkeypatch.setenv("ROOT", bao.client.token)
    provider = make(bao, {"method": "token", "token": {"env": "ROOT"}}, **options)
    with pytest.raises(ProviderMalformedError, match="mount|no secret"):
        await provider.get_secret("github")
    with pytest.raises((ProviderMalformedError, ProviderDeniedError)):
        await provider.check()


async def test_every_login(bao, make, tmp_path, monkeypatch, service):
    client = bao.client
    for method in ("approle", "userpass", "jwt"):
        if f"{method}/" not in client.sys.list_auth_methods()["data"]:
            client.sys.enable_auth_method(method)
    client.auth.approle.create_or_update_approle("app", token_policies=["reader"])
    role = client.auth.approle.read_role_id("app")["data"]["role_id"]
    secret = client.auth.approle.generate_secret_id("app")["data"]["secret_id"]
    monkeypatch.setenv("ROLE", role)
    (tmp_path / "secret-id").write_text(secret + "\n")
    provider = make(
        bao,
        {"method": "approle", "role_id": {"env": "ROLE"}, "secret_id": {"file": str(tmp_path / "secret-id")}},
    )
    assert (await provider.get_secret("github"))["token"] == VALUE

    client.auth.userpass.create_or_update_user("ann", "pass-hunter2", policies=["reader"])
    service.create_secret("login", "basic_auth", {"username": "ann", "password": "pass-hunter2"})
    provider = make(
        bao,
        {"method": "userpass", "username": "ann", "password": {"secret": "login.password"}},
        service=service,
    )
    assert (await provider.get_secret("github"))["token"] == VALUE

    (tmp_path / "token").write_text(bao.token("reader"))
    provider = make(bao, {"method": "token_file", "path": str(tmp_path / "token")})
    assert (await provider.get_secret("github"))["token"] == VALUE
    for wrong in (
        {"method": "userpass", "username": "ann", "password": {"env": "ROLE"}},
        {"method": "approle", "role_id": {"env": "ROLE"}},
        {"method": "kubernetes", "role": "x", "jwt_file": str(tmp_path / "token")},
    ):
        with pytest.raises((ProviderDeniedError, ProviderMalformedError)):
            await make(bao, wrong).get_secret("github")
    for missing in (
        {"method": "token", "token": {"env": "NOT_SET"}},
        {"method": "token", "token": {"file": "/no/such"}},
        {"method": "token_file", "path": "/no/such"},
        {"method": "token", "token": {"secret": "nope.x"}},
    ):
        with pytest.raises(SettingsError):
            await make(bao, missing, service=service).get_secret("github")


async def test_a_jwt_login(bao, make, monkeypatch):
    """A real signed token, checked by the real server with the public key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    key = rsa.generate_private_key(65537, 2048)
    public = (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    if "jwt/" not in bao.client.sys.list_auth_methods()["data"]:
        bao.client.sys.enable_auth_method("jwt")
    bao.client.write_data(
        "auth/jwt/config", data={"jwt_validation_pubkeys": [public], "bound_issuer": "test"}
    )
    bao.client.write_data(
        "auth/jwt/role/app",
        data={
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": ["bao"],
            "token_policies": ["reader"],
        },
    )
    now = int(time.time())
    monkeypatch.setenv(
        "JWT",
        jwt.encode(
            {"alg": "RS256"},
            {"iss": "test", "sub": "me", "aud": "bao", "iat": now, "exp": now + 600},
            RSAKey.import_key(private),
        ),
    )
    provider = make(bao, {"method": "jwt", "role": "app", "jwt": {"env": "JWT"}})
    assert (await provider.get_secret("github"))["token"] == VALUE


async def test_a_revoked_token_is_taken_anew(bao, make):
    client = bao.client
    if "approle/" not in client.sys.list_auth_methods()["data"]:
        client.sys.enable_auth_method("approle")
    client.auth.approle.create_or_update_approle(
        "revoked",
        token_policies=["reader"],
        bind_secret_id=False,
        secret_id_bound_cidrs=["127.0.0.1/32"],
        token_bound_cidrs=["127.0.0.1/32"],
    )
    role = client.auth.approle.read_role_id("revoked")["data"]["role_id"]
    import os

    os.environ["REVOKED_ROLE"] = role
    provider = make(bao, {"method": "approle", "role_id": {"env": "REVOKED_ROLE"}})
    assert (await provider.get_secret("github"))["token"] == VALUE
    first = provider._token.value
    client.auth.token.revoke(first)
    assert (await provider.get_secret("github"))["token"] == VALUE
    assert provider._token.value != first
    second = provider._token.value
    client.auth.token.revoke(second)
    answers = await asyncio.gather(*(provider.get_secret("github") for _ in range(10)))
    assert all(answer["token"] == VALUE for answer in answers)


async def test_a_token_is_renewed_before_it_ends(bao, make, monkeypatch):
    monkeypatch.setenv("SHORT", bao.token("reader", "default", ttl="1h", renewable=True))
    provider = make(bao, {"method": "token", "token": {"env": "SHORT"}})
    await provider.get_secret("github")
    before = bao.client.auth.token.lookup(provider._token.value)["data"]
    provider._renew_at = time.monotonic()  # the moment has come
    await provider.get_secret("github")
    after = bao.client.auth.token.lookup(provider._token.value)["data"]
    assert after["expire_time"] >= before["expire_time"]
    assert after.get("last_renewal")
    assert provider._renew_at > time.monotonic() + 1800


async def test_sealed_stopped_and_back_again(own_bao, make, service, caplog):
    service.create_secret("github", "bearer_token", {"token": "local-copy"})
    provider = make(own_bao, timeout=3)
    await provider.check()
    assert (await provider.get_secret("github"))["token"] == VALUE
    own_bao.client.sys.seal()
    with pytest.raises(ProviderUnavailableError, match="sealed"):
        await provider.get_secret("github")
    with pytest.raises(ProviderUnavailableError, match="sealed"):
        await provider.check()
    source = ProviderSource(provider, provider.settings)
    async with Resolver(service, [source]) as resolver:
        with caplog.at_level(logging.WARNING):
            assert await resolver.resolve("github", "token") == "local-copy"
        assert "came from local, because vault" in caplog.text
        with pytest.raises(ProviderUnavailableError, match="vault.*sealed"):
            await resolver.resolve_config("{{secrets.vault:github.token}}")
        own_bao.unseal()
        assert await resolver.resolve("github", "token") == VALUE
        own_bao.stop()
        with pytest.raises(ProviderUnavailableError, match="cannot be reached"):
            await provider.get_secret("github")
        own_bao.start()
        own_bao.wait_for(own_bao.client.sys.read_seal_status, "the second start")
        own_bao.unseal()
        assert (await provider.get_secret("github"))["token"] == VALUE


async def test_a_paused_server_meets_the_deadline(own_bao, make):
    provider = make(own_bao, timeout=0.5)
    assert await provider.get_secret("github")
    own_bao.pause()
    source = ProviderSource(provider, provider.settings)
    start = time.monotonic()
    (answer,) = (await source.get_many(["github"])).values()
    assert isinstance(answer, ProviderUnavailableError)
    assert time.monotonic() - start < 5
    own_bao.resume()
    (answer,) = (await source.get_many(["github"])).values()
    assert answer.data["token"] == VALUE


async def test_the_loop_is_never_blocked_and_the_pool_is_the_limit(bao, make, monkeypatch):
    for number in range(100):
        bao.put(f"apps/many-{number}", {"v": f"value-{number}"})
    provider = make(bao, pool_size=16)
    threads, at_once, most = set(), 0, 0
    counting = threading.Lock()
    real = provider._read

    def read(path, name):
        nonlocal at_once, most
        with counting:
            threads.add(threading.current_thread())
            at_once += 1
            most = max(most, at_once)
        try:
            return real(path, name)
        finally:
            with counting:
                at_once -= 1

    monkeypatch.setattr(provider, "_read", read)
    async with Resolver(None, [provider]) as resolver:
        config = {str(number): "{{secrets.many-%d.v}}" % number for number in range(100)}
        found = await resolver.resolve_config(config)
    assert found == {str(number): f"value-{number}" for number in range(100)}
    assert threading.main_thread() not in threads
    assert 1 < most <= 16


async def test_one_request_for_twenty_nodes_and_for_twenty_executions(bao, make, monkeypatch):
    provider = make(bao)
    asked = []
    real = provider._read
    monkeypatch.setattr(provider, "_read", lambda path, name: asked.append(name) or real(path, name))
    clock = [0.0]
    source = ProviderSource(
        provider, provider.settings.model_copy(update={"ttl": 60}), clock=lambda: clock[0]
    )
    bao.put("apps/changing", {"v": ["first"]})
    async with Resolver(None, [source]) as resolver:

        async def execution():
            async with resolver.scope("w") as scope:
                return await asyncio.gather(
                    *(scope.resolve_config({"k": "{{secrets.changing.v}}"}) for _ in range(20))
                )

        results = await asyncio.gather(*(execution() for _ in range(20)))
        assert asked == ["changing"]
        results[0][0]["k"].append("spoiled")
        assert await resolver.resolve("changing", "v") == ["first"]
        bao.put("apps/changing", {"v": ["second"]})
        clock[0] = 59.0
        assert await resolver.resolve("changing", "v") == ["first"]
        clock[0] = 60.5
        assert await resolver.resolve("changing", "v") == ["second"]
        assert asked == ["changing", "changing"]


class Fake:
    """What a real server cannot be made to do; every test says which."""

    def __init__(self, server):
        self.url = server.url


def fake(server, handler):
    server.on("/v1/secret/data/apps/x", handler)
    server.answer(
        "/v1/auth/token/lookup-self",
        text=json.dumps({"data": {"ttl": 3600, "renewable": False}}),
        content_type="application/json",
    )
    return Fake(server)


def answering(**given):
    async def handler(_):
        return web.Response(**given)

    return handler


@pytest.mark.parametrize(
    ("handler", "kind", "said"),
    [
        (
            answering(text='{"data": {"data": {"value"', content_type="application/json"),
            ProviderMalformedError,
            "not a secret",
        ),
        (answering(text="<html>hunter2</html>"), ProviderMalformedError, "not a secret"),
        (
            answering(text='{"data": {"data": ["hunter2"]}}', content_type="application/json"),
            ProviderMalformedError,
            "not a secret",
        ),
        (answering(text="[]", content_type="application/json"), ProviderMalformedError, "not a secret"),
        (answering(status=500, text="hunter2"), ProviderUnavailableError, "internal error"),
        (answering(status=502), ProviderUnavailableError, "internal error"),
        (answering(status=429, headers={"Retry-After": "7"}), ProviderUnavailableError, "too many requests"),
        (
            answering(status=400, text='{"errors": ["hunter2"]}', content_type="application/json"),
            ProviderDeniedError,
            "refused",
        ),
        (answering(status=418), ProviderMalformedError, "that Vault does not answer"),
        (answering(body=b"x" * 10_000_000), ProviderMalformedError, "4 MiB"),
        (
            answering(status=307, headers={"Location": "http://127.0.0.1:9/v1/elsewhere"}),
            ProviderMalformedError,
            "redirect",
        ),
    ],
)
async def test_what_a_strange_server_answers_is_told_apart(server, make, handler, kind, said):
    with pytest.raises(kind, match=said) as caught:
        await make(fake(server, handler)).get_secret("x")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None
    if "429" in repr(handler) or said == "too many requests":
        assert caught.value.retry_after == 7


async def test_a_redirect_sends_the_token_nowhere(server, second_server, make):
    handler = answering(status=307, headers={"Location": f"{second_server.url}/v1/secret/data/apps/x"})
    with pytest.raises(ProviderMalformedError):
        await make(fake(server, handler)).get_secret("x")
    assert second_server.seen == []


async def test_half_a_body_is_a_broken_answer(server, make):
    async def half(request):
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"data": {"data": {"v": "hunter2')
        request.transport.abort()
        return response

    with pytest.raises(ProviderUnavailableError):
        await make(fake(server, half)).get_secret("x")


async def test_a_dripping_body_meets_the_deadline(server, make):
    async def drip(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    start = time.monotonic()
    with pytest.raises(ProviderUnavailableError, match="in time"):
        await make(fake(server, drip), timeout=0.5).get_secret("x")
    assert time.monotonic() - start < 8


async def test_retries_wait_as_long_as_the_server_asks(server, make):
    answers = iter(
        [
            web.Response(status=429, headers={"Retry-After": "0"}),
            web.Response(status=503),
            web.json_response({"data": {"data": {"v": "got it"}}}),
        ]
    )

    async def busy(_):
        return next(answers)

    provider = make(fake(server, busy), attempts=3)
    source = ProviderSource(provider, provider.settings)
    (answer,) = (await source.get_many(["x"])).values()
    assert answer.data == {"v": "got it"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"address": "vault.example.com"}, "https://"),
        ({"path": "apps/"}, "{name}"),
        ({"login": {"method": "token", "token": "hvs.hunter2"}}, "never write a credential into the file"),
        ({"login": {"method": "token", "token": {}}}, "one source"),
        ({"login": {"method": "token", "token": {"env": "A", "file": "b"}}}, "one source"),
        ({"login": {"method": "magic"}}, "login"),
        (
            {"login": {"method": "userpass", "username": "a", "password": "hunter2"}},
            "never write a credential into the file",
        ),
        ({"tokn": "hunter2"}, "there is no field"),
        ({"kv_version": 3}, "kv_version"),
    ],
)
async def test_wrong_options_are_refused_without_being_repeated(make, options, said):
    class Server:
        url = "http://127.0.0.1:1"

    with pytest.raises(SettingsError, match=said) as caught:
        make(Server(), **{"login": {"method": "token", "token": {"env": "X"}}, **options})
    assert "hunter2" not in str(caught.value)


async def test_no_value_and_no_credential_is_logged_at_debug(bao, make, caplog):
    with caplog.at_level(logging.DEBUG):
        for name in ("", "hvac", "urllib3", "requests"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        provider = make(bao)
        await provider.get_secret("github")
        await provider.check()
        async with Resolver(None, [provider]) as resolver:
            await resolver.resolve("github", "token")
    assert VALUE not in caplog.text
    assert provider._token.value not in caplog.text
    assert provider._token.value not in repr(provider._token)
    for name in ("hvac", "urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.NOTSET)
