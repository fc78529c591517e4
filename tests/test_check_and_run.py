from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sealflow
from sealflow.resolver.redactor import Redactor

WORKFLOW = """\
sealflow: 1
name: check-me
nodes:
  good:
    type: http-request
    config:
      url: https://x.example/
      headers: {A: "{{secrets.github.token}}", B: 'x {{ secrets.githbu.token }}'}
      body: |
        first line
        second {{secrets.github.tokn}} and {{secrets.none.x}}
      auth: {secret: nobody}
  bad:
    type: http-request
    config:
      url: "https://x/{{secrets.github.token}"
  vault:
    type: http-request
    config: {url: "{{secrets.vault:anything.x}}"}
links: []
"""


@pytest.fixture
def store(store_key):
    with sealflow.open_service() as service:
        service.create_secret("github", "bearer_token", {"token": "ghp-hunter2"})
        service.create_secret("old", "api_key", {"value": "o-hunter2"}, expires_at="2020-01-01T00:00:00Z")
        service.create_secret("theirs", "api_key", {"value": "t-hunter2"}, allowed_workflows=["other"])
        yield service


def check(cli, *files):
    result = cli("check", "--json", *map(str, files))
    return result.code, json.loads(result.out)


def test_check_says_file_line_and_column(cli, store, own_world, monkeypatch):
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY")  # no key is needed
    path = own_world / "w.yaml"
    path.write_text(WORKFLOW)
    code, found = check(cli, path)
    assert code == 1
    lines = WORKFLOW.splitlines()
    for item in found:
        assert set(item) == {"file", "line", "column", "path", "reference", "problem", "hint"}
        assert item["file"] == str(path)
    places = {(item["line"], item["column"]): item for item in found}
    assert len(places) == 5
    for item in found:
        if item["path"].endswith("auth.secret"):
            assert lines[item["line"] - 1][item["column"] - 1 :].startswith("nobody")
        elif item["path"].endswith("bad.config.url"):
            assert lines[item["line"] - 1][item["column"] - 1 :].startswith("{{secrets.github.token}")
            assert "not closed" in item["problem"]
        else:
            assert lines[item["line"] - 1][item["column"] - 1 :].startswith(item["reference"])
    by_reference = {item["reference"]: item for item in found}
    assert "'github'" in by_reference["{{ secrets.githbu.token }}"]["hint"]
    assert "'token'" in by_reference["{{secrets.github.tokn}}"]["hint"]
    assert by_reference["{{secrets.none.x}}"]["path"] == "nodes.good.config.body"
    human = cli("check", str(path))
    assert human.code == 1
    assert f"{path}:8:" in human.out


def test_check_passes_a_good_file(cli, store, own_world):
    path = own_world / "w.json"
    path.write_text(
        json.dumps(
            {
                "sealflow": 1,
                "name": "w",
                "nodes": {
                    "a": {
                        "type": "http-request",
                        "config": {
                            "url": "https://x/",
                            "auth": {"secret": "github"},
                            "headers": {"A": "{{secrets.github.token}}"},
                        },
                    }
                },
            },
            indent="\t",
        )
    )
    assert check(cli, path) == (0, [])
    assert "1 file, 2 references: nothing to correct" in cli("check", str(path)).out


@pytest.mark.parametrize(
    ("config", "path", "said"),
    [
        ({"url": "{{secrets.old.value}}"}, "nodes.a.config.url", "expired"),
        ({"url": "{{secrets.theirs.value}}"}, "nodes.a.config.url", "may not be used"),
        ({"ur": "x"}, "nodes.a.config.ur", "there is no field 'ur'"),
        ({"url": "x", "auth": {"secret": "!"}}, "nodes.a.config.auth.secret", "not the name of a secret"),
    ],
)
def test_check_finds_what_a_run_would_refuse(cli, store, own_world, config, path, said):
    file = own_world / "w.json"
    file.write_text(
        json.dumps({"sealflow": 1, "name": "w", "nodes": {"a": {"type": "http-request", "config": config}}})
    )
    code, found = check(cli, file)
    assert code == 1
    assert [(item["path"], said in item["problem"]) for item in found] == [(path, True)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sealflow: 1\nname: [", 2),
        ("sealflow: 2\nname: w\nnodes: {}", 1),
        ("sealflow: 1\nname: w\nnodes:\n  a: {type: nope}", 4),
        (
            "sealflow: 1\nname: w\nnodes: {a: {type: transform, config: {expression: a}}}\nlinks:\n  - a.output -> b.input",
            5,
        ),
        ("", 1),
        ("sealflow: 1\nname: ''\nnodes: {}", 2),
    ],
)
def test_check_places_what_is_no_workflow(cli, store, own_world, text, line):
    file = own_world / "w.yaml"
    file.write_text(text)
    code, found = check(cli, file)
    assert code == 1
    assert found[0]["line"] == line


