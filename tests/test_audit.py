from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import sealflow
from sealflow import AuditError, BaseNode, NodeConfig, Resolver, Workflow, open_service, run_workflow
from sealflow.audit import AuditLog, Event
from sealflow.service.access import access_of

VALUE = "hunter2-hunter2"


@pytest.fixture
def trail(tmp_path):
    return AuditLog(tmp_path / "audit.log")


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


class Use(BaseNode):
    type_name = "use"

    class Config(NodeConfig):
        token: str

    async def process(self, context, config):
        return len(config.token)


async def test_everything_that_is_done_with_a_secret_is_a_line(any_service, tmp_path):
    any_service.create_secret("s", "api_key", {"value": VALUE}, allowed_workflows=["w"])
    any_service.get_secret("s")
    any_service.update_secret("s", {"value": VALUE + "2"})
    await run_workflow(
        Workflow(
            "w", [Use("n", {"token": "{{secrets.s.value}}"}), Use("m", {"token": "{{secrets.none.value}}"})]
        ),
        service=any_service,
    )
    await run_workflow(Workflow("other", [Use("n", {"token": "{{secrets.s.value}}"})]), service=any_service)
    any_service.delete_secret("s")
    any_service.close()
    path = tmp_path / "service" / "audit.log"
    found = [json.loads(line) for line in lines(path)]
    told = [
        (item["action"], item["secret"], item["version"], item["workflow"], item["node"], item["outcome"])
        for item in found
    ]
    assert told[:4] == [
        ("key_create", None, None, None, None, "ok"),
        ("create", "s", 1, None, None, "ok"),
        ("reveal", "s", 1, None, None, "ok"),
        ("update", "s", 2, None, None, "ok"),
    ]
    assert set(told[4:6]) == {
        ("resolve", "s", 2, "w", "n", "ok"),
        ("resolve", "none", None, "w", "m", "SecretNotFoundError"),
    }
    assert told[6:] == [
        ("resolve", "s", None, "other", "n", "WorkflowNotAllowedError"),
        ("delete", "s", 2, None, None, "ok"),
    ]
    assert all(item["time"].endswith("Z") and item["actor"] for item in found)
    assert VALUE not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert AuditLog(path).verify() == (8, [])


def write(trail, count=20):
    for number in range(count):
        trail.record(Event("reveal", ((f"s{number}", number, "local"),)), now=True)


@pytest.mark.parametrize("number", [0, 7, 19])
@pytest.mark.parametrize("how", ["changed", "removed", "moved", "doubled"])
def test_any_line_changed_removed_or_moved_is_found(trail, number, how):
    write(trail)
    assert trail.verify() == (20, [])
    kept = lines(trail.path)
    if how == "changed":
        kept[number] = kept[number].replace(f'"s{number}"', '"other"')
    elif how == "removed":
        del kept[number]
    elif how == "doubled":
        kept.insert(number, kept[number])
    else:
        kept.insert((number + 5) % 20, kept.pop(number))
    trail.path.write_text("".join(kept))
    count, breaks = trail.verify()
    assert count == len(kept)
    assert breaks


@pytest.mark.parametrize("keep", [0, 1, 19])
def test_lines_cut_off_at_the_end_are_missed(trail, keep):
    write(trail)
    trail.path.write_text("".join(lines(trail.path)[:keep]))
    assert any("missing at the end" in item.problem for item in trail.verify()[1])


def test_lines_added_after_a_crash_follow_the_chain(trail):
    """A process that was killed between its lines and the count, or in the middle of a line."""
    write(trail, 3)
    head = trail.path.with_name("audit.log.head")
    before = head.read_bytes()
    write(trail, 2)
    head.write_bytes(before)
    with trail.path.open("a") as file:
        file.write('{"half')
    write(trail, 1)
    assert trail.verify() == (6, [])
    assert [item["secret"] for item in trail.events()] == ["s0", "s1", "s2", "s0", "s1", "s0"]


