"""Who may do what in a folder: the list of trusted folders, and what a folder of a stranger cannot do."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import sealflow
from killing import without_coverage
from sealflow import TrustError, Workflow, run_workflow
from sealflow.errors import SettingsError
from sealflow.trust import (
    is_trusted,
    require_trusted_file,
    revoke_folder,
    trust_file,
    trust_folder,
    trusted_folders,
    trusting,
)


@pytest.fixture(autouse=True)
def no_trust(monkeypatch):
    monkeypatch.delenv("SEALFLOW_TRUSTED_FOLDERS")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "folder"
    made.mkdir(mode=0o700)
    return made


def test_a_folder_is_not_trusted_until_its_owner_says_so(folder):
    assert not is_trusted(folder)
    trust_folder(folder)
    assert is_trusted(folder)


def test_trust_covers_what_lies_below(folder):
    trust_folder(folder)
    (folder / "deep" / "er").mkdir(parents=True, mode=0o700)
    assert is_trusted(folder / "deep" / "er")
    assert not is_trusted(folder.parent)


def test_a_folder_whose_name_only_begins_alike_is_not_trusted(folder):
    trust_folder(folder)
    (folder.parent / "folder2").mkdir(mode=0o700)
    assert not is_trusted(folder.parent / "folder2")


def test_a_link_out_of_a_trusted_folder_is_not_trusted(folder, tmp_path):
    trust_folder(folder)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert not is_trusted(folder / "link")


def test_a_file_behind_a_link_needs_both_folders_trusted(folder, tmp_path):
    trust_folder(folder)
    (folder / "file").write_text("")
    stranger = tmp_path / "stranger"
    stranger.mkdir(mode=0o700)
    (stranger / "file").symlink_to(folder / "file")
    with pytest.raises(TrustError):
        require_trusted_file(stranger / "file", "it")


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777, 0o722])
def test_a_folder_that_others_may_write_to_is_refused(folder, mode):
    folder.chmod(mode)
    with pytest.raises(TrustError, match="other users may write.*chmod go-w"):
        trust_folder(folder)


def test_a_trusted_folder_that_others_may_write_to_later_is_refused(folder):
    trust_folder(folder)
    folder.chmod(0o777)
    assert not is_trusted(folder)


def test_a_folder_below_one_that_others_may_write_to_is_refused(folder):
    (folder / "below").mkdir(mode=0o700)
    folder.chmod(0o777)
    with pytest.raises(TrustError, match="other users may write"):
        trust_folder(folder / "below")


def test_a_folder_below_a_sticky_one_is_like_one_in_tmp(folder):
    (folder / "below").mkdir(mode=0o700)
    folder.chmod(0o1777)
    trust_folder(folder / "below")
    assert is_trusted(folder / "below")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_is_refused(folder):
    os.chown(folder, 12345, -1)
    with pytest.raises(TrustError, match="belongs to another user"):
        trust_folder(folder)


def test_a_file_that_others_may_write_to_is_refused_in_a_trusted_folder(folder):
    trust_folder(folder)
    (folder / "w.yaml").write_text("")
    (folder / "w.yaml").chmod(0o666)
    with pytest.raises(TrustError, match="other users may write"):
        require_trusted_file(folder / "w.yaml", "the file")


def test_what_is_not_a_directory_cannot_be_trusted(folder):
    (folder / "file").write_text("")
    for path in (folder / "file", folder / "missing"):
        with pytest.raises(TrustError, match="not a directory"):
            trust_folder(path)


def test_the_list_is_private(folder):
    trust_folder(folder)
    assert trust_file().stat().st_mode & 0o777 == 0o600
    assert trust_file().parent.stat().st_mode & 0o777 == 0o700


def test_trust_is_revoked_also_when_the_folder_is_gone(folder):
    trust_folder(folder)
    folder.rmdir()
    assert revoke_folder(folder)
    assert trusted_folders() == []
    assert not revoke_folder(folder)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"version": 2, "folders": []}', '{"version": 1, "folders": [1]}', "[" * 10_000],
)
def test_a_damaged_list_is_refused(folder, content):
    trust_folder(folder)
    trust_file().write_text(content)
    with pytest.raises(SettingsError, match="cannot be understood"):
        is_trusted(folder)


def test_a_list_that_others_may_write_to_is_refused(folder):
    trust_folder(folder)
    trust_file().chmod(0o620)
    with pytest.raises(SettingsError, match="nobody else can write"):
        is_trusted(folder)


def test_a_link_in_the_place_of_the_list_is_refused(folder, tmp_path):
    trust_folder(folder)
    trust_file().rename(tmp_path / "moved")
    trust_file().symlink_to(tmp_path / "moved")
    with pytest.raises(SettingsError, match="cannot be opened"):
        is_trusted(folder)


def test_the_variable_names_trusted_folders(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SEALFLOW_TRUSTED_FOLDERS", f"/no/such/folder{os.pathsep}{folder}{os.pathsep}")
    assert is_trusted(folder)
    assert not is_trusted(tmp_path)


def test_a_relative_path_in_the_variable_is_refused(folder, monkeypatch):
    monkeypatch.setenv("SEALFLOW_TRUSTED_FOLDERS", ".")
    with pytest.raises(SettingsError, match="absolute"):
        is_trusted(folder)


def test_the_variable_cannot_make_a_folder_of_others_trusted(folder, monkeypatch):
    folder.chmod(0o777)
    monkeypatch.setenv("SEALFLOW_TRUSTED_FOLDERS", str(folder))
    assert not is_trusted(folder)


def test_the_name_of_a_folder_does_not_reach_the_terminal_raw(tmp_path):
    folder = tmp_path / "a\x1b[2Jb\nc"
    folder.mkdir(mode=0o700)
    with pytest.raises(TrustError) as caught:
        require_trusted_file(folder / "w.yaml", "it")
    assert str(caught.value).isprintable()


def test_trust_for_one_command_ends_with_it(folder):
    with trusting(folder):
        assert is_trusted(folder)
    assert not is_trusted(folder)


# The commands.


def test_trust_list_and_revoke_commands(cli, folder):
    assert cli("trust", str(folder)).out == f"Trusted {folder}\n"
    assert json.loads(cli("trust", "--list", "--json").out) == [str(folder)]
    assert cli("trust", "--revoke", str(folder)).code == 0
    assert cli("trust", "--list").out == ""


def test_trust_without_a_folder_means_the_current_one(cli, own_world):
    cli("trust")
    assert is_trusted(own_world)


def test_revoking_says_when_a_folder_above_is_still_trusted(cli, folder, monkeypatch):
    trust_folder(folder)
    monkeypatch.setenv("SEALFLOW_TRUSTED_FOLDERS", str(folder.parent))
    assert "still trusted" in cli("trust", "--revoke", str(folder)).err


def test_list_takes_no_folder(cli, folder):
    assert cli("trust", "--list", str(folder)).code == 2


def test_init_trusts_the_folder_in_which_it_runs(cli, own_world):
    assert json.loads(cli("init", "--json").out)["trusted"] == str(own_world)
    assert is_trusted(own_world)


def test_init_does_not_trust_the_home_directory(cli, own_world, monkeypatch):
    monkeypatch.setenv("HOME", str(own_world))
    result = cli("init", "--json")
    assert json.loads(result.out)["trusted"] is None
    assert "sealflow trust FOLDER" in result.err
    assert not is_trusted(own_world)


def test_init_with_a_key_that_the_store_does_not_know_trusts_nothing(cli, own_world, monkeypatch):
    cli("init")
    revoke_folder(own_world)
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", sealflow.MasterKey.generate().to_text())
    assert cli("init").code == 1
    assert not is_trusted(own_world)


# What a workflow of a stranger may do.


def document(config, kind="http-request"):
    return {"sealflow": 1, "name": "w", "nodes": {"a": {"type": kind, "config": config}}, "links": []}


def write(folder, config, kind="http-request"):
    path = folder / "w.json"
    path.write_text(json.dumps(document(config, kind), indent=1))
    return path


@pytest.fixture
def store(store_key):
    with sealflow.open_service() as service:
        service.create_secret("open", "bearer_token", {"token": "open-hunter2"})
        service.create_secret(
            "bound", "bearer_token", {"token": "bound-hunter2"}, allowed_hosts=["127.0.0.1"]
        )
        service.create_secret("named", "api_key", {"value": "named-hunter2"}, allowed_hosts=["127.0.0.1"], allowed_workflows=["w"])  # fmt: skip
        yield service


def test_a_secret_with_allowed_hosts_is_used_without_trust(cli, store, folder, server):
    path = write(folder, {"url": server.url, "auth": {"secret": "bound"}})
    assert cli("run", str(path)).code == 0
    assert server.seen[0].headers["Authorization"] == "Bearer bound-hunter2"


@pytest.mark.parametrize(("secret", "said"), [("open", "no allowed_hosts"), ("named", "names itself")])
def test_a_secret_without_such_a_policy_needs_trust(cli, store, folder, server, secret, said):
    path = write(folder, {"url": server.url, "auth": {"secret": secret}})
    result = cli("run", "--json", str(path))
    assert json.loads(result.out)["nodes"]["a"]["error"]["type"] == "TrustError"
    assert said in result.out
    assert "sealflow trust" in result.out
    assert not server.seen
    assert cli("run", "--trust", str(path)).code == 0


def test_check_says_which_secrets_need_trust(cli, store, folder):
    path = write(folder, {"url": "https://x/", "auth": {"secret": "open"}})
    (finding,) = json.loads(cli("check", "--json", str(path)).out)
    assert "no allowed_hosts" in finding["problem"]
    assert "sealflow trust" in finding["hint"]
    assert cli("check", "--trust", str(path)).code == 0


@pytest.mark.parametrize(
    ("config", "kind", "place"),
    [
        ({"call": "m:f"}, "function", "nodes.a.type"),
        ({"url": "https://x/", "proxy": "http://p/"}, "http-request", "nodes.a.config.proxy"),
        ({"url": "https://x/", "ca_file": "ca.pem"}, "http-request", "nodes.a.config.ca_file"),
        ({"url": "https://x/", "verify_tls": False}, "http-request", "nodes.a.config.verify_tls"),
        ({"url": "http://x/", "insecure_http": True}, "http-request", "nodes.a.config.insecure_http"),
        (
            {"url": "https://x/", "headers": {"A": "{{secrets.vault:x.y}}"}},
            "http-request",
            "nodes.a.config.headers.A",
        ),
    ],
)
def test_what_needs_trust_is_refused_when_the_file_is_loaded(cli, store, folder, config, kind, place):
    path = write(folder, config, kind)
    result = cli("run", str(path))
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert f"{path}:" in result.err
    assert place in result.err
    assert f"sealflow trust {folder}" in result.err
    (finding,) = json.loads(cli("check", "--json", str(path)).out)
    assert finding["path"] == place
    assert finding["line"] > 1


def test_a_node_type_of_an_installed_package_needs_trust_and_is_not_imported(folder, monkeypatch):
    from sealflow.workflow.node_types import NODE_TYPES

    monkeypatch.setattr(NODE_TYPES, "_targets", {"installed": "no_such_module_at_all:Node"})
    with pytest.raises(TrustError, match="'installed' needs a folder"):
        Workflow.load(write(folder, {}, "installed"), trusted=False)


def test_a_node_type_that_the_program_registered_is_its_own_word(folder):
    @sealflow.node("of-the-program")
    def of_the_program(): ...

    assert Workflow.load(write(folder, {}, "of-the-program"), trusted=False)


async def test_a_workflow_loaded_as_a_strangers_stays_one(store, folder, server):
    workflow = Workflow.load(write(folder, {"url": server.url, "auth": {"secret": "open"}}), trusted=False)
    execution = await run_workflow(workflow, service=store)
    assert execution.nodes["a"].error["type"] == "TrustError"
    assert not server.seen


async def test_a_workflow_that_code_loads_is_the_callers_word(store, folder, server):
    workflow = Workflow.load(write(folder, {"url": server.url, "auth": {"secret": "open"}}))
    assert (await run_workflow(workflow, service=store)).status == "completed"


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "w.json"),
        ("check", "--providers", "w.json"),
        ("provider", "list"),
        ("provider", "test", "x"),
        ("doctor",),
        ("secret", "get", "bound", "--field", "token", "--reveal"),
    ],
)
def test_a_configuration_without_trust_is_refused_in_one_line(cli, store, own_world, arguments):
    write(own_world, {"url": "http://127.0.0.1:1", "auth": {"secret": "bound"}})
    (own_world / "sealflow.toml").write_text(
        '[[providers]]\nname = "x"\nkind = "environment"\nprefix = "W"\n'
    )
    result = cli(*arguments)
    assert result.code == 1
    lines = [line for line in (result.out + result.err).splitlines() if "sealflow trust" in line]
    assert len(lines) == 1
    assert "hunter2" not in result.out


def test_a_configuration_that_the_owner_names_is_the_owners_word(cli, own_world, monkeypatch):
    (own_world / "other.toml").write_text('[[providers]]\nname = "x"\nkind = "environment"\n')
    assert "environment" in cli("provider", "list", "--config", "other.toml").out
    monkeypatch.setenv("SEALFLOW_CONFIG", "other.toml")
    assert "environment" in cli("provider", "list").out


def test_providers_are_not_asked_for_a_file_of_a_stranger(cli, store, folder, own_world, server, monkeypatch):
    (own_world / "other.toml").write_text('[[providers]]\nname = "x"\nkind = "environment"\n')
    monkeypatch.setenv("SEALFLOW_CONFIG", str(own_world / "other.toml"))
    monkeypatch.setenv("SEALFLOW_SECRET_FROM_ENV__TOKEN", "env-hunter2")
    path = write(folder, {"url": server.url, "headers": {"A": "{{secrets.from-env.token}}"}})
    result = cli("run", "--json", str(path))
    assert "there is no secret" in json.loads(result.out)["nodes"]["a"]["error"]["message"]
    assert not server.seen
    assert cli("run", "--trust", str(path)).code == 0


def test_on_a_terminal_run_asks_once_and_remembers(store, folder, own_world, server):
    path = write(folder, {"url": server.url, "auth": {"secret": "open"}})
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sealflow", "run", str(path)],
        stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, cwd=own_world,
    )  # fmt: skip
    os.close(terminal)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(main, 1024)
    os.write(main, b"y\n")
    assert process.wait(60) == 0
    process.stdout.close()
    os.close(main)
    assert f"Trust '{folder}'" in shown.decode()
    assert is_trusted(folder)
    assert len(server.seen) == 1


# Functions.


CANARY = "import os, pathlib\npathlib.Path(os.environ['CANARY']).write_text(__name__)\n"


async def call(folder, path, **config):
    workflow = Workflow.from_dict(document({"call": path, **config}, "function"), folder=folder)
    run = (await run_workflow(workflow)).nodes["a"]
    return run.outputs.get("output") if run.error is None else run.error["message"]


@pytest.fixture
def own_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in [name for name in sys.modules if name.startswith("trust_helpers") and name not in before]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "path",
    [
        "os:getenv",
        "builtins:print",
        "subprocess:run",
        "urllib.request:urlopen",
        "jmespath:search",
        "sealflow.cli.main:main",
    ],
)
async def test_the_standard_library_and_packages_are_out_of_reach(folder, path):
    assert "there is no module" in await call(folder, path)


@pytest.mark.parametrize("name", ["json", "jmespath", "sealflow", "xmlrpc"])
async def test_a_file_with_the_name_of_a_library_is_refused_and_not_run(
    folder, own_path, name, monkeypatch, tmp_path
):
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    (folder / f"{name}.py").write_text(CANARY + "def f(): ...\n")
    assert "is taken by Python or an installed package" in await call(folder, f"{name}:f")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "names",
    [
        "system",
        "subprocess.run",
        "os.system",
        "alias",
        "Own.send",
        "f.__globals__",
        "f.__call__",
        "Own.__init_subclass__",
        "value",
    ],
)
async def test_what_a_module_imports_cannot_be_called(folder, own_path, names):
    (folder / "trust_helpers_1.py").write_text(
        "import os, subprocess\nfrom os import system\nfrom http.client import HTTPConnection\nalias = os.getenv\n"
        "value = 1\ndef f(): ...\nclass Own(HTTPConnection): ...\n"
    )
    assert "does not define a function" in await call(folder, f"trust_helpers_1:{names}")


async def test_a_function_of_a_module_beside_the_file_is_called(folder, own_path):
    (folder / "trust_helpers_2").mkdir()
    (folder / "trust_helpers_2" / "sub.py").write_text("def double(x: int): return 2 * x\n")
    assert await call(folder, "trust_helpers_2.sub:double", x=21) == 42
    assert sys.path[-1] == str(folder)


async def test_a_link_out_of_the_folder_is_not_imported(folder, own_path, tmp_path, monkeypatch):
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    (tmp_path / "outside.py").write_text(CANARY + "def f(): ...\n")
    (folder / "trust_helpers_3.py").symlink_to(tmp_path / "outside.py")
    assert "leads out of" in await call(folder, "trust_helpers_3:f")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("which", ["file", "package"])
async def test_a_module_that_others_may_write_to_is_not_imported(folder, own_path, which):
    (folder / "trust_helpers_5").mkdir(mode=0o700)
    (folder / "trust_helpers_5" / "sub.py").write_text("def f(): ...\n")
    {"file": folder / "trust_helpers_5" / "sub.py", "package": folder / "trust_helpers_5"}[which].chmod(0o777)
    assert "other users may write" in await call(folder, "trust_helpers_5.sub:f")


async def test_the_current_directory_is_not_searched(folder, own_world, own_path):
    (own_world / "trust_helpers_4.py").write_text("def f(): ...\n")
    assert "there is no module" in await call(folder, "trust_helpers_4:f")


async def test_a_workflow_without_a_file_calls_registered_functions_only(own_world):
    assert "@sealflow.function" in str(await call(None, "helpers:f"))

    @sealflow.function("triple")
    def triple(x: int) -> int:
        return 3 * x

    assert triple(2) == 6
    assert await call(None, "triple", x=5) == 15


# Text that is small and means much work.


BOMBS = {
    "merge-keys.yaml": "a0: &a0 {k: v}\n"
    + "".join(
        f"a{n}: &a{n}\n" + "".join(f"  k{i}: {{<<: *a{n - 1}}}\n" for i in range(9)) for n in range(1, 9)
    ),
    "references.yaml": 'a:\n  b: "' + "{{secrets.a.b}}" * 60_000 + '"\n',
    "references.json": '{"a":\n "' + "{{secrets.a.b}}" * 60_000 + '"}',
    "references-in-one-string.json": '{"a":\n "' + "{{secrets.a.b}}" * 5_000 + '"}',
    "references-in-one-string.yaml": 'a:\n  b: "' + "{{secrets.a.b}}" * 5_000 + '"\n',
    "anchors.yaml": "\n".join(f"a{n}: &a{n} x" for n in range(40_000)),
    "aliases.yaml": "a: &a x\nb: [" + "*a, " * 40_000 + "x]",
    "laughs.yaml": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"b{n}: &b{n} [{','.join([f'*b{n - 1}' if n else '*a'] * 9)}]\n" for n in range(9)),
    "flow.yaml": "a: " + "[" * 100_000,
    "braces.yaml": "a: " + "{a: " * 100_000,
    "block.yaml": "".join(" " * n + "a:\n" for n in range(1_000)),
    "dashes.yaml": "- " * 50_000 + "x",
    "keys.yaml": "? " * 50_000,
    "items.yaml": "a: [" + "x," * 200_000 + "x]",
    "documents.yaml": "---\na: 1\n" * 50_000,
    "tags.yaml": "a: !!python/object/apply:os.system ['x']",
    "digits.yaml": "a: " + "9" * 100_000,
    "digits.json": '{"a": ' + "9" * 100_000 + "}",
    "depth.json": '{"a": ' * 100_000,
    "twice.json": '{"a": 1,\n "a": 2}',
    "itself.yaml": "a: &a [*a]",
    "key.yaml": "? [a, {b: c}]\n: d",
    "number-as-key.yaml": "a:\n  1: x",
    "unclosed.json": '{"a": "' + '\\"' * 400_000,
    "quotes.json": '"' * 900_001,
    "chain.yaml": "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 400)),
}
MEASURE = """
import sys, time
from sealflow.errors import SealflowError
from sealflow.workflow.workflow import Workflow
from sealflow.workflow.check import Known, check_file
from pathlib import Path
path = Path(sys.argv[1])
began = time.process_time()
try:
    Workflow.load(path)
    raise SystemExit("it was loaded")
