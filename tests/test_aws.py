from __future__ import annotations

import contextlib
import json
import logging

import pytest
from aiohttp import web

from needs import needs

needs("boto3")

from sealflow import (
    ProviderDeniedError,
    ProviderMalformedError,
    ProviderUnavailableError,
    Resolver,
    SettingsError,
)
from sealflow.providers.aws import AwsProvider
from sealflow.providers.kinds import make_provider
from sealflow.providers.options import ProviderSettings
from sealflow.testing import ProviderContract

VALUE = "hunter2-from-aws"
KEY, SECRET = "AKIAHUNTER2HUNTER2AA", "secret-hunter2-secret-hunter2"


@pytest.fixture
async def make(monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setenv("TEST_SECRET", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = []

    def provider(url, timeout=10, **options):
        given = {
            "endpoint": url,
            "region": "eu-west-1",
            "access_key_id": {"env": "TEST_KEY"},
            "secret_access_key": {"env": "TEST_SECRET"},
            **options,
        }
        settings = ProviderSettings(
            name="aws",
            kind="aws",
            timeout=timeout,
            **{key: value for key, value in given.items() if value is not None},
        )
        made.append(make_provider(settings, None, None))
        return made[-1]

    yield provider
    for item in made:
        await item.close()


class TestAwsContract(ProviderContract):
    @pytest.fixture
    async def provider(self, moto, make):
        with contextlib.suppress(moto.client.exceptions.ResourceExistsException):
            moto.client.create_secret(Name="contract", SecretString=json.dumps(self.fields))
        return make(moto.url)


async def test_json_text_and_bytes(moto, make):
    provider = make(moto.url)
    assert await provider.get_secret("github") == {"token": VALUE, "deep": {"er": [1, True]}}
    assert await provider.get_secret("text") == {"value": "just text"}
    assert await provider.get_secret("list") == {"value": "[1]"}
    assert await provider.get_secret("empty") == {"value": "{}"}
    assert await provider.get_secret("binary") == {"value": "AP8="}
    assert await provider.get_secret("nope") is None
    assert await make(moto.url, secret_name="prod/{name}").get_secret("db") == {"p": "prod-db"}
    await provider.check()


async def test_versions_and_stages(moto, make):
    name = "versioned"
    first = moto.client.create_secret(Name=name, SecretString='{"v": "one"}')["VersionId"]
    moto.client.put_secret_value(SecretId=name, SecretString='{"v": "two"}')
    assert await make(moto.url).get_secret(name) == {"v": "two"}
    assert await make(moto.url, version_id=first).get_secret(name) == {"v": "one"}
    previous = make(moto.url, version_stage="AWSPREVIOUS")
    assert await previous.get_secret(name) == {"v": "one"}
    assert await previous.get_secrets([name, "nope"]) == {name: {"v": "one"}, "nope": None}
    moto.client.delete_secret(SecretId=name)
    assert await make(moto.url).get_secret(name) is None


async def test_many_secrets_are_fetched_in_batches(moto, make, monkeypatch):
    for number in range(45):
        moto.client.create_secret(Name=f"many-{number}", SecretString=json.dumps({"v": f"value-{number}"}))
    provider = make(moto.url)
    calls = []
    real = AwsProvider._batch_call
    monkeypatch.setattr(
        AwsProvider, "_batch_call", lambda self, ids: calls.append(len(ids)) or real(self, ids)
    )
    async with Resolver(None, [provider]) as resolver:
        found = await resolver.resolve_config(
            {str(number): "{{secrets.many-%d.v}}" % number for number in range(45)}
        )
    assert found == {str(number): f"value-{number}" for number in range(45)}
    assert calls == [20, 20, 5]
    assert (await make(moto.url).get_secrets(["many-1", "nope", "text"])) == {
        "many-1": {"v": "value-1"},
        "nope": None,
        "text": {"value": "just text"},
    }


async def test_a_role_is_assumed(moto, make):
    provider = make(moto.url, role_arn="arn:aws:iam::123456789012:role/reader", external_id="an-id")
    assert (await provider.get_secret("github"))["token"] == VALUE


async def test_a_profile_of_the_sdk(moto, make, tmp_path, monkeypatch):
    (tmp_path / "credentials").write_text("[team]\naws_access_key_id = a\naws_secret_access_key = b\n")
    (tmp_path / "config").write_text("[profile team]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    provider = make(moto.url, profile="team", region=None, access_key_id=None, secret_access_key=None)
    assert (await provider.get_secret("github"))["token"] == VALUE
    with pytest.raises(ProviderDeniedError, match="no AWS credentials"):
        await make(moto.url, profile="nobody", access_key_id=None, secret_access_key=None).get_secret(
            "github"
        )
    with pytest.raises(ProviderDeniedError, match="no AWS credentials"):
        await make(moto.url, access_key_id=None, secret_access_key=None).get_secret("github")


def failing(code, status=400):
    async def handler(_):
        return web.json_response({"__type": code, "message": "hunter2"}, status=status)

    return handler


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDeniedException", 400, ProviderDeniedError),
        ("UnrecognizedClientException", 400, ProviderDeniedError),
        ("ExpiredTokenException", 400, ProviderDeniedError),
        ("DecryptionFailure", 400, ProviderDeniedError),
        ("ThrottlingException", 400, ProviderUnavailableError),
        ("InternalServiceError", 500, ProviderUnavailableError),
        ("SomethingElse hunter2", 400, ProviderMalformedError),
    ],
)
async def test_the_kinds_of_refusal_are_told_apart(server, make, code, status, kind):
    server.on("/", failing(code, status))
    provider = make(server.url)
    with pytest.raises(kind) as caught:
        await provider.get_secret("x")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None
    found = {}
    try:
        found = await provider.get_secrets(["x", "y"])
    except ProviderUnavailableError:
        assert kind is ProviderUnavailableError
    except ProviderMalformedError:
        assert kind is ProviderMalformedError
    assert all(isinstance(item, kind) for item in found.values())


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"text": "hunter2 no json"}, ProviderMalformedError),
        ({"text": "{}", "content_type": "application/json"}, ProviderMalformedError),
        ({"status": 503}, ProviderUnavailableError),
    ],
)
async def test_strange_answers(server, make, given, kind):
    server.answer("/", **given)
    with pytest.raises(kind) as caught:
        await make(server.url).get_secret("x")
    assert "hunter2" not in str(caught.value)


