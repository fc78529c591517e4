from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import sealflow

VALUE = "hunter2-hunter2"


@pytest.fixture
def store(cli, store_key):
    """A store with one secret, made by the command line."""
    assert cli("init").code == 0
    assert (
        cli(
            "secret",
            "create",
            "github",
            "--type",
            "bearer_token",
            "--from-json",
            "-",
            "--tag",
            "ci",
            "--tag",
            "api",
            "--description",
            "CI",
            stdin=json.dumps({"token": VALUE}),
        ).code
        == 0
    )
    return cli


def test_help_names_every_command(cli):
    result = cli("--help")
    assert result.code == 0
    for name in ("init", "secret", "check", "run", "store", "key", "demo"):
        assert name in result.out
    assert cli("--version").out.startswith("sealflow, version")
    for command in (
        ["secret"],
        ["secret", "create"],
        ["run"],
        ["check"],
        ["key", "generate"],
        ["store", "status"],
        ["init"],
    ):
        assert cli(*command, "--help").code == 0


def test_init_makes_a_store_and_a_key_of_its_own(cli, own_world, tmp_path):
    result = cli("init", "--json")
    assert result.code == 0
    made = json.loads(result.out)
    key_file = Path(made["key_file"])
    assert key_file == tmp_path / "config" / "sealflow" / "keys" / f"{made['store_id']}.key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert made["path"] == str(own_world / ".workflow" / "secrets")
    assert key_file.read_text().strip() not in result.out
    again = cli("init")
    assert again.code == 0
    assert "There is already" in again.out
    assert (
        cli("secret", "create", "a", "--type", "apiKey", "--from-json", "-", stdin='{"value": "vvvv"}').code
        == 0
    )
    assert cli("secret", "get", "a", "--field", "value", "--reveal").out == "vvvv\n"


def test_init_uses_the_key_that_is_configured(cli, store_key):
    result = cli("init")
    assert "WORKFLOW_SECRETS_MASTER_KEY" in result.out
    assert not list(Path(os.environ["XDG_CONFIG_HOME"]).rglob("*.key"))


