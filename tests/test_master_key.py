from __future__ import annotations

import copy
import os
import pickle

import pytest

from sealflow import (
    InvalidMasterKeyError,
    MasterKey,
    MissingMasterKeyError,
    WrongMasterKeyError,
    open_service,
)
from sealflow.crypto import keyring
from sealflow.crypto.key_file import default_key_file, read_key_file, write_key_file
from sealflow.crypto.key_sources import find_master_key
from sealflow.crypto.master_key import Passphrase
from sealflow.service.access import access_of


def test_a_key_survives_its_text(key):
    text = key.to_text()
    assert text.startswith("sfk1_")
    assert len(text) == 53
    again = MasterKey.parse(f"  {text}\n", "a test")
    assert again.reveal() == key.reveal()
    assert again.kek_id == key.kek_id
    assert MasterKey.parse(key.reveal().hex().upper(), "a test").kek_id == key.kek_id


def test_every_changed_character_is_noticed(key):
    text = key.to_text()
    for index in range(5, len(text)):
        for other in "Aa0-":
            if text[index] != other:
                with pytest.raises(InvalidMasterKeyError):
                    MasterKey.parse(text[:index] + other + text[index + 1 :], "a test")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2hunter2",
        "sfk1_",
        "sfk1_" + "A" * 47,
        "sfk2_" + "A" * 48,
        "0" * 63,
        "0" * 65,
        "g" * 64,
        "sfk1_" + "A" * 47 + "=",
    ],
)
def test_anything_else_is_refused_without_being_repeated(text):
    with pytest.raises(InvalidMasterKeyError) as caught:
        MasterKey.parse(text, "a test")
    assert len(text) < 6 or text not in str(caught.value)


def test_keys_are_not_printed_copied_or_pickled(key):
    assert key.to_text() not in repr(key) + str(key)
    for attempt in (lambda: pickle.dumps(key), lambda: copy.copy(key), lambda: copy.deepcopy(key)):
        with pytest.raises(TypeError):
            attempt()


@pytest.mark.value_files("k")
def test_the_order_of_places(tmp_path, monkeypatch, key):
    storage, given, by_file, by_default = (
        tmp_path / "s",
        MasterKey.generate(),
        MasterKey.generate(),
        MasterKey.generate(),
    )
    with pytest.raises(MissingMasterKeyError, match="sealflow init"):
        find_master_key(None, storage, "abc")
    write_key_file(default_key_file("abc"), by_default.to_text())
    assert find_master_key(None, storage, "abc").reveal() == by_default.reveal()
    monkeypatch.setenv("WORKFLOW_SECRETS_PASSPHRASE", "correct horse battery")
    assert isinstance(find_master_key(None, storage, "abc"), Passphrase)
    write_key_file(tmp_path / "k", by_file.to_text())
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_FILE", str(tmp_path / "k"))
    assert find_master_key(None, storage, "abc").reveal() == by_file.reveal()
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    assert find_master_key(None, storage, "abc").reveal() == key.reveal()
    assert find_master_key(given.to_text(), storage, "abc").reveal() == given.reveal()
    with pytest.raises(InvalidMasterKeyError):
        find_master_key(5, storage, None)


def unsafe_files(tmp_path):
    good = tmp_path / "good"
    write_key_file(good, MasterKey.generate().to_text())
    link = tmp_path / "link"
    link.symlink_to(good)
    yield link, "symbolic link"
    yield tmp_path / "missing", "does not exist"
    yield tmp_path, "regular file|cannot be opened"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    yield fifo, "regular"
    big = tmp_path / "big"
    write_key_file(big, "x" * 5000)
    yield big, "4 KiB"
    for mode in (0o640, 0o604, 0o620, 0o602, 0o666):
        loose = tmp_path / f"loose{mode:o}"
        write_key_file(loose, MasterKey.generate().to_text())
        loose.chmod(mode)
        yield loose, "chmod 600"
    binary = tmp_path / "binary"
    write_key_file(binary, "")
    binary.write_bytes(b"\xff\xfe\x00")
    yield binary, "does not hold text"


@pytest.mark.value_files("*")
def test_a_key_file_that_is_not_safe_is_refused(tmp_path):
    for path, said in unsafe_files(tmp_path):
        with pytest.raises(InvalidMasterKeyError, match=said):
            read_key_file(path, tmp_path / "storage")


@pytest.mark.value_files("key")
def test_a_key_file_inside_the_storage_directory_is_refused(tmp_path, monkeypatch):
    storage = tmp_path / "storage"
    storage.mkdir(mode=0o700)
    write_key_file(storage / "key", MasterKey.generate().to_text())
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_FILE", str(storage / "key"))
    with pytest.raises(InvalidMasterKeyError, match="inside"):
        open_service(storage)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.value_files("key")
def test_a_key_file_of_another_user_is_refused(tmp_path):
    path = tmp_path / "key"
    write_key_file(path, MasterKey.generate().to_text())
    os.chown(path, 12345, 12345)
    with pytest.raises(InvalidMasterKeyError, match="another user"):
        read_key_file(path, tmp_path / "storage")


def test_a_key_file_is_private_under_any_umask(tmp_path):
    old = os.umask(0)
    try:
        write_key_file(tmp_path / "a" / "k", "text")
    finally:
        os.umask(old)
    assert (tmp_path / "a" / "k").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    with pytest.raises(FileExistsError):
        write_key_file(tmp_path / "a" / "k", "other")


def test_a_passphrase_opens_what_it_made(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKFLOW_SECRETS_PASSPHRASE", "correct horse battery staple")
    with open_service(tmp_path / "s") as service:
        service.create_secret("a", "api_key", {"value": "vvvv"})
    with open_service(tmp_path / "s") as service:
        assert service.get_secret("a").data == {"value": "vvvv"}
        params = access_of(service).registry.keyring().keks[0].params
        assert (params["n"], params["r"], params["p"]) == (1 << 17, 8, 1)
    monkeypatch.setenv("WORKFLOW_SECRETS_PASSPHRASE", "correct horse battery staplf")
    with pytest.raises(WrongMasterKeyError):
        open_service(tmp_path / "s")
    monkeypatch.setenv("WORKFLOW_SECRETS_PASSPHRASE", "short")
    with pytest.raises(InvalidMasterKeyError, match="12"):
        open_service(tmp_path / "s")


@pytest.mark.parametrize(
    "change",
    [
        {"n": 1 << 14},
        {"n": 1 << 21},
        {"n": (1 << 17) + 1},
        {"r": 1},
        {"p": 9},
        {"salt": "AA=="},
        {"salt": "?"},
        {"n": "x"},
    ],
)
def test_scrypt_parameters_out_of_bounds_are_refused(change):
    passphrase = Passphrase(b"correct horse battery", "a test")
    document = keyring.new_document("store", passphrase)
    (kek,) = document.keks
    worse = document._replace(keks=(kek._replace(params={**kek.params, **change}),))
    with pytest.raises(InvalidMasterKeyError, match="scrypt"):
        keyring.Keyring.open("store", worse, passphrase)
