"""A key or a token that is typed where something else belongs is repeated nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import click
import pytest

import sealflow
from sealflow import MasterKey, Resolver, SealflowError, SecretValidationError, open_service
from sealflow.service.access import access_of
from sealflow.settings import Settings
from sealflow.wording import closest, holds_key, shown, without_keys

KEY = MasterKey(bytes(range(100, 132)), "a test").to_text()
HEX = "0123456789abcdef" * 4
SPELLINGS = {
    "plain": KEY,
    "hex": HEX,
    "upper hex": HEX.upper(),
    "a path": f"./{KEY}",
    "an absolute path": f"/srv/{HEX}.key",
    "percent-encoded": quote(KEY).replace("_", "%5F"),
    "every byte percent-encoded": "".join(f"%{ord(char):02x}" for char in KEY),
    "encoded twice": quote(KEY.replace("_", "%5F")),
    "cut short": KEY[:30],
    "with letters around it": f"x{KEY}y",
    "GitHub": "ghp_" + "a1B2" * 9,
    "Vault": "hvs." + "a1B2" * 9,
    "JSON Web Token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_a_key_is_recognised_and_withheld(text):
    assert holds_key(text)
    assert text not in without_keys(f"there is no file {text} here")
    assert "there is no file" in without_keys(f"there is no file {text} here")
    assert text not in shown(text)


@pytest.mark.parametrize(
    "text",
    ["github", "my-key_1", "/srv/app/100%/x", "a" * 60, "sk-prod", "sfk1_", "f" * 40, "50%", "%", "%zz"],
)
def test_an_ordinary_name_is_shown_as_it_is(text):
    assert not holds_key(text)
    assert without_keys(f"no {text}.") == f"no {text}."


def test_a_long_name_is_shortened_after_its_key_is_withheld():
    name = "y" * 40 + KEY
    assert KEY[:12] not in shown(name)


def test_what_is_not_a_string_is_shown_by_its_type():
    assert shown(["a"]) == "a list"


def test_the_closest_names_are_offered():
    assert closest("gitlub", ["github", "gitlab"]) == "Did you mean 'gitlab' or 'github'?"


@pytest.mark.parametrize("text", [KEY, HEX, f"./{KEY}"])
def test_an_error_holds_no_key_in_any_of_its_parts(text):
    error = SealflowError(f"no {text}", hint=f"see {text}", secret=text, field=text, path=text)
    assert text not in f"{error} {error.args} {vars(error)}"
    assert text not in str(vars(error.placed(text, path=text)))


def test_the_python_interface_repeats_no_key(service):
    for attempt in (
        lambda: service.get_secret(KEY),
        lambda: service.create_secret(KEY, "api_key", {"value": "12345678"}),
        lambda: service.create_secret("a", KEY, {"value": "12345678"}),
        lambda: service.create_secret("a", "api_key", {KEY: "12345678"}),
        lambda: service.create_secret("a", "api_key", {"value": "12345678"}, allowed_hosts=[KEY]),
        lambda: service.create_secret("a", "api_key", {"value": "12345678"}, expires_at=KEY),
        lambda: service.update_secret(KEY, {"value": "12345678"}),
        lambda: open_service(f"/dev/null/{KEY}"),
        lambda: open_service(backend=KEY),
        lambda: sealflow.Workflow.load(KEY),
        lambda: sealflow.Workflow.load(f"./{KEY}"),
    ):
        with pytest.raises(SealflowError) as caught:
            attempt()
        assert KEY not in f"{caught.value} {vars(caught.value)}"


@pytest.mark.parametrize(
    "metadata",
    [{"description": f"the key is {KEY}"}, {"tags": [KEY]}, {"allowed_workflows": [KEY]}],
    ids=["description", "tags", "allowed_workflows"],
)
def test_a_key_is_not_stored_in_clear_text(service, metadata):
    with pytest.raises(SecretValidationError, match="looks like a key or a token"):
        service.create_secret("a", "api_key", {"value": "12345678"}, **metadata)


@pytest.mark.parametrize(
    "variable",
    [
        "WORKFLOW_SECRETS_STORAGE_PATH",
        "WORKFLOW_SECRETS_STORAGE_BACKEND",
        "WORKFLOW_SECRETS_MASTER_KEY_FILE",
        "WORKFLOW_SECRETS_MASTER_KEY_KEYCHAIN",
        "WORKFLOW_SECRETS_PASSPHRASE_FILE",
        "SEALFLOW_CONFIG",
    ],
)
def test_a_key_in_the_wrong_variable_is_not_repeated(cli, own_world, monkeypatch, variable):
    monkeypatch.setenv(variable, KEY)
    for command in (["init"], ["secret", "list"], ["provider", "list"], ["doctor"]):
        result = cli(*command)
        assert KEY not in result.out + result.err
    assert KEY not in str(sorted(own_world.rglob("*")))


def test_a_directory_that_exists_may_be_named_by_a_hash(tmp_path):
    folder = tmp_path / HEX
    folder.mkdir()
    assert Settings.load(folder).path == folder


def commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))
    else:
        yield path, command


def spots() -> Iterator[tuple[str, ...]]:
    """Yield a command line for every argument and every option of every command, with KEY in its place."""
    from sealflow.cli.main import app

    yield ("KEY",)
    yield ("secret", "KEY")
    for path, command in commands(app):
        yield (*path, "--KEY")
        yield (*path, "KEY", "KEY", "KEY", "KEY")
        arguments = [item for item in command.params if isinstance(item, click.Argument)]
        needed = [
            word
            for item in command.params
            if isinstance(item, click.Option) and item.required
            for word in (item.opts[0], "1")
        ]
        filled = ["x"] * len(arguments)
        for number in range(len(arguments)):
            yield (*path, *needed, *filled[:number], "KEY", *filled[number + 1 :])
        for option in command.params:
            if isinstance(option, click.Option):
                yield (*path, *needed, *filled, option.opts[0], "KEY")
                yield (*path, *needed, *filled, f"{option.opts[0]}=KEY")


@pytest.fixture
def everything_written(own_world: Path, tmp_path: Path):
    def read() -> str:
        files = [item for item in tmp_path.rglob("*") if item.is_file()]
        return "\n".join([*map(str, files), *(item.read_bytes().decode("latin-1") for item in files)])

    return read


@pytest.mark.parametrize("text", [KEY, f"./{KEY}", HEX, quote(KEY).replace("_", "%5F")])
def test_no_place_of_the_command_line_repeats_a_key(cli, store_key, everything_written, text):
    assert cli("init").code == 0
    count = 0
    for words in spots():
        result = cli(*(word.replace("KEY", text) for word in words), stdin="{}")
        assert result.code == 2, words
        assert text not in result.out + result.err, words
        count += 1
    assert count > 150
    assert text not in everything_written()


@pytest.mark.parametrize("text", [KEY, HEX])
def test_no_message_of_a_command_repeats_a_key_that_reached_it(
    cli, store_key, everything_written, monkeypatch, text
):
    """The same without the first line of defence: messages are cleaned wherever the key got."""
    monkeypatch.setattr("sealflow.cli.main.holds_key", lambda _: False)
    assert cli("init").code == 0
    for words in spots():
        writes_a_file_of_this_name = {"--out", "--to", "--generate", "create"} & {
            word.split("=")[0] for word in words
        }
        if words[:1] in (("demo",), ("run",)) or writes_a_file_of_this_name or "--keychain" in str(words):
            continue
        result = cli(*(word.replace("KEY", text) for word in words), stdin="{}")
        assert text not in result.err, words


async def test_a_key_in_a_reference_is_not_in_the_audit_trail(service, tmp_path):
    async with Resolver(service) as resolver:
        with pytest.raises(SealflowError) as caught:
            await resolver.resolve_config({"token": f"{{{{secrets.{KEY}.x}}}}"})
    trail = access_of(service).registry.status().path / "audit.log"
    service.close()
    assert KEY not in str(caught.value)
    assert "SecretNotFoundError" in trail.read_text()
    assert KEY not in trail.read_text()


@pytest.mark.parametrize(("wanted", "known"), [("nobody", "notify"), ("db", "prod"), ("stripe", "github")])
def test_a_name_that_is_not_alike_is_not_suggested(wanted, known):
    assert closest(wanted, [known]) == f"The names are: {known}"


def test_only_the_names_that_are_most_alike_are_suggested():
    assert closest("githbu", ["github", "gitlab", "other"]) == "Did you mean 'github'?"