def test_init_that_fails_leaves_no_key(cli, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_PATH", str(tmp_path / "file" / "s"))
    assert cli("init").code == 1
    assert not list((tmp_path / "config").rglob("*.key"))


def test_without_a_key_the_way_to_one_is_told(cli):
    result = cli("secret", "create", "a", "--type", "api_key", "--from-json", "-", stdin='{"value": "vvvv"}')
    assert result.code == 1
    assert "sealflow init" in result.err


def test_get_shows_names_and_metadata_and_values_only_when_told(store):
    result = store("secret", "get", "github")
    assert result.code == 0
    assert "token" in result.out
    assert "ci" in result.out
    assert VALUE not in result.out
    described = json.loads(store("secret", "get", "github", "--json").out)
    assert described["fields"] == ["token"]
    assert set(described) == {
        "name",
        "type",
        "version",
        "description",
        "tags",
        "created_at",
        "updated_at",
        "expires_at",
        "allowed_hosts",
        "allowed_workflows",
        "fields",
        "public_fields",
    }
    assert json.loads(store("secret", "get", "github", "--json", "--reveal").out)["data"] == {"token": VALUE}
    assert f"data.token: {VALUE}" in store("secret", "get", "github", "--reveal").out
    assert store("secret", "get", "github", "--field", "token", "--reveal") == (0, VALUE + "\n", "")
    assert (
        store("secret", "get", "github", "--field", "token", "--reveal", "--json").out
        == json.dumps(VALUE) + "\n"
    )
    result = store("secret", "get", "github", "--field", "token")
    assert result.code == 2
    assert VALUE not in result.out + result.err


def test_nested_fields_are_printed_by_their_path(store):
    store(
        "secret",
        "create",
        "db",
        "--type",
        "custom",
        "--from-json",
        "-",
        stdin='{"server": {"ports": [5432, true]}, "n": 0.5}',
    )
    assert store("secret", "get", "db", "--field", "server.ports.0", "--reveal").out == "5432\n"
    assert store("secret", "get", "db", "--field", "server", "--reveal").out == '{"ports": [5432, true]}\n'
    result = store("secret", "get", "db", "--field", "server.prots", "--reveal")
    assert result.code == 1
    assert "no such field below it" in result.err
    assert store("secret", "get", "db", "--field", "a..b", "--reveal").code == 1


def test_list_prints_the_contract(store):
    (item,) = json.loads(store("secret", "list", "--json").out)
    assert list(item) == [
        "name",
        "type",
        "version",
        "description",
        "tags",
        "created_at",
        "updated_at",
        "expires_at",
        "allowed_hosts",
        "allowed_workflows",
    ]
    assert item["tags"] == ["api", "ci"]
    assert item["created_at"].endswith("Z")
    assert "github" in store("secret", "list").out
    assert json.loads(store("secret", "list", "--json", "--tag", "ci", "--tag", "nope").out) == []
    assert json.loads(store("secret", "list", "--json", "--type", "bearerToken").out)
    assert store("secret", "list", "--type", "nope").code == 1
    assert "No secret matches" in store("secret", "list", "--tag", "nope").err


def test_list_needs_no_key_and_refuses_a_wrong_one(store, monkeypatch):
    monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY")
    assert store("secret", "list").code == 0
    assert store("store", "status").code == 0
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", sealflow.MasterKey.generate().to_text())
    for command in (["secret", "list"], ["secret", "get", "github"], ["secret", "delete", "github", "--yes"]):
        result = store(*command)
        assert result.code == 1
        assert "this store knows" in result.err


@pytest.mark.value_files("token", "crlf", "bare", "pem")
def test_fields_come_from_files(store, tmp_path):
    for name, content in (("token", b"from-file\n"), ("crlf", b"from-file\r\n"), ("bare", b"from-file")):
        (tmp_path / name).write_bytes(content)
        assert (
            store(
                "secret", "create", name, "--type", "bearer_token", "--field", f"token=@{tmp_path / name}"
            ).code
            == 0
        )
        assert store("secret", "get", name, "--field", "token", "--reveal").out == "from-file\n"
    (tmp_path / "pem").write_text("-----BEGIN\nline\n-----END\n")
    store("secret", "create", "pem", "--type", "custom", "--field", f"key=@{tmp_path / 'pem'}")
    assert store("secret", "get", "pem", "--field", "key", "--reveal").out == "-----BEGIN\nline\n-----END\n\n"
    assert store("secret", "create", "x", "--type", "custom", "--field", "key=@/no/such/file").code == 1
    (tmp_path / "binary").write_bytes(b"\xff\xfehunter2")
    result = store("secret", "create", "x", "--type", "custom", "--field", f"key=@{tmp_path / 'binary'}")
    assert "UTF-8" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["secret", "create", "x", "--type", "basic_auth", "--field", f"password={VALUE}"],
        ["secret", "create", "x", "--type", "basic_auth", "--field", f"pass word={VALUE}"],
        ["secret", "create", "x", "--type", "basic_auth", "--from-json", json.dumps({"password": VALUE})],
        ["secret", "create", "x", VALUE, "--type", "basic_auth"],
        ["secret", "create", "x", "--type", "basic_auth", f"--password={VALUE}"],
        ["secret", "update", "github", "--field", f"token={VALUE}"],
        ["secret", "update", "github", VALUE],
        ["secret", "get", "github", VALUE],
    ],
)
def test_a_value_on_the_command_line_is_refused_and_not_repeated(store, arguments):
    result = store(*arguments)
    assert result.code == 2
    assert VALUE not in result.out + result.err
    assert len(result.err.strip().splitlines()) == 1
    assert [item["name"] for item in json.loads(store("secret", "list", "--json").out)] == ["github"]


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (f'{{"token": "{VALUE}"', "JSON (line 1"),
        (f'["{VALUE}"]', "object"),
        (f'{{"token": "{VALUE}", "token": "x"}}', "twice"),
        (f'{{"tokn": "{VALUE}"}}', "token"),
        (f'{{"token": "{VALUE}", "extra": 1}}', "extra"),
        ('{"token": ""}', "empty"),
        ("", "JSON"),
        (b"\xff\xfe" + VALUE.encode(), "UTF-8"),
        ("[" * 100_000, "nested"),
    ],
)
def test_bad_json_is_refused_without_being_quoted(store, stdin, said):
    result = store("secret", "create", "x", "--type", "bearer_token", "--from-json", "-", stdin=stdin)
    assert result.code == 1
    assert said in result.err
    assert VALUE not in result.out + result.err
    assert len(result.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["secret", "get", "githbu"], 1, "'github'"),
        (["secret", "get", "github", "--version", "9"], 1, "no version 9"),
        (["secret", "get", "github", "--version", "x"], 2, "version"),
        (
            ["secret", "create", "bad name", "--type", "api_key", "--from-json", "-"],
            1,
            "not a valid secret name",
        ),
        (["secret", "create", "x", "--type", "api_kye", "--from-json", "-"], 1, "'api_key'"),
        (["secret", "create", "x", "--from-json", "-"], 2, "--type"),
        (["secret", "create", "github", "--type", "api_key", "--from-json", "-"], 1, "exists"),
        (
            ["secret", "create", "x", "--type", "api_key", "--from-json", "-", "--expires-at", "soon"],
            1,
            "--expires-at",
        ),
        (
            ["secret", "create", "x", "--type", "api_key", "--from-json", "-", "--allowed-host", "https://x"],
            1,
            "allowed_hosts",
        ),
        (
            ["secret", "create", "x", "--type", "api_key", "--from-json", "-", "--field", "value"],
            2,
            "exclude",
        ),
        (["secret", "create", "x", "--type", "basic_auth"], 2, "no terminal"),
        (["secret", "create", "x", "--type", "api_key"], 2, "looks like JSON"),
        (["secret", "update", "github"], 2, "nothing to change"),
        (["secret", "update", "github", "--description", "x", "--expected-version", "7"], 1, "version 1"),
        (["secret", "update", "github", "--clear", "description", "--description", "x"], 2, "exclude"),
        (["secret", "delete", "github"], 2, "--yes"),
        (["secret", "delete", "githbu", "--yes"], 1, "'github'"),
        (["nonsense"], 2, "nonsense"),
        (["secret", "nonsense"], 2, "nonsense"),
        (["run"], 2, "FILE"),
        (["run", "/no/such/file.yaml"], 1, "cannot be read"),
        (["check"], 2, "FILES"),
    ],
)
def test_bad_usage_is_said_in_one_line_with_its_exit_code(store, arguments, code, said):
    result = store(*arguments, stdin='{"value": "vvvv"}')
    assert result.code == code, result.err
    assert said in result.err
    assert len(result.err.strip().splitlines()) == 1