except SealflowError as error:
    message = str(error)
finding = check_file(path, Known({})).findings[0]
seconds = time.process_time() - began
assert f"line {finding.line}, column {finding.column}" in message or f":{finding.line}:{finding.column}: " in message, message
assert seconds < 2, seconds  # both of them
# Not ru_maxrss: a process inherits that from the one that started it.
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
assert peak < 200, peak
print(message[-150:])
"""


def measured(path):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        env=without_coverage(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once_with_its_place(folder, name):
    (folder / name).write_text(BOMBS[name])
    measured(folder / name)


@pytest.mark.parametrize(
    "expression",
    [
        "[" * 3000 + "a" + "]" * 3000,
        "a" + "[0]" * 1500,
        "(" * 3000,
        "[" * 3000,
        "!" * 3000 + "a",
        "{a:" * 1000 + "b" + "}" * 1000,
    ],
    ids=["lists", "indexes", "open", "brackets", "nots", "hashes"],
)
def test_an_expression_of_3000_brackets_is_refused_at_once(folder, expression):
    measured(write(folder, {"expression": expression}, "transform"))


def test_brackets_in_a_string_of_an_expression_are_not_counted(folder):
    assert Workflow.load(write(folder, {"expression": "contains(a, '" + "[" * 1000 + "')"}, "transform"))


def test_an_expression_takes_no_references(folder):
    path = write(folder, {"expression": "starts_with('{{secrets.a.b}}', 'x')"}, "transform")
    with pytest.raises(sealflow.NodeConfigError, match=r"expression cannot contain references.*http-request"):
        Workflow.load(path)


# A folder that an attacker prepared.


@pytest.fixture
def attack(tmp_path, server, monkeypatch):
    """A folder with everything that an attacker can put into one; ``CANARY`` is where its code would write."""
    folder = tmp_path / "cloned"
    folder.mkdir(mode=0o700)
    for name in (
        "jmespath",
        "sitecustomize",
        "usercustomize",
        "yaml",
        "click",
        "rich",
        "helpers",
        "sealflow_helpers",
        "aiohttp",
    ):
        (folder / f"{name}.py").write_text(CANARY + "def f(**_): return 'ran'\n")
    (folder / "sealflow").mkdir()
    (folder / "w.yaml").write_text(
        f"""\
