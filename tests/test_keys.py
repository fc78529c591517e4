"""Keys: added, exchanged, rotated, removed, while others read and write, and killed half-way."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import killing
from needs import needs
from sealflow import (
    DamagedRecordError,
    InvalidMasterKeyError,
    MasterKey,
    MissingMasterKeyError,
    TamperedError,
    WrongMasterKeyError,
    open_service,
)
from sealflow.crypto.master_key import Passphrase
from sealflow.operations.keys import StoreKeys, dek_uses
from sealflow.service.access import access_of

TORTURE = bool(os.environ.get("SEALFLOW_TORTURE"))


def fill(service, count):
    for number in range(count):
        service.create_secret(f"s{number}", "api_key", {"value": f"value-of-{number}"})


def uses(service):
    with access_of(service).registry.snapshot() as snapshot:
        return dek_uses(snapshot.secrets)


def states(service):
    return [dek.state for dek in access_of(service).registry.keyring().deks]


def test_a_master_key_is_exchanged_without_rewriting_a_record(tmp_path, any_service, key, backend):
    fill(any_service, 3)
    with access_of(any_service).registry.snapshot() as snapshot:
        before = sorted(snapshot.secrets)
    new = MasterKey.generate()
    assert StoreKeys(any_service).add(new) == new.kek_id
    with open_service(tmp_path / "service", master_key=new) as other:
        assert other.get_secret("s1").data == {"value": "value-of-1"}
        StoreKeys(other).remove(key.kek_id)
        with access_of(other).registry.snapshot() as snapshot:
            assert sorted(snapshot.secrets) == before
    assert any_service.get_secret("s2").data == {"value": "value-of-2"}  # it had opened the store before
    with pytest.raises(WrongMasterKeyError, match=new.kek_id):
        open_service(tmp_path / "service", master_key=key)


def test_the_last_key_stays_and_so_does_the_one_in_use(any_service, key):
    keys = StoreKeys(any_service)
    with pytest.raises(InvalidMasterKeyError, match="last one"):
        keys.remove(key.kek_id)
    keys.add_recovery()
    with pytest.raises(InvalidMasterKeyError, match="last one"):
        keys.remove(key.kek_id)
    keys.add(MasterKey.generate())
    with pytest.raises(InvalidMasterKeyError, match="configured here"):
        keys.remove(key.kek_id)
    with pytest.raises(InvalidMasterKeyError, match="does not know the master key"):
        keys.remove("0" * 16)
    with pytest.raises(InvalidMasterKeyError, match="already"):
        keys.add(key)


def test_rotation_seals_anew_what_is_written_and_reencrypt_the_rest(any_service):
    fill(any_service, 5)
    any_service.update_secret("s0", {"value": "value-of-0b"})
    any_service.delete_secret("s4")
    keys = StoreKeys(any_service)
    old = access_of(any_service).registry.keyring().deks[0].dek_id
    new = keys.rotate_dek()
    assert states(any_service) == ["decrypt_only", "active"]
    any_service.create_secret("fresh", "api_key", {"value": "fresh-value"})
    assert uses(any_service) == {old: 6, new: 1}
    with access_of(any_service).registry.snapshot() as snapshot:
        before = {item.name: item for item in snapshot.secrets}
    told = []
    assert keys.reencrypt(lambda *progress: told.append(progress)) == (5, ())
    assert told == [(5, 5)]
    assert uses(any_service) == {new: 7}
    assert states(any_service) == ["destroyed", "active"]
    assert {wrap.dek_id for wrap in access_of(any_service).registry.keyring().wraps} == {new}
    with access_of(any_service).registry.snapshot() as snapshot:
        for item in snapshot.secrets:  # nothing but the records changed
            records = [kept._replace(record=None) for kept in item.versions]
            assert item._replace(versions=()) == before[item.name]._replace(versions=())
            assert records == [kept._replace(record=None) for kept in before[item.name].versions]
    assert any_service.get_secret("s0").data == {"value": "value-of-0b"}
    assert any_service.get_secret("s0", 1).data == {"value": "value-of-0"}
    any_service.undelete("s4")
    assert any_service.get_secret("s4").data == {"value": "value-of-4"}
    assert keys.reencrypt() == (0, ())


def test_a_rotation_wraps_for_every_master_key(tmp_path, any_service, key):
    other = MasterKey.generate()
    recovery = StoreKeys(any_service).add_recovery()
    StoreKeys(any_service).add(other)
    with pytest.raises(MissingMasterKeyError, match=other.kek_id):
        StoreKeys(any_service).rotate_dek()
    assert states(any_service) == ["active"]
    access_of(any_service).cipher._seal.sources = (key, other)
    StoreKeys(any_service).rotate_dek()
    fill(any_service, 2)
    StoreKeys(any_service).reencrypt()
    StoreKeys(any_service).rotate_dek()
    any_service.create_secret("late", "api_key", {"value": "late-value"})
    for opening in (key, other, recovery):  # the recovery key lay in its safe all the time
        with open_service(tmp_path / "service", master_key=opening) as service:
            assert service.get_secret("late").data == {"value": "late-value"}
            assert service.get_secret("s1").data == {"value": "value-of-1"}


def test_an_exchanged_recovery_key_gets_no_store_key(any_service):
    """Who can write to the store cannot put a public key of their own in the place of the recovery key's."""
    keys = StoreKeys(any_service)
    keys.add_recovery()
    document = access_of(any_service).registry.keyring()
    keys.add_recovery()
    ours, theirs = access_of(any_service).registry.keyring().keks[1:]
    for params in (theirs.params, {"public_key": "AAAA"}, {}, {"public_key": "A" * 200}):
        with access_of(any_service).registry.transaction() as transaction:
            transaction.save_keyring(document._replace(keks=(document.keks[0], ours._replace(params=params))))
        with pytest.raises((TamperedError, DamagedRecordError)):
            keys.rotate_dek()
        assert states(any_service) == ["active"]