@pytest.mark.value_files("p")
def test_update_merges_fields_and_replaces_by_json(store, tmp_path):
    store(
        "secret",
        "create",
        "db",
        "--type",
        "basic_auth",
        "--from-json",
        "-",
        stdin='{"username": "us-er", "password": "old-pass"}',
    )
    (tmp_path / "p").write_text("new-pass\n")
    assert (
        json.loads(store("secret", "update", "db", "--field", f"password=@{tmp_path / 'p'}", "--json").out)[
            "version"
        ]
        == 2
    )
    assert json.loads(store("secret", "get", "db", "--json", "--reveal").out)["data"] == {
        "username": "us-er",
        "password": "new-pass",
    }
    assert store("secret", "update", "db", "--from-json", "-", stdin='{"password": "x"}').code == 1
    assert (
        store(
            "secret",
            "update",
            "db",
            "--description",
            "d",
            "--tag",
            "t",
            "--allowed-host",
            "a.com",
            "--allowed-workflow",
            "w",
            "--expires-at",
            "2030-01-01T00:00:00Z",
        ).code
        == 0
    )
    described = json.loads(store("secret", "get", "db", "--json").out)
    assert (
        described["description"],
        described["tags"],
        described["allowed_hosts"],
        described["allowed_workflows"],
        described["expires_at"],
    ) == ("d", ["t"], ["a.com"], ["w"], "2030-01-01T00:00:00Z")
    clears = [
        part
        for name in ("description", "tags", "expires-at", "allowed-hosts", "allowed-workflows")
        for part in ("--clear", name)
    ]
    assert store("secret", "update", "db", *clears).code == 0
    described = json.loads(store("secret", "get", "db", "--json").out)
    assert (
        described["description"],
        described["tags"],
        described["allowed_hosts"],
        described["allowed_workflows"],
        described["expires_at"],
    ) == (None, [], None, None, None)
    assert (
        json.loads(store("secret", "get", "db", "--version", "1", "--json", "--reveal").out)["data"][
            "password"
        ]
        == "old-pass"
    )


