"""Where master keys are looked for, and what is said when one is not found."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sealflow import InvalidMasterKeyError, MasterKey, MissingMasterKeyError, SettingsError, open_service
from sealflow.crypto import key_input
from sealflow.crypto.key_file import default_key_file, write_key_file
from sealflow.crypto.key_sources import find_master_key
from sealflow.crypto.master_key import Passphrase

COMMAND = "WORKFLOW_SECRETS_MASTER_KEY_COMMAND"
DESCRIPTOR = "WORKFLOW_SECRETS_MASTER_KEY_FD"
FILE = "WORKFLOW_SECRETS_MASTER_KEY_FILE"


@pytest.mark.value_files("k")
def test_the_order_of_places(tmp_path, monkeypatch, key):
    storage, given, by_file, by_default = (
        tmp_path / "s",
        MasterKey.generate(),
        MasterKey.generate(),
        MasterKey.generate(),
    )
    with pytest.raises(MissingMasterKeyError, match=r"abc\.key does not exist"):
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


def find(tmp_path):
    return find_master_key(None, tmp_path / "storage", None)


def piped(text):
    """Return a descriptor from which ``text`` can be read, once."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    return reading


@pytest.mark.parametrize("how", ["number", "path"])
def test_a_descriptor_is_read_once_and_its_key_found_again(tmp_path, key, monkeypatch, how):
    number = piped(key.to_text() + "\n")
    variable, value = (DESCRIPTOR, str(number)) if how == "number" else (FILE, f"/dev/fd/{number}")
    monkeypatch.setenv(variable, value)
    assert find(tmp_path).kek_id == key.kek_id
    assert find(tmp_path).kek_id == key.kek_id
    os.close(number)


def test_no_program_that_is_started_later_finds_the_descriptor(tmp_path, key, monkeypatch):
    number = piped(key.to_text())
    os.set_inheritable(number, True)
    monkeypatch.setenv(DESCRIPTOR, str(number))
    find(tmp_path)
    assert not os.get_inheritable(number)
    os.close(number)


@pytest.mark.parametrize(
    ("text", "said"),
    [("three", "not the number"), ("-1", "not the number"), ("999", "not open")],
)
def test_a_descriptor_that_cannot_be_used_is_named(tmp_path, monkeypatch, text, said):
    monkeypatch.setenv(DESCRIPTOR, text)
    with pytest.raises((SettingsError, InvalidMasterKeyError), match=said):
        find(tmp_path)


def test_a_descriptor_with_more_than_a_key_is_refused(tmp_path, monkeypatch):
    number = piped("x" * 5000)
    monkeypatch.setenv(DESCRIPTOR, str(number))
    with pytest.raises(InvalidMasterKeyError, match="larger than 4 KiB"):
        find(tmp_path)
    os.close(number)


def test_a_terminal_holds_no_key(tmp_path, monkeypatch):
    ours, theirs = os.openpty()
    monkeypatch.setenv(DESCRIPTOR, str(theirs))
    with pytest.raises(InvalidMasterKeyError, match="is a terminal"):
        find(tmp_path)
    os.close(ours)
    os.close(theirs)


