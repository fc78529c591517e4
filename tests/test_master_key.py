from __future__ import annotations

import copy
import pickle

import pytest

from sealflow import (
    InvalidMasterKeyError,
    MasterKey,
    WrongMasterKeyError,
    open_service,
)
from sealflow.crypto import keyring
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


@pytest.mark.slow
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