def test_delete_with_yes(store):
    assert store("secret", "delete", "github", "--yes").out == "Deleted github.\n"
    assert store("secret", "get", "github").code == 1
    store(
        "secret", "create", "github", "--type", "bearer_token", "--from-json", "-", stdin='{"token": "tttt"}'
    )
    assert json.loads(store("secret", "delete", "github", "--yes", "--json").out) == {
        "name": "github",
        "deleted": True,
    }


def test_store_status_describes_the_store(store, store_key):
    status = json.loads(store("store", "status", "--json").out)
    assert (status["backend"], status["secrets"], status["directory_mode"], status["schema_version"]) == (
        "sqlite",
        1,
        "0700",
        1,
    )
    assert status["master_keys"] == [store_key.kek_id]
    assert {item["mode"] for item in status["files"]} == {"0600"}
    assert "backend: sqlite" in store("store", "status").out


def test_store_status_without_a_store(cli):
    result = cli("store", "status")
    assert result.code == 1
    assert "sealflow init" in result.err


def test_key_generate_prints_or_writes(cli, tmp_path):
    result = cli("key", "generate")
    key = sealflow.MasterKey.parse(result.out, "a test")
    assert key.kek_id in result.err
    path = tmp_path / "new.key"
    result = cli("key", "generate", "--out", str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() not in result.out + result.err
    assert sealflow.MasterKey.parse(path.read_text(), "a test").kek_id in result.out
    assert cli("key", "generate", "--out", str(path)).code == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKFLOW_SECRETS_MASTER_KEY", VALUE),
        ("WORKFLOW_SECRETS_MASTER_KEY_FILE", "/no/such/file"),
        ("WORKFLOW_SECRETS_STORAGE_BACKEND", "mongodb"),
        ("WORKFLOW_SECRETS_STORAGE_PATH", "/dev/null/x"),
    ],
)
def test_a_bad_setting_is_named(store, monkeypatch, name, value):
    if name == "WORKFLOW_SECRETS_MASTER_KEY_FILE":
        monkeypatch.delenv("WORKFLOW_SECRETS_MASTER_KEY")
    monkeypatch.setenv(name, value)
    result = store("secret", "get", "github")
    assert result.code == 1
    assert VALUE not in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_a_mistake_of_ours_shows_no_text(cli, monkeypatch):
    from sealflow.cli import common

    def broken(*_, **__):
        raise RuntimeError(VALUE)

    monkeypatch.setattr("sealflow.cli.secret.open_listing", broken)
    assert common
    result = cli("secret", "list")
    assert result.code == 1
    assert "RuntimeError" in result.err
    assert VALUE not in result.err


def test_a_prompt_reads_without_echo(store_key, own_world):
    """A real terminal: a pseudo-terminal, and what it showed."""
    command = [sys.executable, "-m", "sealflow", "secret", "create", "term", "--type", "basic_auth"]
    child, terminal = pty.fork()
    if child == 0:
        os.execv(command[0], command)
    shown = b""
    for expected, answer in (
        (b"Make one in", b"y\n"),
        (b"username", b"us-er\n"),
        (b"password: ", VALUE.encode() + b"\n"),
        (b"again: ", VALUE.encode() + b"\n"),
    ):
        while expected not in shown:
            shown += os.read(terminal, 1000)
        os.write(terminal, answer)
    try:
        while chunk := os.read(terminal, 1000):
            shown += chunk
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert VALUE.encode() not in shown
    with sealflow.open_service() as service:
        assert service.get_secret("term").data == {"username": "us-er", "password": VALUE}


def test_core_dumps_are_off():
    code = "import resource; from sealflow.cli.main import run; run(['--version']); print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    assert subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.endswith("\n0\n")


def test_list_imports_nothing_heavy(store):
    code = "import sys; from sealflow.cli.main import run; run(['secret', 'list']); print(*sorted(m for m in ('aiohttp', 'pydantic', 'boto3', 'dbos', 'hvac', 'rich', 'ruamel.yaml', 'asyncio', 'jmespath', 'tenacity') if m in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == ""


def test_a_closed_pipe_is_no_error_to_shout_about(store):
    process = subprocess.run(
        f"{sys.executable} -m sealflow secret list --json | true",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in process.stderr
