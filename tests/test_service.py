from __future__ import annotations

import copy
import pickle
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

import sealflow
from sealflow import (
    DamagedRecordError,
    MasterKey,
    MissingMasterKeyError,
    SecretExistsError,
    SecretNotFoundError,
    SecretValidationError,
    TamperedError,
    VersionConflictError,
    WrongMasterKeyError,
    open_service,
)
from sealflow.service.access import access_of
from test_types import GOOD


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("type_name", GOOD)
def test_each_type_is_kept_and_given_back(any_service, type_name):
    info = any_service.create_secret(
        "s", type_name, GOOD[type_name], description="what for", tags=["b", "a", "b"]
    )
    assert (info.name, info.type, info.version) == ("s", type_name, 1)
    secret = any_service.get_secret("s")
    assert secret.data == GOOD[type_name]
    assert secret.fields == tuple(sorted(GOOD[type_name]))
    assert secret.metadata.description == "what for"
    assert secret.metadata.tags == ("a", "b")
    assert secret.info == info
    assert secret.metadata.created_at.tzinfo is UTC


def test_updates_make_versions_and_ten_are_kept(any_service):
    any_service.create_secret("s", "api_key", {"value": "v-1"})
    for number in range(2, 15):
        assert any_service.update_secret("s", {"value": f"v-{number}"}).version == number
    assert any_service.get_secret("s").data == {"value": "v-14"}
    assert any_service.get_secret("s", 5).data == {"value": "v-5"}
    for gone in (0, 4, 15, 2**70):
        with pytest.raises((SecretNotFoundError, sealflow.StoreError)):
            any_service.get_secret("s", gone)


def test_compare_and_set(any_service):
    any_service.create_secret("s", "api_key", {"value": "v-1"})
    any_service.update_secret("s", {"value": "v-2"}, expected_version=1)
    for wrong in (0, 1, 3):
        with pytest.raises(VersionConflictError, match="version 2"):
            any_service.update_secret("s", {"value": "v-x"}, expected_version=wrong)
    assert any_service.get_secret("s").data == {"value": "v-2"}


def test_metadata_is_changed_and_cleared_alone(any_service):
    any_service.create_secret(
        "s",
        "api_key",
        {"value": "v-1"},
        description="d",
        tags=["t"],
        allowed_hosts=["a.com"],
        expires_at="2030-01-01T00:00:00Z",
    )
    info = any_service.update_secret("s", tags=["u"], allowed_workflows=["w-*"])
    assert info.version == 2
    metadata = any_service.get_secret("s").metadata
    assert (metadata.description, metadata.tags, metadata.allowed_hosts, metadata.allowed_workflows) == (
        "d",
        ("u",),
        ("a.com",),
        ("w-*",),
    )
    assert metadata.expires_at == datetime(2030, 1, 1, tzinfo=UTC)
    info = any_service.update_secret(
        "s", description=None, tags=(), allowed_hosts=None, expires_at=None, allowed_workflows=None
    )
    assert info.to_dict() | {"created_at": 0, "updated_at": 0} == {
        "name": "s", "type": "api_key", "version": 3, "description": None, "tags": [], "created_at": 0, "updated_at": 0,
        "expires_at": None, "allowed_hosts": None, "allowed_workflows": None,
    }  # fmt: skip
    assert any_service.get_secret("s").data == {"value": "v-1"}


def test_an_update_with_nothing_in_it_is_refused(any_service):
    any_service.create_secret("s", "api_key", {"value": "v-1"})
    with pytest.raises(SecretValidationError, match="nothing"):
        any_service.update_secret("s")


def test_creating_twice_is_refused_and_changes_nothing(any_service):
    any_service.create_secret("s", "api_key", {"value": "v-1"})
    with pytest.raises(SecretExistsError):
        any_service.create_secret("s", "bearer_token", {"token": "other"})
    assert any_service.get_secret("s").data == {"value": "v-1"}


def test_a_deleted_secret_is_gone_and_its_name_free(any_service):
    any_service.create_secret("s", "api_key", {"value": "v-1"})
    any_service.delete_secret("s")
    assert any_service.list_secrets() == []
    for attempt in (
        lambda: any_service.get_secret("s"),
        lambda: any_service.delete_secret("s"),
        lambda: any_service.update_secret("s", {"value": "x"}),
    ):
        with pytest.raises(SecretNotFoundError):
            attempt()
    info = any_service.create_secret("s", "bearer_token", {"token": "t-2"})
    assert info.version == 2
    assert any_service.get_secret("s").data == {"token": "t-2"}


