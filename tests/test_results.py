"""What ``sealflow run`` shows of a run's data: to a person, and to a pipe."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

import sealflow

NODES = {
    "first": {"type": "transform", "config": {"expression": "{items: items, name: 'x'}"}},
    "last": {"type": "transform", "config": {"expression": "items"}},
}
INPUT = json.dumps({"items": [1, {"deep": "é"}]})


@pytest.fixture
def file(own_world):
    path = own_world / "w.yaml"
    document = {"sealflow": 1, "name": "w", "nodes": NODES, "links": ["first.output -> last.input"]}
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def function_file(own_world):
    """Write a workflow of one function node, with a secret's token as its argument."""

    def write(body, token="none"):
        (own_world / "mine.py").write_text(f"def main(token):\n    {body}\n")
        nodes = {"n": {"type": "function", "config": {"call": "mine:main", "token": token}}}
        path = own_world / "f.yaml"
        path.write_text(json.dumps({"sealflow": 1, "name": "f", "nodes": nodes}))
        return str(path)

    return write


def sealflow_run(*arguments):
    command = [sys.executable, "-m", "sealflow", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_person_sees_what_the_last_node_gave(file):
    done = sealflow_run(file, "--input", INPUT)
    assert done.returncode == 0
    assert done.stdout == (
        'first  ok\nlast   ok\nw: completed\n\nlast:\n  [\n    1,\n    {\n      "deep": "é"\n    }\n  ]\n'
    )


def test_output_prints_one_output_as_json_and_nothing_else(file):
    done = sealflow_run(file, "--input", INPUT, "--output", "last")
    assert json.loads(done.stdout) == [1, {"deep": "é"}]
    assert "w: completed" in done.stderr


def test_output_takes_a_path(file):
    done = sealflow_run(file, "--input", INPUT, "--output", "first.items.1.deep")
    assert done.stdout == '"é"\n'


def test_output_of_an_unknown_node_is_refused_before_the_run(file):
    done = sealflow_run(file, "--output", "lst")
    assert done.returncode == 1
    assert "there is no node 'lst'. Did you mean 'last'" in done.stderr
    assert "completed" not in done.stderr


def test_output_with_a_wrong_path_names_the_part_that_is_not_there(file):
    done = sealflow_run(file, "--input", INPUT, "--output", "first.itms.0")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "nothing at first.itms. Did you mean 'items'?\n" in done.stderr


def test_output_of_a_node_that_failed_prints_nothing(function_file):
    done = sealflow_run(function_file("return 1 / 0"), "--output", "n")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "gave nothing on its port output: it is failed. It gave n.error" in done.stderr


def test_json_and_output_exclude_each_other(file):
    assert sealflow_run(file, "--json", "--output", "last").returncode == 2


def test_a_long_output_is_cut_and_says_how_to_see_the_rest(function_file):
    done = sealflow_run(function_file("return list(range(100))"))
    assert done.stdout.count("\n") < 30
    assert "... 82 more lines; --output n prints all of it as JSON\n" in done.stdout


def test_a_value_is_masked_in_both(function_file, store_key, canary):
    token = canary.value()
    with sealflow.open_service() as service:
        service.create_secret("github", "bearer_token", {"token": token})
    path = function_file("return {'got': token}", "{{secrets.github.token}}")
    for options in ((), ("--output", "n")):
        done = sealflow_run(path, *options)
        canary.saw("what the run printed", done.stdout + done.stderr)
        assert '"got": "***"' in done.stdout


def test_what_a_node_prints_does_not_get_into_the_pipe(function_file):
    done = sealflow_run(function_file("print('loud'); return 1"), "--output", "n")
    assert done.stdout == "1\n"
    assert "loud" in done.stderr


def test_escape_sequences_in_an_output_do_not_reach_the_terminal(function_file):
    done = sealflow_run(function_file(r"return 'a\x1b[31mb\u202ec'"))
    assert "  a\\x1b[31mb\\u202ec\n" in done.stdout


def test_of_an_http_answer_the_body_is_shown(own_world, server, cli):
    nodes = {"get": {"type": "http-request", "config": {"url": f"{server.url}/echo"}}}
    path = own_world / "h.yaml"
    path.write_text(json.dumps({"sealflow": 1, "name": "h", "nodes": nodes}))
    assert "\nget.body:\n" in sealflow_run(path).stdout


def on_a_terminal(path, **environment):
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sealflow", "run", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", **environment},
    )
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 4096):
            shown += chunk
    except OSError:  # the other side is closed
        pass
    os.close(leader)
    assert process.wait(60) == 0
    return shown.decode()


def test_a_terminal_gets_colours(file):
    assert "\x1b[32mok\x1b[0m" in on_a_terminal(file)


def test_no_color_takes_the_colours_away(file):
    assert "\x1b[" not in on_a_terminal(file, NO_COLOR="1")
