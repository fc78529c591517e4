"""``sealflow key``: what each command prints, refuses and records."""

from __future__ import annotations

import json

import pytest

from sealflow import MasterKey


@pytest.fixture
def new_key(cli, one_secret, own_world, monkeypatch):
    """A second master key, added in a new file and configured as the previous one; its id."""
    file = own_world / "new.key"
    assert cli("key", "add", "--generate", str(file)).code == 0
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS_FILE", str(file))
    return MasterKey.parse(file.read_text(), "a test").kek_id


def test_status_names_the_configured_key_and_counts_records(cli, one_secret):
    status = json.loads(cli("key", "status", "--json").out)
    assert status["master_keys"][0]["configured"]
    assert status["store_keys"][0]["records"] == 1


def test_status_is_a_table_for_people(cli, one_secret):
    assert "configured" in cli("key", "status").out


def test_status_needs_no_master_key(cli, one_secret, monkeypatch):
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY")
    assert not json.loads(cli("key", "status", "--json").out)["master_keys"][0]["configured"]


def test_add_says_that_the_new_key_opens_the_store(cli, one_secret, own_world):
    assert "opens this store too" in cli("key", "add", "--generate", str(own_world / "new.key")).out


def test_add_takes_a_key_file(cli, new_key, own_world):
    assert cli("key", "remove", new_key, "--yes").code == 0
    again = cli("key", "add", "--key-file", str(own_world / "new.key"), "--json")
    assert json.loads(again.out) == {"id": new_key}


def test_add_takes_a_passphrase_file(cli, one_secret, own_world):
    phrase = own_world / "phrase.key"
    phrase.write_text("five random words for it\n")
    phrase.chmod(0o600)
    assert cli("key", "add", "--passphrase-file", str(phrase)).code == 0


@pytest.mark.parametrize("options", [(), ("--key-file", "x", "--recovery")], ids=["none", "two"])
def test_add_needs_exactly_one_source(cli, one_secret, options):
    assert cli("key", "add", *options).code == 2


def test_add_cannot_ask_for_a_passphrase_without_a_terminal(cli, one_secret):
    assert cli("key", "add", "--passphrase").code == 2


def test_add_never_writes_over_a_key(cli, new_key, own_world):
    before = (own_world / "new.key").read_text()
    assert cli("key", "add", "--generate", str(own_world / "new.key")).code == 1
    assert (own_world / "new.key").read_text() == before


def test_rotate_dek_needs_every_master_key(cli, new_key, monkeypatch):
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS_FILE")
    assert "MASTER_KEY_PREVIOUS" in cli("key", "rotate-dek").err


def test_rotate_dek_names_the_next_command(cli, new_key):
    assert "sealflow key reencrypt" in cli("key", "rotate-dek").out


def test_rotate_dek_gives_its_id_to_a_script(cli, new_key):
    assert json.loads(cli("key", "rotate-dek", "--json").out)["id"]


def test_reencrypt_counts_the_secrets(cli, new_key):
    cli("key", "rotate-dek")
    assert cli("key", "reencrypt").out == "1 secret encrypted again.\n"


def test_reencrypt_gives_its_counts_to_a_script(cli, new_key):
    cli("key", "rotate-dek")
    assert json.loads(cli("key", "reencrypt", "--json").out) == {"reencrypted": 1, "damaged": []}


def test_remove_asks_and_is_refused_without_a_terminal(cli, new_key):
    assert cli("key", "remove", new_key).code == 2


def test_remove_refuses_the_key_in_use(cli, new_key, store_key):
    assert cli("key", "remove", store_key.kek_id, "--yes").code == 1


def test_remove_says_that_earlier_backups_still_open(cli, new_key):
    out = cli("key", "remove", new_key, "--yes").out
    assert "no longer opens this store" in out
    assert "Earlier backups still open with it" in out


def test_remove_gives_a_script_the_id_and_where_the_key_is_left(cli, new_key, store_key):
    done = json.loads(cli("key", "remove", new_key, "--yes", "--json").out)
    assert (done["id"], done["removed"], done["in_use"]) == (new_key, True, store_key.kek_id)
    assert [place.rpartition("/")[2] for place in done["configured_here"]] == ["new.key"]


def test_changes_of_keys_are_in_the_audit_trail(cli, new_key):
    cli("key", "rotate-dek")
    trail = json.loads(cli("audit", "--json").out)
    assert [item["action"] for item in trail] == ["key_create", "create", "key_add", "dek_rotate"]
    assert trail[2]["source"] == f"key:{new_key}"