def test_a_missing_secret_is_named_with_the_closest(any_service):
    any_service.create_secret("github", "api_key", {"value": "vvvv"})
    with pytest.raises(SecretNotFoundError, match="'githbu'.*'github'"):
        any_service.get_secret("githbu")
    for name in ("no such name!", "", None, 5, "../etc", "a" * 129):
        with pytest.raises(SecretNotFoundError):
            any_service.get_secret(name)
    assert any_service.get_secrets(["github", "nope", "?"]).keys() == {"github"}


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "a.b", "ä", "a" * 129, None, "a\n", "\0"])
def test_names_outside_the_grammar_are_refused(any_service, name):
    with pytest.raises(SecretValidationError) as caught:
        any_service.create_secret(name, "api_key", {"value": "hunter2hunter2"})
    assert caught.value.field == "name"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"tags": "prod"},
        {"tags": [""]},
        {"tags": ["a\x1fb"]},
        {"tags": 5},
        {"description": 5},
        {"allowed_hosts": "a.com"},
    ],
)
def test_metadata_that_cannot_be_kept_is_refused(any_service, bad):
    with pytest.raises(SecretValidationError) as caught:
        any_service.create_secret("s", "api_key", {"value": "vvvv"}, **bad)
    assert caught.value.field == next(iter(bad))
    assert any_service.list_secrets() == []


def test_listing_filters_and_reveals_nothing(any_service):
    any_service.create_secret("b", "api_key", {"value": "hunter2hunter2"}, tags=["x", "y"])
    any_service.create_secret("a", "bearer_token", {"token": "hunter2hunter2"}, tags=["x"])
    assert [info.name for info in any_service.list_secrets()] == ["a", "b"]
    assert [info.name for info in any_service.list_secrets("apiKey")] == ["b"]
    assert [info.name for info in any_service.list_secrets(tags=["x", "y"])] == ["b"]
    assert [info.name for info in any_service.list_secrets("oauth")] == []
    with pytest.raises(SecretValidationError):
        any_service.list_secrets("no_type")
    with pytest.raises(SecretValidationError):
        any_service.list_secrets(tags="x")
    assert "hunter2" not in repr(any_service.list_secrets())
    assert not any(
        isinstance(part, bytes) for info in any_service.list_secrets() for part in (*info, *info.metadata)
    )


def test_a_revealed_secret_is_masked_and_neither_copied_nor_pickled(any_service):
    any_service.create_secret("s", "custom", {"a": {"deep": ["hunter2hunter2"]}})
    secret = any_service.get_secret("s")
    assert "hunter2" not in f"{secret!r} {secret!s} {secret:}"
    for attempt in (lambda: pickle.dumps(secret), lambda: copy.copy(secret), lambda: copy.deepcopy(secret)):
        with pytest.raises(TypeError) as caught:
            attempt()
        assert "hunter2" not in str(caught.value)
    assert secret == any_service.get_secret("s")
    assert hash(secret) == hash(any_service.get_secret("s"))
    any_service.update_secret("s", {"a": 1})
    assert secret != any_service.get_secret("s")
    assert secret != "s"


def test_changing_what_was_given_changes_nothing_else(any_service):
    data = {"a": {"b": [1]}}
    any_service.create_secret("s", "custom", data)
    secret = any_service.get_secret("s")
    secret.data["a"]["b"].append(2)
    data["a"]["b"].append(3)
    assert secret.data == any_service.get_secret("s").data == {"a": {"b": [1]}}


def test_no_value_and_no_key_is_in_any_file(any_service, key, tmp_path):
    for number in range(20):
        any_service.create_secret(f"s{number}", "api_key", {"value": f"hunter2-{number}"}, description="d")
        any_service.update_secret(f"s{number}", {"value": f"hunter3-{number}"})
    any_service.close()
    everything = b"".join(contents(tmp_path / "service").values())
    assert b"hunter" not in everything
    assert key.reveal() not in everything
    assert key.to_text().encode() not in everything


def test_another_master_key_is_refused_at_open_and_no_byte_changes(tmp_path, key, backend):
    with open_service(tmp_path / "s", backend, key) as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
    before = contents(tmp_path / "s")
    other = MasterKey.generate()
    with pytest.raises(WrongMasterKeyError) as caught:
        open_service(tmp_path / "s", backend, other)
    assert other.kek_id in str(caught.value)
    assert key.kek_id in str(caught.value)
    assert contents(tmp_path / "s") == before


def test_without_a_master_key_nothing_is_made(tmp_path):
    with pytest.raises(MissingMasterKeyError):
        open_service(tmp_path / "s")
    assert not (tmp_path / "s" / "secrets.db").exists()
    assert not (tmp_path / "s" / "store.json").exists()


