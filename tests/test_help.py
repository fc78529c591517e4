"""Help: as it is written, on standard output, and the pages of the documentation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sealflow


def test_the_lines_of_the_main_help_stay_as_they_are_written(cli):
    out = cli("--help").out
    assert "  Begin with:   sealflow demo     see it work\n" in out
    assert "\\b" not in out


def test_sealflow_alone_prints_its_help_and_succeeds(cli):
    result = cli()
    assert result.code == 0
    assert result.out == cli("--help").out
    assert result.err == ""


def test_a_group_alone_prints_its_help(cli):
    result = cli("secret")
    assert result.code == 0
    assert "create" in result.out


def test_short_v_prints_the_version(cli):
    assert cli("-V").out == cli("--version").out != ""


def test_help_lists_the_pages_with_their_titles(cli):
    assert "vault                       Read secrets from Vault or OpenBao\n" in cli("help").out


def test_help_shows_a_page(cli):
    out = cli("help", "vault").out
    assert out.startswith("# Read secrets from Vault or OpenBao\n")
    assert "path/to" not in out


@pytest.mark.parametrize("topic", ["errors", "python-api", "versions", "cli"])
def test_a_page_has_no_relative_links_and_no_directives(cli, topic):
    out = cli("help", topic).out
    assert ".md)" not in out
    assert "toctree" not in out
    assert "eval-rst" not in out


def test_help_shows_the_help_of_a_command(cli):
    assert cli("help", "secret", "create").out.startswith("Usage: sealflow secret create")


def test_help_on_an_unknown_topic_names_the_closest(cli):
    result = cli("help", "valt")
    assert result.code == 2
    assert "Did you mean 'vault'? Try" in result.err


def test_every_topic_that_a_message_names_is_there(cli):
    source = Path(sealflow.__file__).parent
    named = {
        topic
        for file in source.rglob("*.py")
        for topic in re.findall(r"`sealflow help ([a-z-]+)`", file.read_text(encoding="utf-8"))
    }
    assert "vault" in named
    for topic in named:
        assert cli("help", topic).code == 0, topic


def complete(*words, shell="bash"):
    environment = {
        **os.environ,
        "_SEALFLOW_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["sealflow", *words]),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    command = [sys.executable, "-c", "from sealflow.cli.main import main; main()"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout


def test_names_of_secrets_are_completed_without_a_key(one_secret, monkeypatch):
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY")
    assert complete("secret", "get", "") == "plain,a\n"


def test_names_are_completed_for_fish_with_their_type(one_secret):
    assert "a" in complete("secret", "get", "", shell="fish")


def test_completing_where_there_is_no_store_is_quiet_and_makes_none(own_world):
    assert complete("secret", "get", "") == "\n"
    assert list(own_world.iterdir()) == []


def test_topics_are_completed(own_world):
    assert complete("help", "vau") == "plain,vault\n"


def test_bash_completes_with_the_script_that_is_printed(one_secret):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = """
        eval "$(sealflow completion bash)"
        COMP_WORDS=(sealflow secret delete ""); COMP_CWORD=3
        _sealflow_completion sealflow
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("a\n", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_of_the_other_shells_calls_sealflow(cli, shell):
    assert f"_SEALFLOW_COMPLETE={shell}_complete" in cli("completion", shell).out
