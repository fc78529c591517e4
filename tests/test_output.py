"""What ``sealflow run`` prints is clean, whoever prints it. Each test runs the command in a process of its own."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys

import pytest

import sealflow
from sealflow.cli.output import CleanedOutput
from sealflow.logs import cleaned_logs
from sealflow.resolver.redactor import Redactor

PREAMBLE = "import asyncio, base64, gc, os, sys, threading, time, warnings\n"


@pytest.fixture
def leak(own_world, store_key, canary):
    """Run a workflow with one function node, whose body is given; return the finished process and the value."""
    token = canary.value()
    with sealflow.open_service() as service:
        service.create_secret("github", "bearer_token", {"token": token})
    nodes = {"n": {"type": "function", "config": {"call": "leaky:main", "token": "{{secrets.github.token}}"}}}
    (own_world / "w.yaml").write_text(json.dumps({"sealflow": 1, "name": "w", "nodes": nodes}))

    def run(body, *options):
        lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
        (own_world / "leaky.py").write_text(f"{PREAMBLE}def main(token):\n{lines}\n")
        command = [sys.executable, "-m", "sealflow", "run", "w.yaml", "--trust", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        canary.saw("what the run printed", done.stdout + done.stderr)
        return done

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        "print('token', token)",
        "print('token', token, file=sys.stderr)",
        "sys.stdout.write(token[:9]); sys.stdout.write(token[9:])",
        "sys.stdout.buffer.write(f'token {token}\\n'.encode())",
        "print(base64.encodebytes(('x' * 50 + token + 'y' * 50).encode()).decode())",
        "warnings.warn('token ' + token)",
        "thread = threading.Thread(target=lambda: 1 / 0, name=token); thread.start(); thread.join()",
        "thread = threading.Thread(target=lambda: int(token)); thread.start(); thread.join()",
        "class Late:\n    def __del__(self): raise ValueError(token)\nLate(); gc.collect()",
        "threading.Thread(target=lambda: (time.sleep(0.5), print('late', token))).start()",
    ],
    ids=[
        "print",
        "stderr",
        "in pieces",
        "bytes",
        "folded base64",
        "a warning",
        "a thread's name",
        "a thread",
        "a finalizer",
        "late",
    ],
)
def test_what_a_node_prints_is_masked(leak, body):
    done = leak(body)
    assert done.returncode == 0, done.stderr
    assert "***" in done.stderr


CONTROL = """
import sys
import sealflow.cli.output
sealflow.cli.output.active_cleaners = lambda: ()
sys.argv = ["sealflow", "run", "w.yaml", "--trust"]
from sealflow.cli.main import main
main()
"""


@pytest.mark.reveals("it shows that the value is printed when nothing cleans it")
def test_without_the_cleaning_the_value_would_be_printed(leak, canary):
    leak("print('token', token)")
    done = subprocess.run(
        [sys.executable, "-c", CONTROL], capture_output=True, text=True, timeout=60, check=False
    )
    assert any(value in done.stderr for value in canary.values)


def test_what_a_node_prints_does_not_disturb_the_json(leak):
    done = leak("print('token', token)", "--json")
    assert json.loads(done.stdout)["status"] == "completed"
    assert "token ***" in done.stderr


def test_sys_exit_in_a_node_fails_the_node_and_not_the_command(leak):
    done = leak("sys.exit('token ' + token)", "--json")
    assert done.returncode == 1
    (node,) = json.loads(done.stdout)["nodes"].values()
    assert node["error"] == {"type": "SystemExit", "message": "the node called sys.exit(token ***)"}


def test_a_lost_task_exception_is_masked(leak):
    done = leak(
        "async def fail(): raise ValueError(token)\nasync def go():\n    asyncio.ensure_future(fail()); await asyncio.sleep(0.01)\nasyncio.run(go()); gc.collect()"
    )
    assert "never retrieved" in done.stderr
    assert "***" in done.stderr


@pytest.fixture
def output():
    stream = io.StringIO()
    return CleanedOutput(stream, stream)


def test_a_line_is_passed_on_when_it_is_complete(output):
    output.write("one\ntw")
    assert output.stream.getvalue() == "one\n"
    output.finish()
    assert output.stream.getvalue() == "one\ntw"


def test_what_was_printed_last_is_masked_after_the_run_has_ended(output):
    redactor = Redactor()
    redactor.add("hunter2")
    with cleaned_logs(redactor.clean):
        output.write("no line break: hunter2")
    output.finish()
    assert output.stream.getvalue() == "no line break: ***"


def test_only_strings_are_written(output):
    with pytest.raises(TypeError):
        output.write(base64.b64encode(b"x"))


def test_it_can_be_closed_after_its_stream_as_python_does_at_the_end():
    stream = io.TextIOWrapper(io.BytesIO())
    output = CleanedOutput(stream, stream)
    stream.close()
    output.close()
    assert output.closed
