"""Moving house: another backend, another environment."""

from __future__ import annotations

import json
import os
import shutil

import pytest

import killing
from sealflow import (
    DamagedRecordError,
    InvalidMasterKeyError,
    MasterKey,
    SecretExistsError,
    SecretNotFoundError,
    SettingsError,
    StoreUnavailableError,
    open_service,
)
from sealflow.crypto.master_key import Passphrase
from sealflow.operations.bundle import export_bundle, import_bundle
from sealflow.operations.keys import StoreKeys
from sealflow.operations.migrate import move_store
from sealflow.operations.old_copies import find_old_copies, remove_old_copies
from sealflow.service.access import access_of
from sealflow.settings import Settings

TORTURE = bool(os.environ.get("SEALFLOW_TORTURE"))
PHRASE = Passphrase(b"five random words for it", "a test")


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "service", None)


@pytest.fixture
def filled(any_service):
    any_service.create_secret("a", "api_key", {"value": "value-one"}, tags=["x", "y"], description="ünïcode")
    for number in range(12):
        any_service.update_secret("a", {"value": f"value-{number}"}, allowed_hosts=["api.example.com"])
    any_service.create_secret("gone", "custom", {"deep": {"er": [1, True, "deep-value"]}})
    any_service.delete_secret("gone")
    any_service.destroy("a", [7])
    StoreKeys(any_service).add_recovery()
    StoreKeys(any_service).rotate_dek()
    any_service.create_secret("b", "api_key", {"value": "value-b"}, expires_at="2999-01-01T00:00:00Z")
    return any_service


def everything(registry):
    with registry.snapshot() as snapshot:
        return [sorted(part, key=str) for part in snapshot.keyring], sorted(snapshot.secrets)


def test_there_and_back_is_equal_to_the_byte(filled, key, settings, backend):
    other = {"sqlite": "file", "file": "sqlite"}[backend]
    before = everything(access_of(filled).registry)
    filled.close()
    done = move_store(settings, other)
    assert done[:3] == (backend, other, 2)
    with open_service(settings.path, master_key=key) as service:
        assert service.backend == other
        assert everything(access_of(service).registry) == before
        assert service.get_secret("a").data == {"value": "value-11"}
        assert access_of(service).registry.problems() == []
    assert move_store(settings, backend).target == backend
    with open_service(settings.path, master_key=key) as service:
        assert service.backend == backend
        assert everything(access_of(service).registry) == before
    assert len(find_old_copies(settings)) == 2
    assert {path.stat().st_mode & 0o77 for path in settings.path.rglob("*")} == {0}
    assert len(remove_old_copies(settings)) == 2
    with pytest.raises(StoreUnavailableError, match="no old copies"):
        remove_old_copies(settings)
    with open_service(settings.path, master_key=key) as service:
        assert everything(access_of(service).registry) == before


def test_moving_to_where_it_is_changes_nothing(filled, settings, backend):
    before = everything(access_of(filled).registry)
    assert move_store(settings, backend) == (backend, backend, 2, ())
    assert everything(access_of(filled).registry) == before
    with pytest.raises(SettingsError, match="no storage backend"):
        move_store(settings, "cassandra")


def test_who_had_it_open_neither_writes_into_the_old_store_nor_reads_from_it(
    filled, settings, backend, monkeypatch
):
    monkeypatch.setattr("sealflow.stores.sqlite_connections.LOOK_SECONDS", 0)
    assert filled.get_secret("b").data == {"value": "value-b"}
    filled.update_secret("b", {"value": "value-b2"})
    move_store(settings, {"sqlite": "file", "file": "sqlite"}[backend])
    for write in (
        lambda: filled.get_secret("b"),
        lambda: filled.create_secret("lost", "api_key", {"value": "value-lost"}),
        lambda: filled.update_secret("b", {"value": "value-lost"}),
        lambda: filled.delete_secret("b"),
    ):
        with pytest.raises((StoreUnavailableError, DamagedRecordError)):
            write()


@pytest.mark.slow
@pytest.mark.parametrize("twice", [False, True])
def test_a_move_killed_anywhere_can_be_run_again(filled, key, tmp_path, monkeypatch, backend, twice):
    other = {"sqlite": "file", "file": "sqlite"}[backend]
    before = everything(access_of(filled).registry)
    filled.close()
    target = tmp_path / "target"
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_PATH", str(target))
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    arguments = ("store", "migrate", "--to", other)

    def prepare() -> None:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(tmp_path / "service", target)

    prepare()
    total, seen = killing.calls_of(*arguments), []
    for at in killing.points(total, 40 if TORTURE else 12):
        prepare()
        killing.killed_at(at, *arguments)
        if twice:
            killing.killed_at(at, *arguments)
        with open_service(target, master_key=key) as service:
            assert everything(access_of(service).registry) == before
            seen.append(service.backend)
        move_store(Settings(target, None), other)
        with open_service(target, master_key=key) as service:
            assert everything(access_of(service).registry) == before
            assert service.backend == other
        assert not (target / {"sqlite": "secrets.db", "file": "keyring.json"}[backend]).exists()
        assert killing.strays(target) == []
    assert seen[0] == backend