def test_a_recovery_wrap_that_was_changed_does_not_open(tmp_path, any_service):
    recovery = StoreKeys(any_service).add_recovery()
    document = access_of(any_service).registry.keyring()
    wrap = next(item for item in document.wraps if item.kek_id == recovery.kek_id)
    for position in (0, 31, 40, 80, 120, len(wrap.wrapped) - 1):
        changed = bytearray(wrap.wrapped)
        changed[position] ^= 1
        others = tuple(item for item in document.wraps if item is not wrap)
        with access_of(any_service).registry.transaction() as transaction:
            transaction.save_keyring(
                document._replace(wraps=(*others, wrap._replace(wrapped=bytes(changed))))
            )
        with pytest.raises((TamperedError, DamagedRecordError)):
            open_service(tmp_path / "service", master_key=recovery)
    with access_of(any_service).registry.transaction() as transaction:
        zero = wrap._replace(wrapped=bytes(32) + wrap.wrapped[32:])  # a point of low order
        transaction.save_keyring(document._replace(wraps=(*others, zero)))
    with pytest.raises(TamperedError):
        open_service(tmp_path / "service", master_key=recovery)


def test_opened_keys_are_neither_pickled_copied_nor_printed(key):
    from sealflow.crypto.kek import open_kek
    from sealflow.crypto.keyring import new_document

    opened = open_kek(new_document("store", key).keks[0], key)
    assert key.reveal().hex() not in repr(opened)
    assert repr(key.reveal())[2:-1] not in repr(opened)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not copied or pickled"):
            attempt(opened)


def test_a_passphrase_opens_beside_a_key(tmp_path, any_service):
    fill(any_service, 1)
    StoreKeys(any_service).add(Passphrase(b"correct horse battery", "a test"))
    opening = Passphrase(b"correct horse battery", "a test")
    with open_service(tmp_path / "service", master_key=opening) as service:
        assert service.get_secret("s0").data == {"value": "value-of-0"}
    with pytest.raises(WrongMasterKeyError, match="passphrase from a test is another one"):
        open_service(tmp_path / "service", master_key=Passphrase(b"another horse battery", "a test"))


def test_a_damaged_secret_is_left_and_named(any_service):
    fill(any_service, 3)
    StoreKeys(any_service).rotate_dek()
    with access_of(any_service).registry.transaction() as transaction:
        secret = transaction.load("s1")
        record = secret.current.record
        broken = secret.current._replace(record=record[:-1] + bytes([record[-1] ^ 1]))
        transaction.save(secret._replace(versions=(broken,)))
    assert StoreKeys(any_service).reencrypt() == (2, ("s1",))
    assert states(any_service) == ["decrypt_only", "active"]  # its key stays: somebody may mend it


