"""What somebody else wrote can neither steer the terminal of whoever runs a command nor forge a line."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sqlite3
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from conftest import Result
from sealflow.cli.completion import complete_secrets
from sealflow.cli.terminal import clean
from sealflow.crypto.master_key import MasterKey
from sealflow.wording import printable, quoted

STEERING = "\x1b]0;owned\x07\x1b[2K\x9b31m\u202eevil\u2066\nforged: line\r\x00\u2028\x7f"
SURROGATE = "\udc80\ud800"
STORE = Path(".workflow", "secrets")


def assert_harmless(result):
    for text in (result.out, result.err):
        steering = {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
        assert steering <= {"\n"}
        assert not any(line.startswith("forged") for line in text.splitlines())
        assert "internal error" not in text
    return result


@pytest.fixture
def planted(cli, one_secret, monkeypatch):
    """A store whose record was changed by somebody who can write to the storage."""
    del one_secret
    with sqlite3.connect(STORE / "secrets.db") as connection:
        connection.execute("UPDATE secrets SET description = ?", (f"d{STEERING}",))
        connection.execute("INSERT INTO tags SELECT id, ? FROM secrets", (f"t{STEERING}",))
        connection.execute("UPDATE versions SET type = ?", (f"x{STEERING}",))
        connection.execute("UPDATE secrets SET name = ?", (f"a; touch pwned #{STEERING}",))
    connection.close()
    return cli


@pytest.fixture
def planted_files(cli, store_key):
    """A store of files, with names and contents of somebody who can write to it."""
    assert cli("init", "--backend", "file").code == 0
    made = cli("secret", "create", "a", "--type", "api_key", "--from-json", "-", stdin='{"value": "v-of-a"}')
    assert made.code == 0
    return cli


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(
    "command", [("secret", "list"), ("secret", "search", "a"), ("doctor",), ("store", "status")]
)
def test_a_planted_record_steers_no_terminal(planted, command, options):
    assert_harmless(planted(*command, *options))


def test_a_planted_name_is_not_completed(planted, monkeypatch):
    assert (
        planted(
            "secret",
            "create",
            "apple",
            "--type",
            "api_key",
            "--from-json",
            "-",
            stdin='{"value": "v-of-apple"}',
        ).code
        == 0
    )
    assert [item.value for item in complete_secrets(None, None, "a")] == ["apple"]


def test_json_of_planted_data_is_valid_and_equal(planted):
    found = json.loads(planted("secret", "list", "--json").out)
    assert found[0]["description"] == f"d{STEERING}"
    assert found[0]["tags"] == [f"t{STEERING}"]


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(
    "command",
    [("audit",), ("audit", "--since", "1h"), ("audit", "--verify"), ("secret", "usage", "a"), ("doctor",)],
    ids=["audit", "audit --since", "audit --verify", "secret usage", "doctor"],
)
def test_a_planted_audit_line_steers_no_terminal(cli, one_secret, command, options):
    line = {
        "time": STEERING,
        "actor": SURROGATE + STEERING,
        "action": "reveal",
        "secret": "a",
        "node": [STEERING],
    }
    for extra in (line, {"secret": "a", "action": "resolve"}):
        with (STORE / "audit.log").open("a") as file:
            file.write(json.dumps(extra) + "\n")
    assert_harmless(cli(*command, *options))


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(
    "command", [("status",), ("store", "status"), ("doctor",), ("secret", "list"), ("key", "status")]
)
@pytest.mark.parametrize("field", ["store_id", "backend"])
def test_a_planted_marker_steers_no_terminal(planted_files, command, options, field):
    marker = STORE / "store.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {field: STEERING + SURROGATE}))
    assert_harmless(planted_files(*command, *options))


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(
    "command",
    [
        ("store", "status"),
        ("doctor",),
        ("secret", "list"),
        ("secret", "list", "--expiring", "9d"),
        ("secret", "get", "a"),
        ("secret", "history", "a"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("field", ["name", "description", "tags", "created_at", "id", "type", "policy"])
def test_a_planted_record_file_steers_no_terminal(planted_files, command, options, field):
    (record,) = (STORE / "records").glob("*.json")
    hostile = STEERING + SURROGATE
    content = json.loads(record.read_text())
    holder = content["versions"][0] if field in ("type", "policy") else content
    holder[field] = [hostile] if field == "tags" else hostile
    record.write_text(json.dumps(content))
    assert_harmless(planted_files(*command, *options))


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("command", [("store", "status"), ("doctor",)])
def test_a_planted_file_name_steers_no_terminal(planted_files, command, options):
    for name in ("x\x1b[2J\u202e\nforged: line", os.fsdecode(b"y\xff\x9b"), ".tmp-\x1b]0;owned\x07"):
        (STORE / name).write_text("")
        (STORE / "records" / f"{name}.json").write_text("{}")
    assert_harmless(planted_files(*command, *options))


def test_commands_of_doctor_take_a_hostile_name_as_one_word(planted_files):
    folder = STORE.absolute()
    names = ["z;touch pwned", "$(touch pwned) b", ".tmp-`touch pwned`'"]
    for name in names:
        (folder / name).write_text("")
        (folder / name).chmod(0o644)
    found = json.loads(planted_files("doctor", "--json").out)
    fixes = [item["fix"] for item in found]
    for name in names:
        words = [shlex.split(fix) for fix in fixes if fix.startswith("chmod")]
        assert ["chmod", "600", str(folder / name)] in words


def test_commands_of_doctor_take_a_hostile_secret_as_one_word(planted):
    found = json.loads(planted("doctor", "--json").out)
    fixes = [item["fix"] for item in found if "touch pwned" in item["fix"]]
    assert fixes
    for fix in fixes:
        subprocess.run(["bash", "-c", f"sealflow() {{ :; }}; {fix}"], check=False, capture_output=True)
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    "name", ["plain", "a b", "x;touch pwned", "q'uote", "\x1b[2J\n'\\", "é\u202e", os.fsdecode(b"\xff")]
)
def test_a_quoted_name_reaches_a_shell_as_it_is(name):
    word = quoted(name)
    done = subprocess.run(
        ["bash", "-c", f"printf %s {word}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert os.fsdecode(done.stdout) == name
    assert printable(word) == word


def workflow(name="w", node="n", **config):
    return json.dumps(
        {"sealflow": 1, "name": name, "nodes": {node: {"type": "http-request", "config": config}}}
    )


HOSTILE_WORKFLOWS = {
    "workflow name": workflow(name=STEERING + SURROGATE),
    "node name": workflow(node=STEERING + SURROGATE),
    "header": workflow(url="https://a.example/", headers={STEERING + SURROGATE: "{{secrets.b.token}}"}),
    "field": workflow(url="https://a.example/", **{STEERING + SURROGATE: 1}),
    "reference": workflow(url="https://a.example/{{secrets." + SURROGATE + STEERING + ".token}}"),
    "secret": workflow(url="https://a.example/", auth={"secret": SURROGATE + STEERING}),
    "top-level key": json.dumps({"sealflow": 1, STEERING + SURROGATE: 1}),
    "url": workflow(url="http://127.0.0.1:1/" + STEERING),
}


@pytest.mark.parametrize(
    "command", [("check",), ("check", "--json"), ("run",), ("run", "--json")], ids=" ".join
)
@pytest.mark.parametrize("kind", HOSTILE_WORKFLOWS)
def test_a_workflow_file_steers_no_terminal(cli, one_secret, monkeypatch, command, kind):
    # pytest-xdist cannot send what the log of this test holds.
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    Path("w.json").write_text(HOSTILE_WORKFLOWS[kind])
    assert_harmless(cli(*command, "w.json"))


def test_the_log_of_a_run_steers_no_terminal(one_secret):
    Path("w.json").write_text(HOSTILE_WORKFLOWS["header"])
    done = subprocess.run(
        [sys.executable, "-m", "sealflow", "run", "w.json", "--log-level", "debug"],
        capture_output=True,
        check=False,
        text=True,
    )
    assert "WARNING sealflow.workflow" in done.stderr
    assert_harmless(Result(done.returncode, done.stdout, done.stderr))


@pytest.mark.parametrize("command", ["check", "run"])
def test_the_name_of_a_file_steers_no_terminal(cli, one_secret, command):
    name = "w\x1b[2J\u202e\nforged.yaml"
    Path(name).write_text("sealflow: 2")
    assert assert_harmless(cli(command, name)).code == 1


KEY = MasterKey.generate().to_text()
KEYS_IN_WORKFLOWS = {
    "workflow name": workflow(name=KEY, url="http://127.0.0.1:1/"),
    "node name": workflow(node=KEY, url="http://127.0.0.1:1/"),
    "header": workflow(url="http://127.0.0.1:1/", headers={KEY: "{{secrets.b.token}}"}),
    "field": workflow(url="http://127.0.0.1:1/", **{KEY: 1}),
    "reference": workflow(url="http://127.0.0.1:1/{{secrets." + KEY + ".token}}"),
    "field of a reference": workflow(url="http://127.0.0.1:1/{{secrets.a." + KEY + "}}"),
    "secret": workflow(url="http://127.0.0.1:1/", auth={"secret": KEY}),
    "url": workflow(url=f"http://127.0.0.1:1/{KEY}"),
    "encoded url": workflow(url="http://127.0.0.1:1/%73" + KEY[1:]),
    "top-level key": json.dumps({"sealflow": 1, KEY: 1}),
}


@pytest.mark.parametrize(
    "command", [("check",), ("check", "--json"), ("run",), ("run", "--json")], ids=" ".join
)
@pytest.mark.parametrize("kind", KEYS_IN_WORKFLOWS)
def test_a_key_typed_into_a_workflow_is_not_printed(cli, one_secret, command, kind):
    Path("w.json").write_text(KEYS_IN_WORKFLOWS[kind])
    result = cli(*command, "w.json")
    assert KEY[6:] not in result.out + result.err


def test_a_key_in_a_url_is_not_in_the_saved_run(cli, one_secret, server):
    Path("w.json").write_text(workflow(url=f"{server.url}/json?x={KEY}"))
    result = cli("run", "w.json", "--json")
    assert json.loads(result.out)["status"] == "completed"
    assert KEY[6:] not in json.dumps(json.loads(result.out)["nodes"]["n"]["outputs"]["output"]["request"])


def test_what_a_node_gave_is_the_same_in_json(cli):
    data = {"value": STEERING, "hash": "0" * 64}
    transform = {"type": "transform", "config": {"expression": "@"}}
    Path("w.json").write_text(json.dumps({"sealflow": 1, "name": "w", "nodes": {"n": transform}}))
    result = assert_harmless(cli("run", "w.json", "--input", "-", "--output", "n", stdin=json.dumps(data)))
    assert json.loads(result.out) == data


def test_a_revealed_value_is_printed_to_the_last_character(cli, one_secret):
    value = "line one\nline two\x1b[31m\u202e"
    create = ("secret", "create", "b", "--type", "bearer_token", "--from-json", "-")
    assert cli(*create, stdin=json.dumps({"token": value})).code == 0
    assert cli("secret", "get", "b", "--field", "token", "--reveal").out == value + "\n"


def test_letters_of_every_script_stay_as_they_are():
    text = "ключ 鍵 مفتاح clé naïve 🔑 «\u00a0»"
    assert clean(text) == text
