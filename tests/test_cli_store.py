"""``sealflow init`` and ``sealflow store migrate``: what they print, refuse and record."""

from __future__ import annotations

import json

import pytest

from sealflow import MasterKey
from sealflow.stores.sqlite import SqliteStore


def test_migrate_counts_the_secrets(cli, one_secret):
    moved = cli("store", "migrate", "--to", "file")
    assert "Moved 1 secret from the sqlite store to the file store" in moved.out


def test_migrate_says_when_there_is_nothing_to_do(cli, one_secret):
    assert "It is already a sqlite store" in cli("store", "migrate", "--to", "sqlite").out


def test_migrate_gives_a_script_both_backends(cli, one_secret):
    done = json.loads(cli("store", "migrate", "--to", "file", "--json").out)
    assert (done["source"], done["target"]) == ("sqlite", "file")


def test_migrate_warns_of_a_variable_that_names_the_old_backend(cli, one_secret, monkeypatch):
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_BACKEND", "sqlite")
    moved = cli("store", "migrate", "--to", "file")
    assert "WORKFLOW_SECRETS_STORAGE_BACKEND says sqlite" in moved.err


@pytest.mark.parametrize("options", [(), ("--to", "file", "--remove-old")], ids=["none", "both"])
def test_migrate_either_moves_or_removes(cli, one_secret, options):
    assert cli("store", "migrate", *options).code == 2


def test_migrate_is_in_the_audit_trail(cli, one_secret):
    cli("store", "migrate", "--to", "file")
    assert json.loads(cli("audit", "--json").out)[-1]["action"] == "migrate"


def test_remove_old_asks_and_is_refused_without_a_terminal(cli, one_secret):
    cli("store", "migrate", "--to", "file")
    assert cli("store", "migrate", "--remove-old").code == 2


def test_remove_old_says_what_it_removed(cli, one_secret):
    cli("store", "migrate", "--to", "file")
    assert "Removed" in cli("store", "migrate", "--remove-old", "--yes").out


def test_remove_old_fails_when_there_is_nothing_to_remove(cli, one_secret):
    assert cli("store", "migrate", "--remove-old", "--yes").code == 1


def test_init_closes_the_store_when_the_key_is_wrong(cli, one_secret, monkeypatch):
    closed = []
    close = SqliteStore.close
    monkeypatch.setattr(SqliteStore, "close", lambda self: (closed.append(1), close(self))[1])
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", MasterKey.generate().to_text())
    assert cli("init").code == 1
    assert closed