def test_check_without_a_store_or_a_file(cli, own_world):
    file = own_world / "w.yaml"
    file.write_text(WORKFLOW)
    code, found = check(cli, file, own_world / "missing.yaml")
    assert code == 1
    assert any("no store" in item["problem"] for item in found)
    assert any("missing.yaml" in item["problem"] for item in found)


def workflow_file(own_world, server, **nodes):
    path = own_world / "w.json"
    path.write_text(json.dumps({"sealflow": 1, "name": "w", "nodes": nodes}))
    return path


def request(url, **config):
    return {"type": "http-request", "config": {"url": url, **config}}


def test_run_prints_the_contract(cli, store, own_world, server):
    path = workflow_file(
        own_world,
        server,
        a=request(server.url, headers={"X-T": "{{secrets.github.token}}"}),
        b=request("http://127.0.0.1:1/"),
    )
    result = cli("run", str(path), "--json")
    assert result.code == 1
    printed = json.loads(result.out)
    assert printed["status"] == "failed"
    assert printed["nodes"]["a"]["state"] == "completed"
    assert printed["nodes"]["a"]["attempts"] == 1
    assert printed["nodes"]["a"]["error"] is None
    assert printed["nodes"]["a"]["outputs"]["output"]["body"]["headers"]["X-T"] == "***"
    assert printed["nodes"]["b"]["state"] == "failed"
    assert printed["nodes"]["b"]["error"]["type"] == "ConnectionError"
    assert printed["nodes"]["b"]["outputs"]["error"]["type"] == "ConnectionError"
    assert server.seen[0].headers["X-T"] == "ghp-hunter2"


def test_strict_says_that_it_is_not_needed(cli, store, own_world, server):
    path = workflow_file(own_world, server, a=request(server.url))
    result = cli("run", str(path), "--strict")
    assert result.code == 0
    assert "--strict is not needed" in result.err
    assert "a  ok  200" in result.out


def test_run_fails_when_a_node_failed(cli, store, own_world, server):
    path = workflow_file(
        own_world, server, a=request(server.url, headers={"X-T": "{{secrets.nope.x}}"}), b=request(server.url)
    )
    result = cli("run", str(path), "--json")
    assert result.code == 1
    printed = json.loads(result.out)
    assert printed["status"] == "failed"
    assert set(printed["nodes"]["a"]["error"]) == {"type", "message"}
    assert "FAILED" in cli("run", str(path)).out


def test_run_takes_input_in_three_ways(cli, store, own_world, server):
    path = workflow_file(own_world, server, a=request(server.url, method="POST"))
    (own_world / "in.json").write_text('{"body": "two"}')
    assert cli("run", str(path), "--input", '{"body": "one"}').code == 0
    assert cli("run", str(path), "--input", f"@{own_world / 'in.json'}").code == 0
    assert cli("run", str(path), "--input", "-", stdin='{"body": "three"}').code == 0
    assert [seen.body for seen in server.seen] == ["one", "two", "three"]
    assert cli("run", str(path), "--input", "{broken").code == 1


def test_run_finds_functions_beside_the_file(cli, store, own_world, server, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "beside_it.py").write_text(
        "def shout(token, input=None):\n    return [token.upper(), len(token)]\n"
    )
    path = folder / "w.yaml"
    path.write_text(
        "sealflow: 1\nname: w\nnodes:\n  a: {type: function, config: {call: 'beside_it:shout', token: '{{secrets.github.token}}'}}\n"
    )
    result = cli("run", str(path), "--json")
    assert json.loads(result.out)["nodes"]["a"]["outputs"]["output"][1] == len("ghp-hunter2")