def test_the_previous_key_is_for_the_time_in_between(tmp_path, any_service, key, monkeypatch):
    fill(any_service, 1)
    new = MasterKey.generate()
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", new.to_text())
    with pytest.raises(WrongMasterKeyError):
        open_service(tmp_path / "service")
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS", key.to_text())
    with open_service(tmp_path / "service") as service:  # before the new key is added
        assert service.get_secret("s0").data == {"value": "value-of-0"}
    StoreKeys(any_service).add(new)
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS")
    file = tmp_path / "previous.key"
    file.write_text(key.to_text())
    file.chmod(0o600)
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS_FILE", str(file))
    with open_service(tmp_path / "service") as service:  # after
        assert access_of(service).cipher.keyring.kek_id == new.kek_id
        StoreKeys(service).rotate_dek()  # it has both keys that the new one must be wrapped for
        StoreKeys(service).remove(key.kek_id)


READER = """
import sys
import sealflow

path, key, previous, count = sys.argv[1], sys.stdin.readline().strip(), sys.stdin.readline().strip(), int(sys.argv[2])
from sealflow.crypto.master_key import MasterKey
from sealflow.service.open_service import open_service
import os, random
os.environ["WORKFLOW_SECRETS_MASTER_KEY"] = key
os.environ["WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS"] = previous
os.environ["WORKFLOW_SECRETS_STORAGE_PATH"] = path
chance, reads = random.Random(os.getpid()), 0
print("ready", flush=True)
while not os.path.exists(path + ".stop"):
    with open_service() as service:
        for _ in range(50):
            number = chance.randrange(count)
            assert service.get_secret(f"s{number}").data == {"value": f"value-of-{number}"}, number
            reads += 1
print(reads, flush=True)
"""


@pytest.mark.slow
def test_four_readers_see_nothing_of_a_change_of_all_keys(tmp_path, any_service, key):
    count = 10_000 if TORTURE else 300
    fill(any_service, count)
    new = MasterKey.generate()
    path = str(tmp_path / "service")
    readers = []
    for first, second in ((key, new), (new, key), (key, new), (new, key)):
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, path, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        reader.stdin.write(f"{first.to_text()}\n{second.to_text()}\n")
        reader.stdin.flush()
        readers.append(reader)
    failures, stop = [], threading.Event()

    def read() -> None:  # and one in this process, that opened the store before and never opens it again
        try:
            while not stop.is_set():
                assert any_service.get_secret("s7").data == {"value": "value-of-7"}
        except BaseException as error:
            failures.append(error)

    inside = threading.Thread(target=read)
    inside.start()
    try:
        for reader in readers:
            assert reader.stdout.readline() == "ready\n"
        StoreKeys(any_service).add(new)
        access_of(any_service).cipher._seal.sources = (key, new)
        StoreKeys(any_service).rotate_dek()
        assert StoreKeys(any_service).reencrypt() == (count, ())
        with open_service(path, master_key=new) as service:
            StoreKeys(service).remove(key.kek_id)
            StoreKeys(service).rotate_dek()
            assert StoreKeys(service).reencrypt() == (count, ())
            assert states(service) == ["destroyed", "destroyed", "active"]
    finally:
        Path(path + ".stop").touch()
        stop.set()
        inside.join()
        told = [reader.communicate(timeout=100) for reader in readers]
    access_of(any_service).cipher._seal.sources = (key, new)
    assert failures == []
    for reader, (out, err) in zip(readers, told, strict=True):
        assert reader.returncode == 0, err
        assert int(out) > 0