def test_reads_are_written_in_batches(trail, monkeypatch):
    writes = []
    real = AuditLog._append
    monkeypatch.setattr(
        AuditLog, "_append", lambda self, waiting: writes.append(len(waiting)) or real(self, waiting)
    )
    for _ in range(1000):
        trail.record(Event("reveal"))
    trail.flush()
    assert sum(writes) == 1000
    assert len(writes) <= 10
    trail.record(Event("reveal"))
    for timer in [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]:
        timer.join(30)
    assert sum(writes) == 1001


def test_many_processes_write_one_chain(tmp_path):
    code = "import sys; from pathlib import Path; from sealflow.audit import AuditLog, Event\nlog = AuditLog(Path(sys.argv[1]))\nfor n in range(50): log.record(Event('reveal', ((sys.argv[2], n, None),)), now=n % 5 == 0)\n"
    path = tmp_path / "audit.log"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(path), f"p{number}"]) for number in range(6)
    ]
    assert [process.wait(60) for process in processes] == [0] * 6
    assert AuditLog(path).verify() == (300, [])


def test_required_means_on_the_disk_before_the_value(tmp_path, key, monkeypatch):
    path = tmp_path / "s"
    with open_service(path, None, key, audit_required=True) as service:
        service.create_secret("s", "api_key", {"value": VALUE})
        before = len(lines(path / "audit.log"))
        service.get_secret("s")
        assert len(lines(path / "audit.log")) == before + 1
        (path / "audit.log").unlink()
        (path / "audit.log").mkdir()
        with pytest.raises(AuditError, match="cannot be written"):
            service.get_secret("s")


async def test_a_value_is_not_resolved_when_its_line_cannot_be_written(tmp_path, key):
    path = tmp_path / "s"
    with open_service(path, None, key, audit_required=True) as service:
        service.create_secret("s", "api_key", {"value": VALUE})
        (path / "audit.log").unlink()
        (path / "audit.log").mkdir()
        execution = await run_workflow(
            Workflow("w", [Use("n", {"token": "{{secrets.s.value}}"})]), service=service
        )
    assert execution.nodes["n"].error["type"] == "AuditError"


async def test_what_is_not_required_is_said_once_and_goes_on(tmp_path, key, caplog):
    path = tmp_path / "s"
    with open_service(path, None, key) as service:
        service.create_secret("s", "api_key", {"value": VALUE})
        (path / "audit.log").unlink()
        (path / "audit.log").mkdir()
        async with Resolver(service) as resolver:
            assert await resolver.resolve("s", "value") == VALUE
        access_of(service).audit.flush()
        service.get_secret("s")
        access_of(service).audit.flush()
    assert caplog.text.count("cannot be written") == 1


@pytest.mark.parametrize(
    ("text", "required"),
    [("[audit]\nrequired = true", True), ("[audit]\nrequired = false", False), ("", False)],
)
def test_the_configuration_says_whether_it_is_required(own_world, key, text, required):
    (own_world / "sealflow.toml").write_text(text)
    with open_service(None, None, key) as service:
        assert access_of(service).audit.required is required


@pytest.mark.parametrize("text", ["[audit]\nrequired = 1", "audit = 5", "not toml"])
def test_a_wrong_configuration_is_refused(own_world, key, text):
    (own_world / "sealflow.toml").write_text(text)
    with pytest.raises(sealflow.SettingsError):
        open_service(None, None, key)


