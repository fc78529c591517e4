"""Where values come from: a terminal of a process of its own, a pipe, a file."""

from __future__ import annotations

import os
import pty
import sys

import pytest

import sealflow

TOKEN = "typed-token-value"


def typed(*arguments, answers):
    """Run ``sealflow secret`` on a pseudo-terminal, and answer each prompt as it comes; its exit code and what it showed."""
    command = [sys.executable, "-m", "sealflow", "secret", *arguments]
    child, terminal = pty.fork()
    if child == 0:
        os.execv(command[0], command)
    shown = b""
    for prompt, answer in answers:
        seen = len(shown)
        while prompt not in shown[seen:]:
            shown += os.read(terminal, 1000)
        os.write(terminal, answer)
    try:
        while chunk := os.read(terminal, 1000):
            shown += chunk
    except OSError:  # the other side is closed
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def data_of(name):
    with sealflow.open_service() as service:
        return service.get_secret(name).data


LINE = TOKEN.encode() + b"\n"


def test_a_username_is_shown_and_a_password_asked_twice(one_secret):
    answers = [(b"username: ", b"alice\n"), (b"password: ", LINE), (b"password again: ", LINE)]
    code, shown = typed("create", "n", "--type", "basic_auth", answers=answers)
    assert code == 0
    assert "username: alice" in shown
    assert TOKEN not in shown
    assert data_of("n") == {"username": "alice", "password": TOKEN}


def test_two_that_differ_are_asked_for_again(one_secret):
    answers = [
        (b"token: ", LINE),
        (b"token again: ", b"other\n"),
        (b"token: ", LINE),
        (b"token again: ", LINE),
    ]
    code, shown = typed("create", "n", "--type", "bearer_token", answers=answers)
    assert code == 0
    assert "not the same" in shown
    assert data_of("n") == {"token": TOKEN}


def test_a_name_in_use_is_said_before_anything_is_typed(one_secret):
    code, shown = typed("create", "a", "--type", "api_key", answers=[])
    assert code == 1
    assert "the secret 'a' exists" in shown
    assert "value:" not in shown


def test_custom_asks_for_names_and_values(one_secret):
    answers = [
        (b"done): ", b"a b\n"),
        (b"done): ", b"pin\n"),
        (b"pin: ", LINE),
        (b"pin again: ", LINE),
        (b"done): ", b"\n"),
    ]
    code, shown = typed("create", "n", "--type", "custom", answers=answers)
    assert code == 0, shown
    assert "not a valid field name" in shown
    assert data_of("n") == {"pin": TOKEN}


def test_several_pasted_lines_are_refused_with_the_way(one_secret):
    answers = [(b"value: ", b"first-of-lines\nsecond-of-lines\nthird\n")]
    code, shown = typed("create", "n", "--type", "api_key", answers=answers)
    assert code == 1
    assert "--field value=@-" in shown
    assert "of-lines" not in shown


def test_a_key_of_several_lines_arrives_whole_from_standard_input(cli, one_secret):
    key = "first-of-lines\nsecond-of-lines\n"
    assert cli("secret", "create", "n", "--type", "api_key", "--field", "value=@-", stdin=key).code == 0
    assert data_of("n") == {"value": key}


def test_what_is_piped_in_is_the_one_required_field(cli, one_secret):
    assert cli("secret", "create", "n", "--type", "bearer_token", stdin=TOKEN + "\n").code == 0
    assert data_of("n") == {"token": TOKEN}


@pytest.mark.parametrize("type_name", ["basic_auth", "oauth", "custom"])
def test_a_type_with_several_fields_does_not_guess_what_is_piped_in(cli, one_secret, type_name):
    assert cli("secret", "create", "n", "--type", type_name, stdin=TOKEN).code != 0


def test_an_empty_pipe_is_not_a_value(cli, one_secret):
    result = cli("secret", "create", "n", "--type", "bearer_token")
    assert result.code == 2
    assert "no terminal" in result.err


def test_only_one_field_can_read_standard_input(cli, one_secret):
    fields = ("--field", "username=@-", "--field", "password=@-")
    assert cli("secret", "create", "n", "--type", "basic_auth", *fields, stdin=TOKEN).code == 2
