"""Where things are: the project of a folder, what reading leaves behind (nothing), and what is relative to what."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path

import click
import pytest

import sealflow
from sealflow.audit import AuditWarning
from sealflow.cli.main import app
from sealflow.config import find_config
from sealflow.errors import SettingsError, StoreUnavailableError, TrustError
from sealflow.operations import Settings
from sealflow.project import find_project

VALUE = "value-one-of-a"
WORKFLOW = """\
sealflow: 1
name: nightly
nodes:
  ask: {type: http-request, config: {url: "URL", auth: {type: bearer, token: "{{secrets.NAME}}"}}}
"""


def tree(root: Path) -> list[tuple[str, int, int]]:
    """Return what is below a folder: every path, its mode and when it was changed."""
    return sorted(
        (str(item), item.lstat().st_mode, item.lstat().st_mtime_ns) for item in (root, *root.rglob("*"))
    )


@pytest.fixture
def inside(own_world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is two folders below the folder of the test's project."""
    folder = own_world / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def test_a_store_is_found_from_a_folder_inside_its_project(cli, one_secret, inside, own_world):
    assert [item["name"] for item in json.loads(cli("secret", "list", "--json").out)] == ["a"]
    assert sealflow.get("a.value") == one_secret
    with sealflow.open_service() as service:
        assert service.get_secret("a").data == {"value": one_secret}
    assert list(inside.iterdir()) == []


def test_the_nearest_project_counts(inside, own_world):
    (own_world / ".workflow").mkdir()
    (own_world / "a" / "sealflow.toml").write_text("")
    project = find_project()
    assert (project.folder, project.marks) == (own_world / "a", ("sealflow.toml",))


def test_without_a_project_the_folders_that_were_searched_are_told(inside, own_world):
    project = find_project()
    assert (project.folder, project.marks) == (inside, ())
    assert project.looked_in[:3] == (inside, own_world / "a", own_world)


def test_the_search_ends_at_the_home_folder(inside, own_world, monkeypatch):
    monkeypatch.setenv("HOME", str(own_world))
    (own_world.parent / ".workflow").mkdir()
    assert find_project().looked_in == (inside, own_world / "a", own_world)
    assert "home folder" in find_project().ended
    (own_world / ".workflow").mkdir()
    assert find_project().folder == own_world


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_what_is_in_a_folder_that_others_may_write_to_is_not_found_from_below(inside, own_world, mode):
    (own_world / ".workflow").mkdir()
    (own_world / "sealflow.toml").write_text("")
    assert find_project().folder == own_world
    own_world.chmod(mode)
    project = find_project()
    assert project.marks == ()
    assert project.looked_in == (inside, own_world / "a")
    assert "other users may write" in project.ended


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_the_search_does_not_enter_or_leave_a_folder_of_another_user(inside, own_world):
    (own_world / ".workflow").mkdir()
    os.chown(own_world, 65534, 65534)
    assert find_project().marks == ()
    os.chown(own_world, 0, 0)
    os.chown(inside, 65534, 65534)
    assert find_project().looked_in == (inside,)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_the_search_ends_at_the_edge_of_a_file_system(monkeypatch):
    folder = Path("/dev/shm") / f"sealflow-test-{os.getpid()}"
    folder.mkdir()
    try:
        monkeypatch.chdir(folder)
        assert find_project().looked_in == (folder,)
    finally:
        folder.rmdir()


def test_a_found_configuration_still_needs_trust(inside, own_world, monkeypatch):
    (own_world / "sealflow.toml").write_text("")
    assert find_config() == own_world / "sealflow.toml"
    monkeypatch.delenv("SEALFLOW_TRUSTED_FOLDERS")
    with pytest.raises(TrustError, match="trust"):
        find_config()


