"""``sealflow backup``: what each command prints, refuses and records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def file(cli, one_secret):
    assert cli("backup", "create", "b").code == 0
    return Path("b")


def test_create_counts_the_secrets_and_opens_every_record(cli, one_secret):
    out = cli("backup", "create", "b").out
    assert "1 secret of the store" in out
    assert "every record opens" in out


def test_create_writes_over_nothing(cli, file):
    before = file.read_bytes()
    assert cli("backup", "create", "b").code == 1
    assert file.read_bytes() == before


def test_create_needs_no_master_key_and_says_so(cli, one_secret, monkeypatch):
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY")
    assert "no record was opened" in cli("backup", "create", "b").out


def test_verify_opens_every_record(cli, file):
    assert json.loads(cli("backup", "verify", "b", "--json").out)["decrypted"]


def test_verify_without_a_master_key_says_what_it_did_not_check(cli, file, monkeypatch):
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY")
    assert "no record was opened" in cli("backup", "verify", "b").out


def test_verify_finds_damage(cli, file):
    file.write_bytes(file.read_bytes().replace(b"api_key", b"api_kex"))
    found = cli("backup", "verify", "b")
    assert found.code == 1
    assert "checksum" in found.err


def test_restore_asks_and_is_refused_without_a_terminal(cli, file):
    assert cli("backup", "restore", "b").code == 2


def test_restore_brings_the_old_version_back(cli, file):
    assert cli("secret", "update", "a", "--from-json", "-", stdin='{"value": "value-two"}').code == 0
    assert cli("backup", "restore", "b", "--yes").code == 0
    assert json.loads(cli("secret", "get", "a", "--json").out)["version"] == 1


def test_restore_says_where_the_old_store_is_kept(cli, file):
    assert "The old store is kept in" in cli("backup", "restore", "b", "--yes").out


def test_restore_gives_a_script_the_path_of_the_old_store(cli, file):
    assert Path(json.loads(cli("backup", "restore", "b", "--yes", "--json").out)["kept"]).exists()


def test_restore_needs_the_master_key(cli, file, monkeypatch):
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY")
    assert "no master key is configured" in cli("backup", "restore", "b", "--yes").err


def test_backups_and_restores_are_in_the_audit_trail(cli, file):
    assert cli("backup", "restore", "b", "--yes").code == 0
    actions = [item["action"] for item in json.loads(cli("audit", "--json").out)]
    assert [action for action in actions if action in ("backup", "restore")] == ["backup", "restore"]