def run_sealflow(*arguments, stdin, **variables):
    return subprocess.run(
        [sys.executable, "-m", "sealflow", *arguments],
        env={**os.environ, **variables},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_standard_input_holds_the_key_of_a_command(own_world, key):
    done = run_sealflow("init", stdin=key.to_text(), **{FILE: "/dev/stdin"})
    assert done.returncode == 0, done.stderr
    assert run_sealflow("doctor", stdin=key.to_text(), **{FILE: "/dev/stdin"}).returncode == 0
    wrong = run_sealflow("secret", "list", stdin=MasterKey.generate().to_text(), **{FILE: "/dev/stdin"})
    assert f"this store knows {key.kek_id}" in wrong.stderr


def test_standard_input_is_not_read_for_a_key_and_a_secret(own_world, key, canary):
    assert run_sealflow("init", stdin=key.to_text(), **{FILE: "/dev/stdin"}).returncode == 0
    done = run_sealflow(
        "secret",
        "create",
        "a",
        "--type",
        "api_key",
        "--from-json",
        "-",
        stdin=key.to_text(),
        **{FILE: "/dev/stdin"},
    )
    assert "standard input held the master key" in done.stderr
    assert (
        "a" not in run_sealflow("secret", "list", stdin=key.to_text(), **{FILE: "/dev/stdin"}).stdout.split()
    )


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Make the program ``get-key`` and put its folder on PATH."""

    def make(text):
        path = tmp_path / "bin" / "get-key"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
        return path

    return make


@pytest.mark.value_files("get-key")
def test_a_program_gives_the_key_and_runs_once(tmp_path, program, key, monkeypatch):
    program(f"echo run >> {tmp_path}/runs; [ \"$1\" = 'a b' ] && echo {key.to_text()}")
    monkeypatch.setenv(COMMAND, "get-key 'a b'")
    assert find(tmp_path).kek_id == key.kek_id
    assert find(tmp_path).kek_id == key.kek_id
    assert (tmp_path / "runs").read_text() == "run\n"


def test_no_shell_reads_the_command(tmp_path, program, monkeypatch):
    program(f'printf "%s\\n" "$@" > {tmp_path}/arguments')
    monkeypatch.setenv(COMMAND, f"get-key $(touch {tmp_path}/shell) ; echo *")
    with pytest.raises(InvalidMasterKeyError):
        find(tmp_path)
    assert (tmp_path / "arguments").read_text().split() == ["$(touch", f"{tmp_path}/shell)", ";", "echo", "*"]
    assert not (tmp_path / "shell").exists()


@pytest.mark.value_files("get-key")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo KEY; exit 3", r"failed \(exit code 3\)"),
        ("echo KEYKEY", "does not hold a master key"),
        ("yes KEY | head -c 5000", "larger than 4 KiB"),
        ("exec sleep 30", "longer than"),
    ],
)
def test_what_a_program_printed_is_never_in_an_error(tmp_path, program, key, monkeypatch, text, said):
    program(text.replace("KEY", key.to_text()))
    monkeypatch.setenv(COMMAND, f"get-key {tmp_path}")
    monkeypatch.setattr(key_input, "COMMAND_SECONDS", 0.5)
    with pytest.raises(InvalidMasterKeyError, match=said) as caught:
        find(tmp_path)
    assert key.to_text() not in str(caught.value)


@pytest.mark.value_files("get-key")
def test_what_a_program_says_on_standard_error_is_shown(own_world, program, key):
    program(f"echo 'touch your device' >&2; echo {key.to_text()}")
    done = run_sealflow("init", stdin="", **{COMMAND: "get-key"})
    assert done.returncode == 0, done.stderr
    assert "touch your device" in done.stderr


@pytest.mark.parametrize("command", ["./get-key", "bin/get-key", "no-such-program", "'", " "])
def test_the_current_folder_does_not_choose_the_program(own_world, monkeypatch, command):
    (own_world / "bin").mkdir()
    for path in (own_world / "get-key", own_world / "bin" / "get-key"):
        path.write_text(f"#!/bin/sh\ntouch {own_world}/ran\n")
        path.chmod(0o700)
    monkeypatch.setenv("PATH", f".:{os.environ['PATH']}")
    for given in (command, "get-key"):
        monkeypatch.setenv(COMMAND, given)
        with pytest.raises(SettingsError, match=COMMAND):
            find(own_world)
    assert not (own_world / "ran").exists()


def test_a_descriptor_comes_before_a_program(tmp_path, key, monkeypatch):
    number = piped(key.to_text())
    monkeypatch.setenv(DESCRIPTOR, str(number))
    monkeypatch.setenv(COMMAND, "/nowhere/get-key")
    assert find(tmp_path).kek_id == key.kek_id
    os.close(number)


def test_the_doctor_names_every_variable_that_gives_a_key(cli, key, monkeypatch):
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    cli("init")
    monkeypatch.setenv(COMMAND, "/nowhere/get-key")
    assert f"WORKFLOW_SECRETS_MASTER_KEY and {COMMAND} are set" in cli("doctor").out


def lost(cli, *arguments):
    """Return what a command says when the key of the store is not there."""
    said = cli(*arguments)
    assert said.code == 1
    assert "sealflow init" not in said.err
    return said.err


@pytest.mark.parametrize(
    "command", [("secret", "get", "a"), ("key", "rotate-dek"), ("doctor",)], ids=lambda command: command[0]
)
def test_a_lost_key_file_is_named_with_the_ids_and_the_way_out(cli, monkeypatch, command):
    made = cli("init", "--json").out
    (kek_id,) = [MasterKey.parse(path.read_text(), "x").kek_id for path in _key_files()]
    (path,) = _key_files()
    path.unlink()
    said = cli(*command)
    shown = said.out + said.err
    assert str(path) in shown
    assert kek_id in shown
    assert "recovery key" in shown
    assert "sealflow init" not in shown
    assert made


def _key_files():
    return list(default_key_file("x").parent.glob("*.key"))


def test_a_variable_that_names_a_missing_file_is_answered_with_the_ids(cli, monkeypatch, tmp_path):
    cli("init")
    (kek_id,) = [MasterKey.parse(path.read_text(), "x").kek_id for path in _key_files()]
    monkeypatch.setenv(FILE, str(tmp_path / "gone.key"))
    said = lost(cli, "secret", "get", "a")
    assert f"{tmp_path / 'gone.key'} does not exist" in said
    assert kek_id in said


def test_a_wrong_key_is_answered_with_the_ids_and_the_way_out(cli, monkeypatch):
    cli("init")
    cli("key", "add", "--recovery")
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", MasterKey.generate().to_text())
    for command in (("secret", "list"), ("secret", "get", "a")):
        said = lost(cli, *command)
        assert "(recovery key)" in said
        assert "from another machine or from your copy" in said


def test_a_new_store_without_a_key_is_told_to_init(tmp_path):
    with pytest.raises(MissingMasterKeyError, match="sealflow init"):
        open_service(tmp_path / "new")


def test_a_restore_on_a_new_machine_says_the_order_of_steps(cli, monkeypatch, own_world, tmp_path):
    cli("init")
    (kek_id,) = [MasterKey.parse(path.read_text(), "x").kek_id for path in _key_files()]
    assert cli("backup", "create", "b.backup").code == 0
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other-machine"))
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_PATH", str(tmp_path / "new-machine"))
    said = cli("backup", "restore", "b.backup")
    assert said.code == 1
    assert kek_id in said.err
    steps = [said.err.index(step) for step in (FILE, "backup restore` again", "key use", "sealflow doctor")]
    assert steps == sorted(steps)
    assert "`sealflow init` is not needed" in said.err


def test_a_restore_on_a_new_machine_ends_with_a_key_that_needs_no_variable(
    cli, monkeypatch, own_world, tmp_path
):
    cli("init")
    (key_file,) = _key_files()
    cli("backup", "create", "b.backup")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other-machine"))
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_PATH", str(tmp_path / "new-machine"))
    monkeypatch.setenv(FILE, str(key_file))
    said = cli("backup", "restore", "b.backup")
    assert "`sealflow key use FILE` with your key, then `sealflow doctor`" in said.out
    assert cli("key", "use", str(key_file)).code == 0
    monkeypatch.delenv(FILE)
    assert cli("key", "rotate-dek").code == 0


@pytest.fixture
def homeless(monkeypatch):
    """A user without HOME and without a line in passwd."""
    import pwd

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CONFIG_HOME")

    def unknown(_):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_a_user_without_a_home_is_told_so_and_nothing_is_made(cli, homeless, own_world):
    said = cli("init")
    assert said.code == 1
    assert "has no home directory" in said.err
    assert FILE in said.err
    assert [path.name for path in own_world.iterdir() if path.name == "~"] == []


def test_a_user_without_a_home_works_with_a_key_from_a_variable(cli, homeless, store_key, own_world):
    said = cli("init")
    assert said.code == 0, said.err
    assert cli("secret", "list").code == 0
    assert cli("doctor").code in (0, 1)
    (own_world / "w.yaml").write_text(
        "sealflow: 1\nname: w\nnodes: {a: {type: transform, config: {expression: '@'}}}\n"
    )
    assert cli("run", "w.yaml").code == 0
    said = cli("trust", "--list")
    assert "internal error" not in said.err


def test_a_user_without_a_home_is_told_where_the_key_was_looked_for(cli, homeless, key, monkeypatch):
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    cli("init")
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY")
    said = lost(cli, "secret", "get", "a")
    assert "no home directory that could hold a key file" in said
    assert key.kek_id in said


def test_a_tilde_without_a_home_is_a_message(cli, homeless, monkeypatch):
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_PATH", "~/store")
    assert "Set HOME" in cli("store", "status").err
    monkeypatch.delenv("WORKFLOW_SECRETS_STORAGE_PATH")
    monkeypatch.setenv(FILE, "~/k")
    assert "Set HOME" in cli("init").err


def test_a_home_that_cannot_be_written_is_a_message(cli, monkeypatch, tmp_path):
    (tmp_path / "home").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    assert "sealflow key generate --out FILE" in cli("init").err
