"""``sealflow secret edit``: what the editor gets, what comes back, and that the file does not stay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

# The editor of these tests types values.
pytestmark = pytest.mark.value_files("editor.py")


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """The folder in memory, as the login would give it."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def editor(tmp_path, monkeypatch, runtime):
    """Make the body of a Python function of ``path`` the user's editor."""

    def use(body):
        script = tmp_path / "editor.py"
        script.write_text(
            "import json, os, pathlib, sys, time\npath = pathlib.Path(sys.argv[1])\n" + body + "\n"
        )
        monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")

    return use


def version_of(cli, name="a"):
    return json.loads(cli("secret", "get", name, "--json").out)["version"]


CHANGE = "data = json.loads(path.read_text()); data['value'] = 'changed-by-editor'; path.write_text(json.dumps(data))"


def test_a_changed_field_makes_a_new_version(cli, one_secret, editor):
    editor(CHANGE)
    result = cli("secret", "edit", "a")
    assert result.out == "The secret a was updated: version 2.\n"
    assert cli("secret", "get", "a", "--field", "value", "--reveal").out == "changed-by-editor\n"


def test_an_unchanged_file_makes_no_version(cli, one_secret, editor):
    editor("path.write_text(json.dumps(json.loads(path.read_text())))")
    assert cli("secret", "edit", "a").out == "Nothing changed in a.\n"
    assert version_of(cli) == 1


def test_the_editor_alone_can_read_the_file_and_it_is_gone_afterwards(
    cli, one_secret, editor, runtime, tmp_path
):
    editor(
        "modes = [oct(item.stat().st_mode & 0o777) for item in (path.parent, path)]\n"
        f"pathlib.Path({str(tmp_path / 'seen')!r}).write_text(' '.join([*modes, str(path.parent.parent)]))"
    )
    cli("secret", "edit", "a")
    assert (tmp_path / "seen").read_text() == f"0o700 0o600 {runtime}"
    assert list(runtime.iterdir()) == []


def test_an_editor_that_fails_changes_nothing_and_leaves_nothing(cli, one_secret, editor, runtime):
    editor(CHANGE + "; sys.exit(3)")
    result = cli("secret", "edit", "a")
    assert result.code == 1
    assert "the editor ended with 3" in result.err
    assert version_of(cli) == 1
    assert list(runtime.iterdir()) == []


def test_what_is_not_json_is_refused_without_repeating_it(cli, one_secret, editor, runtime):
    editor("path.write_text(path.read_text() + '}')")
    result = cli("secret", "edit", "a")
    assert result.code == 1
    assert "the edited file: the input is not JSON (line 4, column 1)" in result.err
    assert list(runtime.iterdir()) == []


def test_a_field_that_the_type_does_not_know_is_refused(cli, one_secret, editor):
    editor('path.write_text(\'{"other": "some-text"}\')')
    assert "is missing" in cli("secret", "edit", "a").err
    assert version_of(cli) == 1


def test_a_change_that_somebody_made_meanwhile_is_not_lost(cli, one_secret, editor):
    command = [sys.executable, "-m", "sealflow", "secret", "update", "a", "--description", "mine"]
    editor(f"import subprocess; subprocess.run({command!r}, check=True, env={dict(os.environ)!r})\n" + CHANGE)
    result = cli("secret", "edit", "a")
    assert result.code == 1
    assert "is at version 2, not 1" in result.err


def test_the_editor_gets_no_master_key(cli, one_secret, editor, tmp_path):
    editor(f"pathlib.Path({str(tmp_path / 'names')!r}).write_text(' '.join(os.environ))")
    cli("secret", "edit", "a")
    assert "WORKFLOW_SECRETS" not in (tmp_path / "names").read_text()


def test_an_editor_that_is_not_there_is_named(cli, one_secret, monkeypatch, runtime):
    monkeypatch.setenv("VISUAL", "no-such-editor")
    result = cli("secret", "edit", "a")
    assert result.code == 1
    assert "no-such-editor cannot be run" in result.err
    assert list(runtime.iterdir()) == []


def started(runtime):
    process = subprocess.Popen([sys.executable, "-m", "sealflow", "secret", "edit", "a"])
    end = time.monotonic() + 30
    while not list(runtime.glob("*/ready")):
        assert time.monotonic() < end
        time.sleep(0.05)
    return process


READY = "(path.parent / 'ready').write_text('')\nwhile path.parent.exists(): time.sleep(0.05)"


def test_a_stopped_command_removes_the_file(one_secret, editor, runtime):
    editor(READY)
    process = started(runtime)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 1
    assert list(runtime.iterdir()) == []


def test_what_a_killed_command_left_is_removed_by_the_next(cli, one_secret, editor, runtime):
    editor(READY)
    process = started(runtime)
    process.kill()
    process.wait(30)
    assert list(runtime.iterdir()) != []
    editor("")
    assert cli("secret", "edit", "a").code == 0
    assert list(runtime.iterdir()) == []


def test_the_file_of_an_edit_that_goes_on_is_left_alone(cli, one_secret, editor, runtime):
    editor(READY)
    process = started(runtime)
    editor("")
    assert cli("secret", "edit", "a").code == 0
    assert len(list(runtime.iterdir())) == 1
    process.terminate()
    assert process.wait(30) == 1