def test_variables_fill_in_for_arguments(monkeypatch, tmp_path, key):
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_PATH", str(tmp_path / "env"))
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_BACKEND", "File")
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    with open_service() as service:
        assert service.backend == "file"
    assert (tmp_path / "env" / "keyring.json").exists()


def test_the_default_place_is_below_the_current_directory(own_world, key):
    with open_service(master_key=key):
        pass
    assert (own_world / ".workflow" / "secrets" / "secrets.db").exists()
    assert (own_world / ".workflow").stat().st_mode & 0o777 == 0o700


TAMPERING = {
    "rows swapped": "UPDATE versions SET record = (SELECT record FROM versions WHERE secret_id <> (SELECT id FROM secrets WHERE name = 'a') LIMIT 1) WHERE secret_id = (SELECT id FROM secrets WHERE name = 'a')",
    "hosts widened": "UPDATE versions SET policy = replace(policy, 'api.example.com', 'evil.example.com')",
    "hosts removed": "UPDATE versions SET policy = replace(policy, '[\"api.example.com\"]', 'null')",
    "expiry moved": "UPDATE versions SET policy = replace(policy, '2030', '2040')",
    "type changed": "UPDATE versions SET type = 'custom'",
    "renamed": "UPDATE secrets SET name = CASE name WHEN 'a' THEN 'z' ELSE 'a' END",
    "version replayed": "UPDATE versions SET record = (SELECT o.record FROM versions o WHERE o.secret_id = versions.secret_id AND o.version = 1) WHERE version = 2",
    "store id changed": "UPDATE store SET store_id = 'other'",
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_in_the_database_is_noticed(tmp_path, key, how):
    with open_service(tmp_path / "s", "sqlite", key) as service:
        for name in ("a", "b"):
            service.create_secret(
                name,
                "api_key",
                {"value": f"one-{name}"},
                allowed_hosts=["api.example.com"],
                expires_at="2030-01-01T00:00:00Z",
            )
            service.update_secret(name, {"value": f"two-{name}"})
    connection = sqlite3.connect(tmp_path / "s" / "secrets.db")
    connection.execute(TAMPERING[how])
    connection.commit()
    connection.close()
    with pytest.raises(TamperedError), open_service(tmp_path / "s", "sqlite", key) as service:
        service.get_secret("a")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE versions SET policy = 'x'",
        "UPDATE secrets SET created_at = 'x'",
        "UPDATE versions SET record = x'00'",
        "UPDATE versions SET record = x'0011'",
        "DELETE FROM key_wraps",
    ],
)
def test_damage_is_reported_with_the_name_of_the_secret(tmp_path, key, statement):
    with open_service(tmp_path / "s", "sqlite", key) as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
    connection = sqlite3.connect(tmp_path / "s" / "secrets.db")
    connection.execute(statement)
    connection.commit()
    connection.close()
    with (
        pytest.raises((DamagedRecordError, TamperedError)),
        open_service(tmp_path / "s", "sqlite", key) as service,
    ):
        service.get_secret("a").metadata  # noqa: B018
        service.list_secrets()


def test_threads_share_a_service(any_service):
    any_service.create_secret("counter", "custom", {"n": 0})
    problems = []

    def work(worker: int) -> None:
        try:
            for turn in range(5):
                any_service.create_secret(f"w{worker}-{turn}", "api_key", {"value": f"v-{worker}-{turn}"})
                assert any_service.get_secret(f"w{worker}-{turn}").data == {"value": f"v-{worker}-{turn}"}
                while True:
                    now = any_service.get_secret("counter")
                    try:
                        any_service.update_secret(
                            "counter", {"n": now.data["n"] + 1}, expected_version=now.version
                        )
                        break
                    except VersionConflictError:
                        continue
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert any_service.get_secret("counter").data == {"n": 30}
    assert len(any_service.list_secrets()) == 31


def test_a_service_sees_keys_that_another_process_added(tmp_path, key):
    from sealflow.operations.keys import StoreKeys

    with (
        open_service(tmp_path / "s", "sqlite", key) as reader,
        open_service(tmp_path / "s", "sqlite", key) as other,
    ):
        old = access_of(other).registry.keyring()
        dek_id = StoreKeys(other).rotate_dek()
        assert access_of(other).registry.keyring() != old
        other.create_secret("new", "api_key", {"value": "vvvv"})
        assert reader.get_secret("new").data == {"value": "vvvv"}
        reader.update_secret("new", {"value": "wwww"})
        assert access_of(reader).registry.read("new").record[4:12].hex() == dek_id


def test_the_repr_of_a_service_tells_nothing(service, key):
    assert key.to_text() not in repr(service) + repr(access_of(service).cipher.keyring)
