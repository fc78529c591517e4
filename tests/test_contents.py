"""Which fields of a secret are public, and what follows: they are not masked, and nothing else changes."""

from __future__ import annotations

import base64
import json

import pytest

from sealflow import SecretFields, SecretValidationError, Workflow, register_secret_type, run_workflow
from sealflow.crypto.master_key import read_passphrase
from sealflow.model.contents import PUBLIC_KEY, Contents
from sealflow.model.maskable import public_by_type
from sealflow.model.names import BUILT_IN_TYPES
from sealflow.model.types import type_model, validated_contents
from sealflow.operations.bundle import export_bundle, import_bundle
from sealflow.resolver.resolver import Resolver
from sealflow.service.access import access_of

DB = {"host": "eu1", "region": "json", "password": "hunter2-password"}


def marked(service, name):
    return service.get_secret(name).public_fields


async def cleaned(service, name, text):
    async with Resolver(service).scope() as scope:
        await scope.resolve(name)
        return scope.redactor.clean(text)


@pytest.mark.parametrize("name", BUILT_IN_TYPES)
def test_readers_know_the_public_fields_of_a_built_in_type_without_its_model(name):
    assert public_by_type(name) == frozenset(getattr(type_model(name), "public_fields", ()))


@pytest.mark.parametrize("name", BUILT_IN_TYPES)
def test_a_record_without_marks_is_as_format_1_always_was(name):
    assert PUBLIC_KEY not in Contents({"a": "b"}, public_by_type(name)).to_text(name)


@pytest.mark.parametrize("public", [frozenset(), frozenset({"username"}), frozenset({"a", "b"})])
def test_marks_come_back_as_they_went_in(public):
    kept = Contents({"username": "x", "a": 1}, public)
    assert Contents.from_text(kept.to_text("basic_auth"), "basic_auth") == kept


def test_no_field_of_a_secret_can_have_the_reserved_name():
    with pytest.raises(SecretValidationError):
        validated_contents("custom", {PUBLIC_KEY: ["password"], "password": "hunter2"})


async def test_a_user_named_json_leaves_the_content_type_readable(service):
    service.create_secret("login", "basic_auth", {"username": "json", "password": "hunter2-password"})
    text = "Content-Type: application/json, hunter2-password"
    assert await cleaned(service, "login", text) == "Content-Type: application/json, ***"


async def test_a_field_that_its_owner_marks_is_not_masked(service):
    service.create_secret("db", "custom", DB, public_fields=["host", "region"])
    assert await cleaned(service, "db", "json eu1 hunter2-password") == "json eu1 ***"


async def test_every_field_of_a_custom_secret_is_confidential_unless_marked(service):
    service.create_secret("db", "custom", {**DB, "username": "some-user"})
    assert await cleaned(service, "db", "json some-user") == "*** ***"


async def test_a_username_is_masked_when_its_owner_says_so(service):
    service.create_secret(
        "login", "basic_auth", {"username": "somebody", "password": "p-ass"}, public_fields=[]
    )
    assert await cleaned(service, "login", "somebody") == "***"


async def test_a_value_that_is_public_here_and_confidential_there_is_masked(service):
    service.create_secret("login", "basic_auth", {"username": "shared-value", "password": "p-ass"})
    service.create_secret("key", "api_key", {"value": "shared-value"})
    async with Resolver(service).scope() as scope:
        await scope.resolve_config(["{{secrets.login}}", "{{secrets.key}}"])
        assert scope.redactor.clean("shared-value") == "***"


async def test_a_basic_header_stays_masked_as_a_whole(service, server):
    service.create_secret("login", "basic_auth", {"username": "json", "password": "hunter2-password"})
    auth = {
        "type": "basic",
        "username": "{{secrets.login.username}}",
        "password": "{{secrets.login.password}}",
    }
    nodes = {"a": {"type": "http-request", "config": {"url": f"{server.url}/x", "auth": auth}}}
    execution = await run_workflow(
        Workflow.from_dict({"sealflow": 1, "name": "w", "nodes": nodes}), service=service
    )
    header = base64.b64encode(b"json:hunter2-password").decode()
    assert server.seen[0].headers["Authorization"] == f"Basic {header}"
    assert header not in execution.to_json()
    assert "hunter2" not in execution.to_json()


def test_a_short_public_value_needs_no_permission(service):
    service.create_secret("db", "custom", DB, public_fields=["host"], allow_short=False)
    assert marked(service, "db") == ("host",)


