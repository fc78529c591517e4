"""``sealflow secret history``, ``rollback``, ``undelete`` and ``destroy``: what they print, refuse and record."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def two_versions(cli, one_secret):
    assert cli("secret", "update", "a", "--from-json", "-", stdin='{"value": "value-two"}').code == 0


@pytest.fixture
def deleted(cli, two_versions):
    assert cli("secret", "delete", "a", "--yes").code == 0


def test_history_lists_the_versions_for_a_script(cli, two_versions):
    assert [item["version"] for item in json.loads(cli("secret", "history", "a", "--json").out)] == [1, 2]


def test_history_marks_the_current_version(cli, two_versions):
    assert cli("secret", "history", "a").out.splitlines()[-1].endswith("current")


def test_history_of_a_deleted_secret_names_the_way_back(cli, deleted):
    assert "sealflow secret undelete a" in cli("secret", "history", "a").err


def test_rollback_makes_the_next_version(cli, two_versions):
    assert "Version 3" in cli("secret", "rollback", "a", "--version", "1").out


def test_rollback_gives_its_version_to_a_script(cli, two_versions):
    assert json.loads(cli("secret", "rollback", "a", "--version", "1", "--json").out)["version"] == 3


def test_rollback_refuses_a_stale_version(cli, two_versions):
    stale = cli("secret", "rollback", "a", "--version", "1", "--expected-version", "1")
    assert stale.code == 1
    assert "is at version 2, not 1" in stale.err


def test_delete_refuses_a_stale_version(cli, two_versions):
    assert cli("secret", "delete", "a", "--yes", "--expected-version", "1").code == 1
    assert cli("secret", "get", "a").code == 0


def test_delete_accepts_the_expected_version(cli, two_versions):
    assert cli("secret", "delete", "a", "--yes", "--expected-version", "2").code == 0


def test_undelete_brings_the_secret_back(cli, deleted):
    assert "is back" in cli("secret", "undelete", "a").out
    assert cli("secret", "get", "a").code == 0


def test_undelete_refuses_a_secret_that_is_not_deleted(cli, two_versions):
    assert cli("secret", "undelete", "a").code == 1


@pytest.mark.parametrize("options", [(), ("--all", "--version", "1")], ids=["none", "both"])
def test_destroy_takes_versions_or_all(cli, two_versions, options):
    assert cli("secret", "destroy", "a", *options).code == 2


def test_destroy_asks_and_is_refused_without_a_terminal(cli, two_versions):
    assert cli("secret", "destroy", "a", "--version", "1").code == 2


def test_destroy_names_the_versions(cli, two_versions):
    destroyed = cli("secret", "destroy", "a", "--version", "1", "--version", "2", "--yes")
    assert "version 1, 2" in destroyed.out
    assert "destroyed" in cli("secret", "history", "a").out


def test_destroy_all_removes_the_secret(cli, two_versions):
    done = cli("secret", "destroy", "a", "--all", "--yes", "--json")
    assert json.loads(done.out)["destroyed"] == "all"
    assert cli("secret", "history", "a").code == 1


def test_every_change_is_in_the_audit_trail(cli, two_versions):
    for command in (
        ("rollback", "a", "--version", "1"),
        ("delete", "a", "--yes"),
        ("undelete", "a"),
        ("destroy", "a", "--version", "1", "--yes"),
    ):
        assert cli("secret", *command).code == 0
    trail = [item["action"] for item in json.loads(cli("audit", "--json", "--secret", "a").out)]
    assert trail == ["create", "update", "rollback", "delete", "undelete", "destroy"]