sealflow: 1
name: nightly
nodes:
  code: {{type: function, config: {{call: "helpers:f"}}}}
  steal: {{type: http-request, config: {{url: "{server.url}", headers: {{A: "{{{{secrets.open.token}}}}"}}}}}}
  vault: {{type: http-request, config: {{url: "{server.url}", headers: {{A: "{{{{secrets.out:x.y}}}}"}}}}}}
"""
    )
    (folder / "sealflow.toml").write_text(
        f'[[providers]]\nname = "out"\nkind = "vault"\naddress = "{server.url}"\n'
        'login = {method = "token", token = {env = "WORKFLOW_SECRETS_MASTER_KEY"}}\n'
    )
    planted = folder / ".workflow" / "secrets"
    planted.mkdir(parents=True, mode=0o700)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".bashrc").write_text("mine")
    (planted / "journal.json").symlink_to(home / ".bashrc")
    (planted / "audit.jsonl").symlink_to(home / ".bashrc")
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [["-m", "sealflow"], ["-c", "from sealflow.cli.main import main; main()"]],
    ids=["module", "script"],
)
@pytest.mark.parametrize(
    "arguments",
    [["check", "w.yaml"], ["run", "w.yaml"], ["secret", "list"], ["store", "status"], ["audit"], ["doctor"], ["provider", "list"], ["provider", "test", "out"], ["check", "--providers", "w.yaml"]],
    ids=" ".join,
)  # fmt: skip
def test_a_prepared_folder_touches_sends_and_runs_nothing(
    attack, server, store_key, tmp_path, program, arguments
):
    def seen():
        return {
            str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
            for path in (tmp_path / "home").rglob("*")
        }

    before = seen()
    flags = (
        ["-P"] if program[0] == "-c" else []
    )  # as the console script, which does not search the current directory
    done = subprocess.run(
        [sys.executable, *flags, *program, *arguments],
        cwd=attack,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert not (tmp_path / "canary").exists()
    assert not server.seen
    assert seen() == before
    if arguments[0] in ("check", "run", "provider"):
        assert f"sealflow trust {attack}" in done.stdout + done.stderr


def test_check_names_everything_that_needs_trust(attack, cli, monkeypatch):
    monkeypatch.chdir(attack)
    found = json.loads(cli("check", "--json", "w.yaml").out)
    assert {"nodes.code.type", "nodes.vault.config.headers.A"} <= {item["path"] for item in found}
    assert any(Path(item["file"]).name == "sealflow.toml" for item in found)