def test_a_workflow_file_brings_its_project_along(cli, one_secret, own_world, server, tmp_path, monkeypatch):
    """A cron job begins in another folder."""
    file = own_world / "flows" / "nightly.yaml"
    file.parent.mkdir()
    file.write_text(WORKFLOW.replace("URL", server.url).replace("NAME", "a.value"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = cli("run", str(file), "--json")
    assert json.loads(done.out)["status"] == "completed", done
    assert server.seen[-1].headers["Authorization"] == f"Bearer {one_secret}"
    assert cli("check", str(file)).code == 0
    assert cli("secret", "list").code == 1


def test_a_workflow_file_without_a_project_uses_that_of_the_current_folder(cli, one_secret, tmp_path, server):
    file = tmp_path / "other" / "flow.yaml"
    file.parent.mkdir()
    file.write_text(WORKFLOW.replace("URL", server.url).replace("NAME", "a.value"))
    assert json.loads(cli("run", str(file), "--json").out)["status"] == "completed"


def test_trust_for_one_command_covers_the_project(cli, own_world, monkeypatch):
    file = own_world / "flows" / "w.yaml"
    file.parent.mkdir()
    file.write_text("sealflow: 1\nname: w\nnodes: {}\n")
    (own_world / "sealflow.toml").write_text("")
    monkeypatch.delenv("SEALFLOW_TRUSTED_FOLDERS")
    assert "needs a folder that you trust" in cli("check", str(file)).out
    assert cli("check", str(file), "--trust").code == 0


def test_a_missing_store_is_first_looked_for_elsewhere(cli, inside, own_world):
    result = cli("secret", "list")
    assert result.code == 1
    assert f"there is no store in {inside}, {own_world / 'a'}, {own_world}" in result.err
    assert result.err.index("Go to the folder of your project") < result.err.index("sealflow init")


def test_init_makes_a_store_in_the_current_folder_and_names_the_project_above(cli, one_secret, inside):
    result = cli("init")
    assert result.code == 0
    assert (inside / ".workflow" / "secrets").is_dir()
    assert "was part of the project" in result.err
    assert json.loads(cli("secret", "list", "--json").out) == []


def test_a_new_workflow_folder_is_kept_out_of_git(cli, store_key, own_world):
    assert cli("init").code == 0
    assert (own_world / ".workflow" / ".gitignore").read_text() == "*\n"


def test_a_workflow_folder_that_is_there_already_is_left_as_it_is(cli, store_key, own_world):
    (own_world / ".workflow").mkdir()
    assert cli("init").code == 0
    assert [item.name for item in (own_world / ".workflow").iterdir()] == ["secrets"]


def test_create_makes_a_store_only_when_asked(cli, store_key, tmp_path):
    before = tree(tmp_path)
    create = ("secret", "create", "a", "--type", "api_key", "--from-json", "-", "--json")
    refused = cli(*create, stdin=json.dumps({"value": VALUE}))
    assert refused.code == 1
    assert "there is no store" in refused.err
    assert tree(tmp_path) == before
    made = cli(*create, "--init", stdin=json.dumps({"value": VALUE}))
    assert json.loads(made.out)["name"] == "a"
    assert "Made a sqlite store" in made.err


def test_python_opens_without_making(store_key, tmp_path):
    before = tree(tmp_path)
    with pytest.raises(StoreUnavailableError, match="there is no store"):
        sealflow.open_service(create=False)
    with pytest.raises(StoreUnavailableError, match="there is no store"):
        sealflow.get("a.value")
    assert tree(tmp_path) == before
    with sealflow.open_service() as service:
        assert service.list_secrets() == []


# No command but these may leave anything in a folder without a store.
MAKING = {"init", "demo", "trust"}
ARGUMENTS = {
    "run": ["w.yaml"],
    "check": ["w.yaml", "--providers"],
    "export": ["--to", "bundle", "--passphrase-file", "passphrase"],
    "key add": ["--recovery"],
    "import": ["bundle", "--passphrase-file", "passphrase"],
    "secret create": ["x", "--type", "api_key", "--from-json", "-"],
    "secret update": ["x", "--description", "d"],
    "secret destroy": ["x", "--all", "--yes"],
    "store migrate": ["--to", "file"],
}


def commands(group: click.Command, *names: str) -> list[tuple[str, click.Command]]:
    """Return every command below a group, by its whole name."""
    if not isinstance(group, click.Group):
        return [(" ".join(names), group)]
    context = click.Context(group)
    found = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    return [item for name, command in found if command for item in commands(command, *names, name)]


COMMANDS = {name: command for name, command in commands(app) if name not in MAKING}


def arguments(name: str) -> list[str]:
    if name in ARGUMENTS:
        return ARGUMENTS[name]
    given: list[str] = []
    for parameter in COMMANDS[name].params:
        value = "1" if isinstance(parameter.type, click.types.IntRange) else "x"
        value = str(parameter.type.choices[0]) if isinstance(parameter.type, click.Choice) else value
        if isinstance(parameter, click.Option) and parameter.name == "yes":
            given.append("--yes")
        elif parameter.required:
            given += [value] if isinstance(parameter, click.Argument) else [parameter.opts[0], value]
    return given


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_in_a_folder_without_a_store_leaves_nothing(cli, store_key, tmp_path, own_world, name):
    (own_world / "w.yaml").write_text(WORKFLOW.replace("URL", "http://127.0.0.1:1").replace("NAME", "a.b"))
    (own_world / "passphrase").write_text("five random words for it")
    (own_world / "passphrase").chmod(0o600)
    before = tree(tmp_path)
    result = cli(*name.split(), *arguments(name), stdin=json.dumps({"value": VALUE}))
    assert result.code != 2, result.err
    assert tree(tmp_path) == before


def test_status_says_what_was_found_and_why(cli, one_secret, inside, own_world, tmp_path, monkeypatch):
    (own_world / "sealflow.toml").write_text('[[providers]]\nname = "env"\nkind = "environment"\n')
    before = set(tmp_path.rglob("*"))
    found = json.loads(cli("status", "--json").out)
    assert found["project"]["folder"] == str(own_world)
    assert found["project"]["has"] == [".workflow", "sealflow.toml"]
    assert found["store"]["backend"] == "sqlite"
    assert found["store"]["why"] == "in the project"
    assert found["config"]["path"] == str(own_world / "sealflow.toml")
    assert found["config"]["providers"] == ["env"]
    assert found["trusted"] is True
    assert found["master_key"] == "WORKFLOW_SECRETS_MASTER_KEY"
    assert found["audit"]["path"].endswith("audit.log")
    assert set(tmp_path.rglob("*")) == before
    text = cli("status").out
    assert f"project: {own_world} (it has .workflow and sealflow.toml)" in text
    assert found["store"]["store_id"] in text
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("SEALFLOW_TRUSTED_FOLDERS")
    assert cli("trust", "--revoke", str(own_world)).code == 0
    found = json.loads(cli("status", "--json").out)
    assert found["store"]["why"] == "named by WORKFLOW_SECRETS_STORAGE_PATH"
    assert "there is no store" in found["store"]["problem"]
    assert "trust" in found["config"]["problem"]
    assert found["trusted"] is False


def test_status_without_a_project(cli, inside):
    text = cli("status").out
    assert f"project: none (looked in {inside}" in text
    assert "store: none" in text
    assert "master key: none is configured" in text


PROVIDERS = """\
[[providers]]
name = "files"
kind = "directory"
path = "mounted"
"""


def test_paths_in_the_configuration_begin_at_its_folder(inside, own_world):
    (own_world / "mounted" / "github").mkdir(parents=True)
    (own_world / "mounted" / "github" / "token").write_text(VALUE)
    (own_world / "sealflow.toml").write_text(PROVIDERS)
    assert sealflow.get("github.token") == VALUE


def test_the_file_of_a_credential_begins_at_the_folder_of_the_configuration(inside, own_world):
    from sealflow.providers.options import Credential, check_options

    credential = check_options(Credential, {"file": "token.txt"}, "here", own_world)
    assert credential.file == str(own_world / "token.txt")
    assert check_options(Credential, {"file": "/x/token"}, "here", own_world).file == "/x/token"


@pytest.mark.parametrize(
    ("credential", "named"),
    [('{env = "NOT_SET"}', "the variable NOT_SET"), ('{file = "token.txt"}', "work/token.txt")],
)
def test_a_missing_credential_is_named(own_world, credential, named):
    pytest.importorskip("hvac")
    (own_world / "sealflow.toml").write_text(
        '[[providers]]\nname = "v"\nkind = "vault"\naddress = "https://127.0.0.1:1"\nmount = "secret"\n'
        f'[providers.login]\nmethod = "token"\ntoken = {credential}\n'
    )
    with pytest.raises(SettingsError, match="has no credential") as caught:
        sealflow.get("github.token")
    assert named in caught.value.message


@pytest.fixture
def providers_alone(own_world: Path) -> Path:
    (own_world / "mounted" / "github").mkdir(parents=True)
    (own_world / "mounted" / "github" / "token").write_text(VALUE)
    (own_world / "sealflow.toml").write_text(PROVIDERS)
    return own_world


def test_a_project_with_providers_alone_is_checked(cli, providers_alone):
    (providers_alone / "w.yaml").write_text(WORKFLOW.replace("NAME", "github.token"))
    assert cli("check", "w.yaml").code == 0
    assert cli("check", "--providers", "w.yaml").code == 0
    (providers_alone / "w.yaml").write_text(WORKFLOW.replace("NAME", "other.token"))
    assert "there is no secret 'other'" in cli("check", "--providers", "w.yaml").out


def test_the_doctor_of_a_project_with_providers_alone(cli, providers_alone):
    result = cli("doctor", "--json")
    assert result.code == 0, result.out
    assert [(item["check"], item["level"]) for item in json.loads(result.out)] == [("store", "note")]


def test_the_audit_trail_of_a_project_with_providers_alone(cli, providers_alone):
    result = cli("audit", "--json")
    assert (result.code, json.loads(result.out)) == (0, [])
    assert "no audit trail is kept" in result.err
    assert json.loads(cli("audit", "--verify", "--json").out)["ok"] is True


def read_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write anywhere, so a read-only mount is told to those who ask."""
    real = os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda item, mode: not (mode & os.W_OK and str(item).startswith(str(path))) and real(item, mode),
    )


def test_a_trail_that_cannot_be_written_is_told_once(one_secret, own_world, monkeypatch):
    read_only(own_world / ".workflow", monkeypatch)
    with sealflow.open_service() as service:
        with pytest.warns(AuditWarning, match="not written into the audit trail"):
            service.get_secret("a")
        with warnings.catch_warnings(action="error"):
            service.get_secret("a")


def test_a_value_is_refused_where_its_line_is_required_and_cannot_be_written(one_secret, own_world, tmp_path):
    """A copy on a file system that takes no more files: the head of the trail is a directory."""
    copy = tmp_path / "copy"
    shutil.copytree(own_world / ".workflow" / "secrets", copy)
    copy.chmod(0o700)
    (copy / "audit.log").unlink(missing_ok=True)
    (copy / "audit.log").mkdir()
    with (
        sealflow.open_service(copy, audit_required=True) as service,
        pytest.raises(sealflow.AuditError, match="cannot be written"),
    ):
        service.get_secret("a")


def test_settings_name_the_folder_of_a_new_store(inside, own_world):
    (own_world / ".workflow").mkdir()
    assert Settings.load().path == own_world / ".workflow" / "secrets"
    assert Settings.for_new_store().path == inside / ".workflow" / "secrets"