async def test_nobody_there_and_nobody_in_time(server, make):
    import asyncio

    async def never(_):
        await asyncio.sleep(30)

    with pytest.raises(ProviderUnavailableError, match="cannot be reached"):
        await make("http://127.0.0.1:1").get_secret("x")
    server.on("/", never)
    with pytest.raises(ProviderUnavailableError, match="in time"):
        await make(server.url, timeout=0.3).get_secret("x")


async def test_partial_errors_of_a_batch(server, make):
    async def handler(_):
        return web.json_response(
            {
                "SecretValues": [{"Name": "a", "SecretString": '{"v": 1}'}, {"Name": "d"}],
                "Errors": [
                    {"SecretId": "b", "ErrorCode": "ResourceNotFoundException"},
                    {"SecretId": "c", "ErrorCode": "AccessDeniedException"},
                ],
            }
        )

    server.on("/", handler)
    found = await make(server.url).get_secrets(["a", "b", "c", "d"])
    assert found["a"] == {"v": 1}
    assert found["b"] is None
    assert isinstance(found["c"], ProviderDeniedError)
    assert isinstance(found["d"], ProviderMalformedError)


@pytest.mark.parametrize("options", [{"secret_name": "x"}, {"access_key_id": KEY}, {"regoin": "x"}])
async def test_wrong_options_are_refused(make, options):
    with pytest.raises(SettingsError) as caught:
        make("http://127.0.0.1:1", **options)
    assert "HUNTER2" not in str(caught.value)


async def test_no_value_and_no_credential_is_logged_at_debug(moto, make, caplog):
    loggers = ("", "botocore", "boto3", "urllib3")
    for name in loggers:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        with caplog.at_level(logging.DEBUG):
            provider = make(moto.url)
            await provider.get_secret("github")
            await provider.get_secrets(["github", "text"])
            with pytest.raises(ProviderUnavailableError):
                await make("http://127.0.0.1:1").get_secret("x")
    finally:
        for name in loggers:
            logging.getLogger(name).setLevel(logging.NOTSET)
    assert caplog.records
    for text in (VALUE, SECRET, KEY, "just text"):
        assert text not in caplog.text


@pytest.mark.reveals("what the SDK logs without us")
async def test_the_sdk_would_have_logged_it(moto, caplog):
    """The control: without our hand on the log, botocore writes the answer into it."""
    logging.getLogger("botocore").setLevel(logging.DEBUG)
    try:
        with caplog.at_level(logging.DEBUG):
            moto.client.get_secret_value(SecretId="github")
    finally:
        logging.getLogger("botocore").setLevel(logging.NOTSET)
    assert VALUE in caplog.text