def test_a_short_confidential_value_needs_permission_beside_a_public_one(service):
    with pytest.raises(SecretValidationError, match="field pin"):
        service.create_secret("x", "custom", {**DB, "pin": "17"}, public_fields=["host"], allow_short=False)


@pytest.mark.parametrize(
    ("type_name", "data", "public"),
    [
        ("bearer_token", {"token": "hunter2"}, ["token"]),
        ("basic_auth", {"username": "us-er", "password": "hunter2"}, ["username", "password"]),
        ("custom", DB, ["hots"]),
        ("custom", DB, "host"),
        ("custom", DB, [17]),
    ],
)
def test_what_cannot_be_public_is_refused(service, type_name, data, public):
    with pytest.raises(SecretValidationError) as caught:
        service.create_secret("x", type_name, data, public_fields=public)
    assert caught.value.field == "public_fields"
    assert "hunter2" not in str(caught.value)


def test_new_data_keeps_the_marks_of_the_fields_that_it_has(service):
    service.create_secret("db", "custom", DB, public_fields=["host", "region"])
    service.update_secret("db", {"host": "eu2", "password": "another"})
    service.update_secret("db", DB)
    assert marked(service, "db") == ("host",)


def test_new_metadata_keeps_the_marks(service):
    service.create_secret("db", "custom", DB, public_fields=["host"])
    service.update_secret("db", description="new")
    assert marked(service, "db") == ("host",)


def test_marks_change_without_new_data(service):
    service.create_secret("db", "custom", DB, public_fields=["host"])
    service.update_secret("db", public_fields=["region"])
    assert marked(service, "db") == ("region",)
    assert service.get_secret("db").data == DB


def test_a_rollback_makes_nothing_public_that_is_confidential_now(service):
    service.create_secret("db", "custom", DB, public_fields=["host", "region"])
    service.update_secret("db", public_fields=["host"])
    service.rollback("db", 1)
    assert marked(service, "db") == ("host",)


def test_a_type_of_ones_own_says_which_fields_are_public(service):
    class Database(SecretFields):
        public_fields = ("server",)

        server: str
        password: str

    register_secret_type("database_of_test_contents", Database)
    data = {"server": "db", "password": "hunter2"}
    service.create_secret("d", "database_of_test_contents", data, allow_short=False)
    assert marked(service, "d") == ("server",)


def test_a_copy_has_the_same_marks(service):
    service.create_secret("db", "custom", DB, public_fields=["host"])
    service.copy_secret("db", "copy")
    assert marked(service, "copy") == ("host",)


def test_a_renamed_secret_keeps_its_marks(service):
    service.create_secret("db", "custom", DB, public_fields=["host"])
    service.rename_secret("db", "renamed")
    assert marked(service, "renamed") == ("host",)


def test_marks_travel_in_a_bundle(service, tmp_path):
    service.create_secret("db", "custom", DB, public_fields=["host"])
    passphrase = read_passphrase("a long enough passphrase of a test", "a test")
    export_bundle(service, tmp_path / "bundle", passphrase)
    service.destroy("db")
    import_bundle(service, tmp_path / "bundle", passphrase)
    assert marked(service, "db") == ("host",)


def test_the_marks_are_inside_the_encryption(service):
    service.create_secret("db", "custom", DB, public_fields=["host"])
    stored = access_of(service).registry.read("db", None)
    assert b"host" not in stored.record
    assert "host" not in stored.policy.replace("allowed_hosts", "")


async def test_a_provider_makes_the_usual_fields_public(service):
    from sealflow.providers.base import NO_POLICY, Found

    found = Found({"username": "json", "password": "hunter2", "host": "eu1"}, NO_POLICY, "vault")
    assert found.confidential == ["hunter2", "eu1"]


def test_the_command_marks_fields(cli, tmp_path):
    cli("init")
    given = '{"host": "eu1", "region": "eu", "password": "hunter2-password"}'
    made = cli(
        "secret",
        "create",
        "db",
        "--type",
        "custom",
        "--public",
        "host",
        "--public",
        "region",
        "--from-json",
        "-",
        stdin=given,
    )
    assert made.code == 0, made.err
    assert json.loads(cli("secret", "get", "db", "--json").out)["public_fields"] == ["host", "region"]


def test_the_command_masks_all_fields_on_request(cli):
    cli("init")
    given = '{"username": "somebody", "password": "hunter2-password"}'
    cli("secret", "create", "db", "--type", "basic_auth", "--mask-all", "--from-json", "-", stdin=given)
    assert json.loads(cli("secret", "get", "db", "--json").out)["public_fields"] == []