def test_the_command_shows_filters_and_verifies(cli, store_key, own_world):
    cli(
        "secret",
        "create",
        "a",
        "--init",
        "--type",
        "api_key",
        "--from-json",
        "-",
        stdin=json.dumps({"value": VALUE}),
    )
    cli("secret", "create", "b", "--type", "api_key", "--from-json", "-", stdin=json.dumps({"value": VALUE}))
    cli("secret", "get", "a")
    found = json.loads(cli("audit", "--json").out)
    assert [(item["action"], item["secret"]) for item in found] == [
        ("key_create", None),
        ("create", "a"),
        ("create", "b"),
        ("reveal", "a"),
    ]
    assert [item["action"] for item in json.loads(cli("audit", "--secret", "a", "--json").out)] == [
        "create",
        "reveal",
    ]
    assert json.loads(cli("audit", "--since", "2999-01-01T00:00:00Z", "--json").out) == []
    assert "reveal" in cli("audit").out
    assert cli("audit", "--since", "someday").code == 1
    assert "4 lines: every one" in cli("audit", "--verify").out
    path = own_world / ".workflow" / "secrets" / "audit.log"
    path.write_text("".join(lines(path)[1:]))
    result = cli("audit", "--verify", "--json")
    assert result.code == 1
    assert not json.loads(result.out)["ok"]
    assert "broken" in cli("audit", "--verify").out


def test_usage_lists_files_nodes_and_fields(cli, store_key, own_world, server):
    cli(
        "secret",
        "create",
        "github",
        "--init",
        "--type",
        "bearer_token",
        "--from-json",
        "-",
        stdin=json.dumps({"token": VALUE}),
    )
    folder = own_world / "flows"
    folder.mkdir()
    text = f"sealflow: 1\nname: w\nnodes:\n  n:\n    type: http-request\n    config:\n      url: {server.url}\n      auth: {{secret: github}}\n      headers: {{A: 'x {{{{secrets.github.token}}}} {{{{secrets.other.x}}}}'}}\n"
    (folder / "w.yaml").write_text(text)
    (folder / "other.yaml").write_text("not: a workflow")
    (folder / "broken.yaml").write_text("a: [")
    result = json.loads(cli("secret", "usage", "github", "--json").out)
    assert [(item["file"], item["path"]) for item in result["references"]] == [
        ("flows/w.yaml", "nodes.n.config.headers.A"),
        ("flows/w.yaml", "nodes.n.config.auth.secret"),
    ]
    assert result["last_used"] is None
    assert "never" in cli("secret", "usage", "github", str(folder)).out
    text = text.replace("{{secrets.other.x}}", "")
    (folder / "w.yaml").write_text(text)
    assert cli("run", str(folder / "w.yaml")).code == 0
    result = cli("secret", "usage", "github")
    assert "flows/w.yaml:9:" in result.out
    assert "resolve (ok)" in result.out
    assert "No workflow file" in cli("secret", "usage", "nothing").out


def test_short_values_are_refused_by_the_command_line(cli, store_key):
    arguments = ("secret", "create", "s", "--init", "--type", "basic_auth", "--from-json", "-")
    stdin = '{"username": "u", "password": "abc"}'
    result = cli(*arguments, stdin=stdin)
    assert result.code == 1
    assert "password" in result.err
    assert "--allow-short" in result.err
    assert cli(*arguments, "--allow-short", stdin=stdin).code == 0
    assert (
        cli("secret", "update", "s", "--from-json", "-", stdin='{"username": "u", "password": "de"}').code
        == 1
    )
    assert (
        cli(
            "secret",
            "create",
            "c",
            "--init",
            "--type",
            "custom",
            "--from-json",
            "-",
            stdin='{"a": {"b": ["xy"]}}',
        ).code
        == 1
    )
    assert (
        cli(
            "secret",
            "create",
            "c",
            "--type",
            "custom",
            "--from-json",
            "-",
            stdin='{"port": 22, "empty": "", "long": "long enough"}',
        ).code
        == 0
    )


def test_a_forked_process_writes_only_its_own(trail):
    trail.record(Event("reveal", (("parent", 1, None),)))
    child = os.fork()
    if child == 0:
        trail.record(Event("reveal", (("child", 1, None),)), now=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    trail.flush()
    assert sorted(item["secret"] for item in trail.events()) == ["child", "parent"]
    assert trail.verify() == (2, [])
