"""`sealflow key use`, and what `sealflow key remove` says of the keys that are left."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from sealflow import MasterKey
from sealflow.crypto.key_file import default_key_file, write_key_file

FILE = "WORKFLOW_SECRETS_MASTER_KEY_FILE"


@pytest.fixture
def made(cli):
    """The store that ``sealflow init`` made, its default key file, and the id of its key."""
    described = json.loads(cli("init", "--json").out)
    path = default_key_file(described["store_id"])
    return path, MasterKey.parse(path.read_text(), "x").kek_id


@pytest.fixture
def new(cli, made, own_world):
    """A second key of the store, in a file, and its id."""
    path = own_world / "new.key"
    added = cli("key", "add", "--generate", str(path))
    assert f"sealflow key use {path}" in added.out
    return path, MasterKey.parse(path.read_text(), "x").kek_id


def test_the_default_key_file_holds_the_new_key_and_the_old_one_is_kept(cli, made, new):
    default, old_id = made
    used = cli("key", "use", str(new[0]))
    assert used.code == 0, used.err
    assert MasterKey.parse(default.read_text(), "x").kek_id == new[1]
    assert default.stat().st_mode & 0o777 == 0o600
    (kept,) = default.parent.glob("*.before-*.key")
    assert str(kept) in used.out
    assert MasterKey.parse(kept.read_text(), "x").kek_id == old_id
    assert sorted(path.name for path in default.parent.iterdir()) == sorted([default.name, kept.name])


def test_after_add_use_and_remove_every_command_works_without_a_variable(cli, made, new):
    assert cli("key", "remove", made[1], "--yes").code == 1  # it is the one in use
    assert cli("key", "use", str(new[0])).code == 0
    assert cli("key", "remove", made[1], "--yes").code == 0
    assert cli("secret", "list").code == 0
    assert cli("key", "rotate-dek").code == 0


def test_a_key_that_is_the_default_already_changes_nothing(cli, made, own_world):
    copy = own_world / "copy.key"
    write_key_file(copy, made[0].read_text().strip())
    assert json.loads(cli("key", "use", str(copy), "--json").out)["kept"] is None
    assert [path.name for path in made[0].parent.iterdir()] == [made[0].name]


def test_a_key_that_does_not_open_the_store_is_not_installed(cli, made, own_world):
    before = made[0].read_text()
    cli("key", "generate", "--out", str(own_world / "foreign.key"))
    said = cli("key", "use", str(own_world / "foreign.key"))
    assert said.code == 1
    assert made[1] in said.err
    assert made[0].read_text() == before


@pytest.mark.value_files("paper")
def test_a_recovery_key_is_not_installed(cli, made, own_world):
    write_key_file(own_world / "paper", cli("key", "add", "--recovery").out.strip())
    assert "belongs in a safe" in cli("key", "use", str(own_world / "paper")).err


def test_a_default_file_that_is_damaged_or_missing_is_replaced(cli, made, new):
    made[0].write_text("damaged")
    assert cli("key", "use", str(new[0])).code == 0
    made[0].unlink()
    assert cli("key", "use", str(new[0])).code == 0
    assert cli("secret", "list").code == 0
    (kept,) = made[0].parent.glob("*.before-*.key")
    assert kept.read_text() == "damaged"


def test_a_variable_that_hides_the_default_is_named(cli, made, new, monkeypatch):
    monkeypatch.setenv(FILE, str(made[0].rename(made[0].with_name("old.key"))))
    said = cli("key", "use", str(new[0]))
    assert said.code == 0
    assert "old.key is used before that file" in said.err
    monkeypatch.setenv(FILE, str(new[0]))
    assert cli("key", "use", str(new[0])).err == ""


def test_remove_says_what_still_has_the_removed_key(cli, made, new, monkeypatch):
    default, old_id = made
    monkeypatch.setenv(FILE, str(new[0]))
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS", default.read_text().strip())
    said = cli("key", "remove", old_id, "--yes")
    assert said.code == 0, said.err
    assert f"still configured here: {default}" in said.out
    assert "still configured here: WORKFLOW_SECRETS_MASTER_KEY_PREVIOUS" in said.out
    assert f"Next: sealflow key use {new[0]}" in said.out
    assert f"given {old_id} needs {new[1]} instead" in said.out


def test_remove_describes_the_same_for_a_script(cli, made, new, monkeypatch):
    monkeypatch.setenv(FILE, str(new[0]))
    described = json.loads(cli("key", "remove", made[1], "--yes", "--json").out)
    assert described == {
        "id": made[1],
        "removed": True,
        "configured_here": [str(made[0])],
        "in_use": new[1],
    }


@pytest.mark.parametrize("answer", ["y", "n"])
def test_remove_offers_to_put_the_working_key_into_the_default_file(made, new, answer):
    before = made[0].read_text()
    ours, terminal = os.openpty()
    os.write(ours, f"y\n{answer}\n".encode())
    done = subprocess.run(
        [sys.executable, "-m", "sealflow", "key", "remove", made[1]],
        env={**os.environ, FILE: str(new[0])},
        stdin=terminal,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(ours)
    os.close(terminal)
    assert done.returncode == 0, done.stderr
    assert f"Put the key {new[1]} into {made[0]}?" in done.stdout + done.stderr
    if answer == "y":
        assert MasterKey.parse(made[0].read_text(), "x").kek_id == new[1]
    else:
        assert made[0].read_text() == before


def test_status_says_where_the_configured_key_came_from(cli, made):
    assert f"configured: {made[0]}" in cli("key", "status").out
    assert json.loads(cli("key", "status", "--json").out)["master_keys"][0]["source"] == str(made[0])


def test_a_config_directory_that_cannot_be_written_is_a_message(cli, made, new, monkeypatch, own_world):
    monkeypatch.setenv(FILE, str(new[0]))
    (own_world / "config").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(own_world / "config"))
    assert "cannot be written" in cli("key", "use", str(new[0])).err
