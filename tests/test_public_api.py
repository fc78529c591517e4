"""The public surface: what it names, and that a user's file uses all of it."""

from __future__ import annotations

import ast
import asyncio
import re
import threading
from importlib import import_module
from pathlib import Path

import pytest

import sealflow
from sealflow import FieldNotFoundError, ReferenceSyntaxError, Resolver, SecretNotFoundError

TYPING = Path(__file__).parent / "typing"
MODULES = sorted(
    f"sealflow.{path.parent.name}" if path.parent.name != "sealflow" else "sealflow"
    for path in Path(sealflow.__file__).parent.glob("**/__init__.py")
    if "__all__ =" in path.read_text(encoding="utf-8")
)


def literal_names(module: str) -> list[str]:
    tree = ast.parse(Path(str(import_module(module).__file__)).read_text(encoding="utf-8"))
    (value,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return ast.literal_eval(value)


@pytest.mark.parametrize("module", MODULES)
def test_all_is_a_literal_sorted_list_of_names_that_are_there(module):
    names = literal_names(module)
    assert len(set(names)) == len(names)
    assert sorted(names) == names
    for name in names:
        assert hasattr(import_module(module), name)


def test_the_typing_file_uses_every_public_name():
    text = "".join(path.read_text(encoding="utf-8") for path in TYPING.glob("*.py"))
    unused = [
        name
        for module in MODULES
        for name in literal_names(module)
        if len(re.findall(rf"\b{re.escape(name)}\b", text))
        < (1 if name in ("__version__", "node", "get") else 2)
        and f"sealflow.{name}" not in text
    ]
    assert unused == []


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        sealflow.no_such_name  # noqa: B018


@pytest.fixture
def github(store_key, service):
    with sealflow.open_service() as opened:
        opened.create_secret("github", "bearer_token", {"token": "a-token-of-github"})
        opened.create_secret("db", "custom", {"port": 5432, "nested": {"key": "value"}})
        yield opened


def test_get_returns_one_field(github):
    assert sealflow.get("github.token") == "a-token-of-github"


def test_get_keeps_the_type_of_a_field(github):
    assert sealflow.get("db.port") == 5432


def test_get_returns_all_fields_for_a_name_alone(github):
    assert sealflow.get("github") == {"token": "a-token-of-github"}


@pytest.mark.parametrize("text", ["", "a b", "github.token}} {{secrets.db.port", "}}", "github."])
def test_get_refuses_what_is_not_one_reference(github, text):
    with pytest.raises(ReferenceSyntaxError):
        sealflow.get(text)


def test_get_names_the_secret_that_is_missing(github):
    with pytest.raises(SecretNotFoundError, match="github"):
        sealflow.get("gihub.token")


async def test_get_works_inside_a_running_loop(github):
    assert sealflow.get("github.token") == "a-token-of-github"


def test_get_works_from_many_threads_at_once(github):
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(sealflow.get("github.token"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["a-token-of-github"] * 8


def test_resolve_sync_returns_what_resolve_returns(github):
    resolver = Resolver(github)
    assert resolver.resolve_sync("db", "port") == asyncio.run(resolver.resolve("db", "port")) == 5432


def test_the_service_resolves_a_config(github):
    config = {"auth": ["Bearer {{secrets.github.token}}"], "port": "{{secrets.db.port}}", "n": 1}
    assert github.resolve_config(config) == {"auth": ["Bearer a-token-of-github"], "port": 5432, "n": 1}
    assert config["port"] == "{{secrets.db.port}}"


def test_the_service_names_the_place_of_a_missing_secret(github):
    with pytest.raises(SecretNotFoundError) as caught:
        github.resolve_config({"a": {"b": ["{{secrets.nowhere.x}}"]}})
    assert caught.value.path == "a.b[0]"


def test_the_service_asks_no_provider(github):
    with pytest.raises(SecretNotFoundError, match="vault"):
        github.resolve_config({"a": "{{secrets.vault:github.token}}"})


def test_the_service_refuses_a_secret_of_certain_workflows(github):
    github.create_secret("nightly", "api_key", {"value": "value"}, allowed_workflows=["nightly-*"])
    with pytest.raises(sealflow.WorkflowNotAllowedError):
        github.resolve_config("{{secrets.nightly.value}}")


def test_a_missing_nested_field_names_no_other_key(github):
    with pytest.raises(FieldNotFoundError) as caught:
        github.resolve_config("{{secrets.db.nested.kye}}")
    assert "'key'" not in str(caught.value)


def test_a_function_that_is_a_node_can_still_be_called():
    @sealflow.node("doubled")
    def doubled(text: str) -> str:
        """Return it twice."""
        return text * 2

    assert doubled("ab") == "abab"
    assert doubled.__doc__ == "Return it twice."
    assert isinstance(doubled.node("n", {"text": "ab"}), sealflow.BaseNode)


def test_a_method_is_not_made_a_node():
    with pytest.raises(sealflow.WorkflowError, match="method"):

        class Nodes:
            @sealflow.node("method-node")
            def run(self, text: str) -> str:
                return text


def test_a_secret_type_is_registered_by_decorating_its_model():
    @sealflow.register_secret_type("decorated-type")
    class Pin(sealflow.SecretFields):
        pin: str

    assert Pin.__name__ == "Pin"


@pytest.mark.parametrize("name", sorted(literal_names("sealflow.errors")))
def test_every_error_survives_pickling_with_its_attributes(name):
    import pickle

    kind = getattr(import_module("sealflow.errors"), name)
    if not (isinstance(kind, type) and issubclass(kind, sealflow.SealflowError)):
        pytest.skip("it is not an error")
    extra = {"column": 3} if kind is ReferenceSyntaxError else {}
    error = kind("what", hint="do", path="a.b", **extra)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__dict__) == (kind, str(error), error.__dict__)


def test_an_error_class_that_calls_no_init_of_ours_can_be_shown_and_placed():
    class Bare(sealflow.ProviderError):
        def __init__(self, code: int) -> None:
            self.code = code

    error = Bare(7).placed("somewhere", path="a")
    assert (error.code, error.path) == (7, "a")
    assert "somewhere" in str(error)