@pytest.mark.slow
@pytest.mark.parametrize("command", ["reencrypt", "rotate-dek", "add", "remove"])
def test_a_key_command_killed_anywhere_can_be_run_again(any_service, tmp_path, key, monkeypatch, command):
    storage = tmp_path / "service"
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_PATH", str(storage))
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    fill(any_service, 30)
    spare = MasterKey.generate()
    arguments = {
        "reencrypt": ["key", "reencrypt"],
        "rotate-dek": ["key", "rotate-dek"],
        "add": ["key", "add", "--generate", str(tmp_path / "total.key")],
        "remove": ["key", "remove", spare.kek_id, "--yes"],
    }[command]

    def prepare() -> None:
        if command == "reencrypt":
            StoreKeys(any_service).rotate_dek()
        elif command == "remove" and spare.kek_id not in str(access_of(any_service).registry.keyring()):
            StoreKeys(any_service).add(spare)

    prepare()
    total = killing.calls_of(*arguments)
    killed = 0
    for number, at in enumerate(killing.points(total, 20 if command == "reencrypt" or TORTURE else 5)):
        prepare()
        if command == "add":
            arguments[3] = str(tmp_path / f"{number}.key")
        killed += killing.killed_at(at, *arguments)
        with open_service(storage, master_key=key) as service:
            for secret in range(30):
                assert service.get_secret(f"s{secret}").data == {"value": f"value-of-{secret}"}
            assert states(service).count("active") == 1
            if command == "reencrypt":
                StoreKeys(service).reencrypt()
                assert len(uses(service)) == 1
                assert set(states(service)[:-1]) == {"destroyed"}
            if command in ("add", "rotate-dek"):  # so that the next round finds one key
                for kek in access_of(service).registry.keyring().keks:
                    if kek.kek_id != key.kek_id:
                        StoreKeys(service).remove(kek.kek_id)
    assert killed >= 3


def test_a_lost_key_is_replaced_with_the_recovery_key(cli, store_key, own_world, monkeypatch, canary):
    value = canary.value()
    cli(
        "secret",
        "create",
        "a",
        "--init",
        "--type",
        "api_key",
        "--from-json",
        "-",
        stdin=json.dumps({"value": value}),
    )
    printed = cli("key", "add", "--recovery")
    recovery = MasterKey.parse(printed.out.strip(), "paper")
    assert recovery.kek_id in printed.err
    assert json.loads(cli("key", "add", "--recovery", "--json").out)["recovery_key"].startswith("sfk1_")
    lost = store_key.kek_id
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", recovery.to_text())
    new = own_world / "new.key"
    assert cli("key", "add", "--generate", str(new)).code == 0
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY")
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_FILE", str(new))
    assert cli("key", "remove", lost, "--yes").code == 0
    assert cli("key", "rotate-dek").code == 0
    assert cli("key", "reencrypt").code == 0
    assert cli("secret", "get", "a", "--field", "value", "--reveal").out == value + "\n"


def test_the_keychain_keeps_a_key(cli, own_world, monkeypatch, tmp_path, canary):
    """With a backend of the keyring library's own kind, as no machine of ours has a desktop."""
    monkeypatch.setattr("keyring.core._keyring_backend", Keychain())
    made = cli("init", "--keychain", "work", "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["keychain"] == "work"
    assert not list((tmp_path / "config").rglob("*.key"))
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY_KEYCHAIN")
    given = json.dumps({"value": canary.value()})
    create = ("secret", "create", "a", "--init", "--type", "api_key", "--from-json", "-")
    assert cli(*create, stdin=given).code == 1
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_KEYCHAIN", "work")
    assert cli(*create, stdin=given).code == 0
    assert cli("key", "add", "--keychain", "work").code == 1  # never over another
    assert cli("key", "add", "--keychain", "second").code == 0
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_KEYCHAIN", "third")
    assert "has no master key 'third'" in cli("secret", "get", "a").err
    monkeypatch.setattr("keyring.core._keyring_backend", Locked())
    assert "cannot be used here (KeyringLocked)" in cli("secret", "get", "a").err
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "not installed" in cli("secret", "get", "a").err


def make_keychains():
    needs("keyring")
    from keyring.backend import KeyringBackend
    from keyring.errors import KeyringLocked

    class InMemory(KeyringBackend):
        priority = 1

        def __init__(self):
            super().__init__()
            self.kept = {}

        def get_password(self, service, username):
            return self.kept.get((service, username))

        def set_password(self, service, username, password):
            self.kept[service, username] = password

        def delete_password(self, service, username):
            del self.kept[service, username]

    class AlwaysLocked(InMemory):
        def get_password(self, service, username):
            raise KeyringLocked("it is locked")

    return InMemory, AlwaysLocked


Keychain, Locked = make_keychains()