def test_an_interrupted_run_ends_as_cancelled(store, own_world, server):
    async def never(_):
        import asyncio

        await asyncio.sleep(60)

    server.on("/slow", never)
    path = workflow_file(own_world, server, a=request(f"{server.url}/slow"))
    process = subprocess.Popen(
        [sys.executable, "-m", "sealflow", "run", str(path), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not server.seen and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert json.loads(out)["status"] == "cancelled"
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_run_whose_node_blocks_the_loop(own_world, number):
    (own_world / "blocking_it.py").write_text(
        "import pathlib, time\nasync def block():\n    pathlib.Path('begun').touch()\n    time.sleep(300)\n"
    )
    path = own_world / "w.yaml"
    path.write_text(
        "sealflow: 1\nname: w\nnodes:\n  a: {type: function, config: {call: 'blocking_it:block'}}\n"
    )
    process = subprocess.Popen([sys.executable, "-m", "sealflow", "run", str(path)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (own_world / "begun").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(number)
        time.sleep(0.1)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -number, said


CUSTOM = """
from pydantic import SecretStr
from sealflow import BaseNode, NodeConfig, register_node

@register_node
class Sender(BaseNode):
    type_name = "sender"

    class Config(NodeConfig):
        url: str
        secrets: dict[str, SecretStr]

    async def process(self, context, config):
        import aiohttp
        async with aiohttp.ClientSession() as session:
            await session.post(config.url, json={key: value.get_secret_value() for key, value in config.secrets.items()})
"""

TYPES = {
    "api": ("api_key", {"value": "api-hunter2"}, "value"),
    "basic": ("basic_auth", {"username": "us-er", "password": "basic-hunter2"}, "password"),
    "bearer": ("bearer_token", {"token": "bearer-hunter2"}, "token"),
    "oauth": ("oauth", {"client_id": "c-id", "client_secret": "oauth-hunter2"}, "client_secret"),
    "custom": ("custom", {"deep": {"er": ["custom-hunter2"]}}, "deep.er.0"),
}


def value_of(name):
    return next(iter(json.dumps(TYPES[name][1]).split("hunter2")[:1])).rsplit('"', 1)[1] + "hunter2"


@pytest.mark.slow
def test_every_type_in_every_place_and_no_value_anywhere_afterwards(store_key, own_world, server):
    """What the README promises, as a user would run it: the command line in processes of its own, and a search."""
    for name, (type_name, data, _) in TYPES.items():
        subprocess.run(
            [
                sys.executable,
                "-m",
                "sealflow",
                "secret",
                "create",
                name,
                "--init",
                "--type",
                type_name,
                "--from-json",
                "-",
            ],
            input=json.dumps(data),
            text=True,
            check=True,
            capture_output=True,
        )
    references = {name: "{{secrets." + name + "." + field + "}}" for name, (_, _, field) in TYPES.items()}
    (own_world / "own_node.py").write_text(CUSTOM)
    nodes = {
        "http": {
            "type": "http-request",
            "config": {
                "method": "POST",
                "url": f"{server.url}/http",
                "headers": {f"X-{name}": f"v {reference}" for name, reference in references.items()},
                "query": references,
                "body": {"list": [[reference, {"in": reference}] for reference in references.values()]},
            },
        },
        "own": {"type": "sender", "config": {"url": f"{server.url}/own", "secrets": references}},
        "fails": {
            "type": "http-request",
            "config": {
                "url": f"{server.url}/fails",
                "headers": {"A": references["api"], "B": "{{secrets.nope.x}}"},
            },
            "retry": {"attempts": 2, "delay": 0},
        },
    }
    path = own_world / "w.yaml"
    script = own_world / "script.py"
    path.write_text(json.dumps({"sealflow": 1, "name": "w", "nodes": nodes}))
    script.write_text(
        "import own_node, sys\nfrom sealflow.cli.main import run\nfrom sealflow import Workflow\n"
        "Workflow.load('w.yaml').dump('exported.json')\nsys.exit(run(['run', 'w.yaml', '--json', '--log-level', 'debug']))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONDEVMODE": "1", "PYTHONPATH": str(own_world)},
    )
    assert done.returncode == 1, done.stderr  # one node names a secret that is not there
    (http,), (own,) = server.at("/http"), server.at("/own")
    for name in TYPES:
        value = value_of(name)
        sent = {header.lower(): content for header, content in http.headers.items()}
        assert sent[f"x-{name}"] == f"v {value}"
        assert http.query[name] == [value]
        assert [value, {"in": value}] in json.loads(http.body)["list"]
        assert json.loads(own.body)[name] == value
    assert server.at("/fails") == []
    redactor = Redactor()
    redactor.add([value_of(name) for name in TYPES])
    outputs = {"stdout": done.stdout, "stderr": done.stderr}
    files = {str(item): item.read_bytes() for item in Path(own_world).rglob("*") if item.is_file()}
    assert any("secrets.db" in name for name in files)
    assert "exported.json" in "".join(files)
    for where, content in {**outputs, **files}.items():
        assert not redactor.holds(content.decode("latin-1")), where
        for name in TYPES:
            assert base64.b64encode(value_of(name).encode()).rstrip(b"=") not in content
    assert b"DEBUG" in done.stderr


def test_the_demo_runs_and_finds_nothing(cli, own_world):
    result = cli("demo")
    assert result.code == 0
    assert "none found" in result.out
    assert result.out.count("completed") >= 4
    assert "sealflow init" in result.out
    assert list(own_world.iterdir()) == []


def test_the_demo_would_see_a_value(own_world, tmp_path):
    """The search that the demo trusts finds what is there: raw, and in base64."""
    from sealflow.cli.demo import Credentials, _search

    credentials = Credentials.random()
    for name, content in (
        ("raw", credentials.token.encode()),
        ("b64", base64.b64encode(b"x:" + credentials.password.encode())),
        ("none", b"nothing"),
    ):
        (tmp_path / name).write_bytes(content)
    assert _search(
        [tmp_path / "raw", tmp_path / "b64", tmp_path / "none"], f"said {credentials.key}", credentials
    ) == ["raw", "b64", "the output"]
