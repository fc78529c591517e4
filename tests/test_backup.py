"""Backup and restore: consistent under writes, every bit checked, killed anywhere."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import threading

import pytest

import killing
from sealflow import (
    DamagedRecordError,
    MasterKey,
    StoreUnavailableError,
    TamperedError,
    WrongMasterKeyError,
    open_service,
)
from sealflow.model.stored import StoredSecret
from sealflow.operations.backup import check_backup, write_backup
from sealflow.operations.keys import StoreKeys
from sealflow.operations.restore import restore_from
from sealflow.service.access import access_of
from sealflow.settings import Settings

TORTURE = bool(os.environ.get("SEALFLOW_TORTURE"))


@pytest.fixture
def filled(any_service):
    any_service.create_secret("a", "api_key", {"value": "value-one"}, tags=["x"], description="ünïcode")
    any_service.update_secret("a", {"value": "value-two"}, allowed_hosts=["api.example.com"])
    any_service.create_secret("gone", "api_key", {"value": "value-gone"})
    any_service.delete_secret("gone")
    any_service.create_secret(
        "db", "custom", {"deep": {"er": [1, "deep-value"]}}, expires_at="2999-01-01T00:00:00Z"
    )
    return any_service


def everything(registry) -> tuple[object, list[StoredSecret]]:
    with registry.snapshot() as snapshot:
        keyring = snapshot.keyring
        return [sorted(part, key=str) for part in keyring], sorted(snapshot.secrets)


def test_it_holds_all_and_opens_with_the_master_key_alone(filled, key, tmp_path, backend):
    file = tmp_path / "b"
    info = write_backup(access_of(filled).registry, file, (key,))
    assert (info.secrets, info.decrypted, info.backend) == (3, True, backend)
    assert file.stat().st_mode & 0o777 == 0o600
    assert killing.strays(tmp_path) == []
    before = everything(access_of(filled).registry)
    for other in ("sqlite", "file", None):
        target = tmp_path / f"restored-{other}" / "secrets"
        restored = restore_from(file, Settings(target, other), (key,))
        assert restored.kept is None
        with open_service(target, master_key=key) as service:
            assert service.backend == (other or backend)
            assert everything(access_of(service).registry) == before
            assert service.get_secret("a").data == {"value": "value-two"}
            assert service.get_secret("a", 1).data == {"value": "value-one"}
            assert service.undelete("gone").version == 1
        assert {path.stat().st_mode & 0o77 for path in target.rglob("*")} == {0}


def test_nothing_is_written_over(filled, tmp_path):
    file = tmp_path / "b"
    file.write_text("mine")
    with pytest.raises(StoreUnavailableError, match="exists"):
        write_backup(access_of(filled).registry, file, ())
    assert file.read_text() == "mine"
    with pytest.raises(StoreUnavailableError):
        write_backup(access_of(filled).registry, tmp_path / "no" / "such" / "b", ())


def test_every_write_acknowledged_before_it_began_is_there(any_service, key, tmp_path):
    acknowledged: list[int] = []
    stop, allowed = threading.Event(), threading.Semaphore(0)

    def write() -> None:
        for number in itertools.count():
            allowed.acquire()
            if stop.is_set():
                return
            if number % 3 == 2:
                any_service.update_secret(f"s{number - 1}", {"value": f"value-of-{number - 1}-again"})
            else:
                any_service.create_secret(f"s{number}", "api_key", {"value": f"value-of-{number}"})
            acknowledged.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for round_ in range(8 if TORTURE else 4):
            # The first ten go before the backup, the rest beside it. Unbounded, a fast writer drowns the checks.
            allowed.release(100)
            while len(acknowledged) < 10 * (round_ + 1):
                assert writer.is_alive()
            before = list(acknowledged)
            file = tmp_path / f"b{round_}"
            write_backup(access_of(any_service).registry, file, (key,))
            target = tmp_path / f"restored{round_}"
            restore_from(file, Settings(target, None), (key,))
            with open_service(target, master_key=key) as service:
                for number in before:
                    if number % 3 == 2:
                        assert service.get_secret(f"s{number - 1}").version == 2
                    else:
                        assert service.get_secret(f"s{number}", 1).data == {"value": f"value-of-{number}"}
            shutil.rmtree(target)  # hundreds of files, of which the canary would read each
    finally:
        stop.set()
        allowed.release()
        writer.join()


@pytest.mark.slow
def test_a_flipped_bit_anywhere_is_found(filled, tmp_path):
    file, flipped = tmp_path / "b", tmp_path / "flipped"
    write_backup(access_of(filled).registry, file, ())
    content = file.read_bytes()
    every = range(len(content) * 8)
    for bit in every if TORTURE else random.Random(5).sample(every, 1500) + list(every)[-1200:]:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        flipped.write_bytes(changed)
        with pytest.raises(
            (DamagedRecordError, StoreUnavailableError)
        ):  # the format's own digit may become newer
            check_backup(flipped, ())


@pytest.mark.parametrize("how", ["cut", "cut-line", "more", "twice", "empty", "other", "no-end", "swapped"])
def test_what_is_no_whole_backup_is_refused(filled, key, tmp_path, how):
    file = tmp_path / "b"
    write_backup(access_of(filled).registry, file, ())
    lines = file.read_bytes().splitlines(keepends=True)
    changed = {
        "cut": b"".join(lines)[:-30],
        "cut-line": b"".join(lines[:-2] + lines[-1:]),
        "more": b"".join(lines) + b"\n",
        "twice": b"".join(lines[:3] + lines[2:]),
        "empty": b"",
        "other": b'{"version": 1}\n',
        "no-end": b"".join(lines[:-1]),
        "swapped": b"".join([*lines[:2], lines[3], lines[2], *lines[4:]]),
    }[how]
    file.write_bytes(changed)
    with pytest.raises(DamagedRecordError, match="is damaged"):
        check_backup(file, (key,))
    with pytest.raises(DamagedRecordError):
        restore_from(file, Settings(tmp_path / "target", None), (key,))
    assert not (tmp_path / "target").exists()


def test_a_backup_that_was_made_to_fit_is_found_by_its_records(filled, key, tmp_path):
    """Who recomputes the checksum still cannot change a policy, swap records, or use another keyring."""
    secret = access_of(filled).registry.load("a")
    current = secret.current._replace(policy=secret.current.policy.replace("api.", "evil."))
    with access_of(filled).registry.transaction() as transaction:
        transaction.save(secret._replace(versions=(secret.versions[0], current)))
    file = tmp_path / "b"
    write_backup(access_of(filled).registry, file, ())  # a damaged store can still be put in a safe place
    assert not check_backup(file, ()).decrypted
    with pytest.raises(TamperedError, match="version 2 of the secret 'a'"):
        check_backup(file, (key,))
    with pytest.raises(WrongMasterKeyError):
        check_backup(file, (MasterKey.generate(),))
    with pytest.raises(TamperedError):
        write_backup(access_of(filled).registry, tmp_path / "b2", (key,))
    assert not (tmp_path / "b2").exists()


def test_a_newer_format_is_refused_with_advice(tmp_path, key):
    file = tmp_path / "b"
    file.write_text('{"sealflow_backup": 2}\n')
    with pytest.raises(StoreUnavailableError, match="Update sealflow"):
        check_backup(file, (key,))
    with pytest.raises(StoreUnavailableError):
        check_backup(tmp_path / "missing", (key,))


def test_a_restore_keeps_what_was_there_and_readers_see_it_at_once(filled, key, tmp_path):
    file = tmp_path / "b"
    write_backup(access_of(filled).registry, file, (key,))
    before = everything(access_of(filled).registry)
    filled.update_secret("a", {"value": "value-three"})
    filled.create_secret("later", "api_key", {"value": "value-later"})
    StoreKeys(filled).rotate_dek()
    StoreKeys(filled).reencrypt()
    changed = everything(access_of(filled).registry)
    info = restore_from(file, Settings(tmp_path / "service", None), (key,))
    assert everything(access_of(filled).registry) == before
    assert filled.get_secret("a").data == {"value": "value-two"}
    assert access_of(filled).registry.load("later") is None
    restore_from(info.kept, Settings(tmp_path / "service", None), (key,))
    assert everything(access_of(filled).registry) == changed
    assert filled.get_secret("later").data == {"value": "value-later"}


def test_another_store_is_not_replaced(filled, key, tmp_path):
    file = tmp_path / "b"
    write_backup(access_of(filled).registry, file, (key,))
    with open_service(tmp_path / "other", master_key=key) as other:
        other.create_secret("mine", "api_key", {"value": "value-mine"})
        with pytest.raises(StoreUnavailableError, match="another directory"):
            restore_from(file, Settings(tmp_path / "other", None), (key,))
        assert other.get_secret("mine").data == {"value": "value-mine"}
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "precious").write_text("mine")
    with pytest.raises(StoreUnavailableError, match="must not exist, or be empty"):
        restore_from(file, Settings(tmp_path / "files", None), (key,))
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["precious"]


def test_a_damaged_store_is_put_aside(filled, key, tmp_path, backend):
    file = tmp_path / "b"
    write_backup(access_of(filled).registry, file, (key,))
    before = everything(access_of(filled).registry)
    filled.close()
    target = tmp_path / "service"
    (target / {"sqlite": "secrets.db", "file": "keyring.json"}[backend]).write_bytes(b"not what it was")
    info = restore_from(file, Settings(target, None), (key,))
    assert (info.kept / "store.json").exists()
    with open_service(target, master_key=key) as service:
        assert service.backend == backend
        assert everything(access_of(service).registry) == before


def test_a_store_with_a_damaged_record_is_put_aside_as_it_is(tmp_path, key):
    with open_service(tmp_path / "service", "file", key) as service:
        service.create_secret("a", "api_key", {"value": "value-one"})
        write_backup(access_of(service).registry, tmp_path / "b", (key,))
    next((tmp_path / "service" / "records").glob("*.json")).write_text("{")
    info = restore_from(tmp_path / "b", Settings(tmp_path / "service", None), (key,))
    assert info.kept.is_dir()
    with open_service(tmp_path / "service", master_key=key) as service:
        assert service.get_secret("a").data == {"value": "value-one"}


@pytest.mark.slow
@pytest.mark.parametrize("existing", [True, False])
def test_a_restore_killed_anywhere_leaves_the_old_store_or_the_new_one(
    filled, key, tmp_path, monkeypatch, existing, backend
):
    file, target = tmp_path / "b", tmp_path / "target"
    write_backup(access_of(filled).registry, file, (key,))
    new = everything(access_of(filled).registry)
    filled.update_secret("a", {"value": "value-three"})
    filled.create_secret("later", "api_key", {"value": "value-later"})
    old = everything(access_of(filled).registry)
    filled.close()
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_PATH", str(target))
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    arguments = ("backup", "restore", str(file), "--yes")

    def prepare() -> None:
        shutil.rmtree(target, ignore_errors=True)
        if existing:
            shutil.copytree(tmp_path / "service", target)

    prepare()
    total = killing.calls_of(*arguments)
    seen = []
    for at in killing.points(total, 40 if TORTURE else 12):
        prepare()
        killing.killed_at(at, *arguments)
        if not existing and not target.exists():
            seen.append("nothing")
            continue
        with open_service(target, master_key=key) as service:
            found = everything(access_of(service).registry)
            seen.append("old" if found == old else "new" if found == new else "neither")
            assert service.get_secret("a", 1).data == {"value": "value-one"}
    assert "neither" not in seen
    assert seen[0] == ("old" if existing else "nothing")
    prepare()
    assert killing.calls_of(*arguments)
    with open_service(target, master_key=key) as service:
        assert everything(access_of(service).registry) == new


@pytest.mark.slow
@pytest.mark.parametrize("how", [1, 5, 9])
def test_a_backup_killed_anywhere_leaves_no_half_file(filled, key, tmp_path, monkeypatch, how):
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_PATH", str(tmp_path / "service"))
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    total = killing.calls_of("backup", "create", str(tmp_path / "whole"))
    file = tmp_path / "b"
    killing.killed_at(total * how // 10, "backup", "create", str(file))
    if file.exists():
        assert check_backup(file, (key,)).secrets == 3