def test_two_stores_without_a_marker_are_not_chosen_between(tmp_path, key):
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    for name in ("sqlite", "file"):
        with open_service(tmp_path / name, name, key):
            pass
        for path in (tmp_path / name).iterdir():
            if path.name != "store.json":
                (shutil.copytree if path.is_dir() else shutil.copy2)(path, other / path.name)
    with pytest.raises(DamagedRecordError, match=r"store\.json, which says which is live, is missing"):
        open_service(other, master_key=key)


# --- bundles ----------------------------------------------------------------------------------------------------------


def test_a_bundle_goes_to_an_environment_with_another_key(filled, tmp_path):
    assert export_bundle(filled, tmp_path / "bundle", PHRASE) == 2
    assert (tmp_path / "bundle").stat().st_mode & 0o777 == 0o600
    with open_service(tmp_path / "other", master_key=MasterKey.generate()) as other:
        assert import_bundle(other, tmp_path / "bundle", PHRASE) == (("a", "b"), (), ())
        for name in ("a", "b"):
            ours, theirs = filled.get_secret(name), other.get_secret(name)
            assert theirs.data == ours.data
            assert theirs.type == ours.type
            for item in ("description", "tags", "policy"):
                assert getattr(theirs.metadata, item) == getattr(ours.metadata, item)
            assert theirs.version == 1


@pytest.mark.slow
def test_names_in_use_are_refused_skipped_or_updated(filled, tmp_path):
    export_bundle(filled, tmp_path / "bundle", PHRASE, ["a"])
    with open_service(tmp_path / "other", master_key=MasterKey.generate()) as other:
        import_bundle(other, tmp_path / "bundle", PHRASE)
        other.update_secret("a", {"value": "value-mine"})
        export_bundle(filled, tmp_path / "both", PHRASE)
        with pytest.raises(SecretExistsError, match="nothing was imported"):
            import_bundle(other, tmp_path / "both", PHRASE)
        assert [info.name for info in other.list_secrets()] == ["a"]  # all or none
        assert import_bundle(other, tmp_path / "both", PHRASE, "skip") == (("b",), (), ("a",))
        assert other.get_secret("a").data == {"value": "value-mine"}
        assert import_bundle(other, tmp_path / "both", PHRASE, "update") == ((), ("a", "b"), ())
        assert other.get_secret("a").data == {"value": "value-11"}
        assert other.get_secret("a").version == 3
        other.delete_secret("b")
        assert import_bundle(other, tmp_path / "both", PHRASE, "skip").created == ("b",)


def test_what_cannot_be_exported_or_opened_is_refused(filled, tmp_path):
    file = tmp_path / "bundle"
    with pytest.raises(SecretNotFoundError):
        export_bundle(filled, file, PHRASE, ["a", "never"])
    assert not file.exists()
    export_bundle(filled, file, PHRASE)
    with pytest.raises(StoreUnavailableError, match="exists"):
        export_bundle(filled, file, PHRASE)
    with pytest.raises(InvalidMasterKeyError, match="passphrase does not open"):
        import_bundle(filled, file, Passphrase(b"another five random words", "a test"))
    with pytest.raises(StoreUnavailableError, match="does not exist"):
        import_bundle(filled, tmp_path / "missing", PHRASE)
    document = json.loads(file.read_text())
    for changed in (
        {**document, "sealed": document["sealed"][:-8] + "AAAAAAA="},
        {**document, "sealed": "!"},
        {**document, "sealflow_bundle": "1"},
        {key: value for key, value in document.items() if key != "scrypt"},
        [1],
    ):
        file.write_text(json.dumps(changed))
        with pytest.raises(DamagedRecordError):
            import_bundle(filled, file, PHRASE)
    file.write_text(json.dumps({**document, "sealflow_bundle": 2}))
    with pytest.raises(StoreUnavailableError, match="Update sealflow"):
        import_bundle(filled, file, PHRASE)
    file.write_text(json.dumps({**document, "scrypt": {**document["scrypt"], "n": 1 << 22}}))
    with pytest.raises(InvalidMasterKeyError, match="out of bounds"):
        import_bundle(filled, file, PHRASE)
