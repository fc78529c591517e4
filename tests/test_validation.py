"""What users read of a pydantic model's problems: our words, the right fields, and never the input."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, SecretStr

from sealflow import NodeConfigError, Workflow, WorkflowError
from sealflow.model.validation import Problem, validate


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Inner(Strict):
    attempts: int = 1
    delay: float = 0


class Outer(Strict):
    name: Annotated[str, Field(min_length=2, max_length=5, pattern="^[a-z]+$")] = "ok"
    count: Annotated[int, Field(ge=1, le=9)] = 1
    kind: Literal["one", "two"] = "one"
    flag: bool = False
    retry: Inner | None = None
    items: list[Inner] = []
    named: dict[str, Inner] = {}
    address: IPvAnyAddress | None = None
    token: SecretStr | None = None


def first(data: Any) -> Problem:
    return validate(Outer, data)[1][0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": 5}, "it must be a string"),
        ({"name": "a"}, "it must have at least 2 characters"),
        ({"name": "abcdef"}, "it must have at most 5 characters"),
        ({"name": "ABC"}, "it does not have the right form"),
        ({"count": "hunter2"}, "it must be a whole number"),
        ({"count": 1.5}, "it must be a whole number"),
        ({"count": 0}, "it must be at least 1"),
        ({"count": 10}, "it must be at most 9"),
        ({"kind": "hunter2"}, "it must be 'one' or 'two'"),
        ({"flag": "hunter2"}, "it must be true or false"),
        ({"retry": "hunter2"}, "it must be a mapping"),
        ({"items": "hunter2"}, "it must be a list"),
        ({"address": "hunter2"}, "it is not valid"),
    ],
)
def test_the_words_are_ours(data, message):
    found = first(data).message
    assert found == message
    assert "hunter2" not in found
    assert "nput should" not in found


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"retry": {"delya": 1}}, "retry.delya"),
        ({"items": [{}, {"delya": 1}]}, "items[1].delya"),
        ({"named": {"x": {"delya": 1}}}, "named.x.delya"),
    ],
)
def test_an_unknown_field_gets_the_fields_of_its_own_mapping(data, path):
    problem = first(data)
    assert problem.path == path
    assert problem.message == "there is no field 'delya'"
    assert problem.hint == "Did you mean 'delay'? The fields are: attempts, delay"


def test_an_unknown_key_that_is_a_token_is_not_repeated():
    assert "ghp_" not in first({"ghp_" + "a" * 36: 1}).message


def http(config: dict[str, Any], **more: Any) -> dict[str, Any]:
    node = {"type": "http-request", "config": {"url": "https://example.com/", **config}, **more}
    return {"sealflow": 1, "name": "w", "nodes": {"a": node}}


def test_auth_offers_the_fields_of_the_chosen_form():
    with pytest.raises(NodeConfigError) as caught:
        Workflow.from_dict(http({"auth": {"type": "basic", "usrname": "x", "password": "y"}}))
    assert "username is missing" in str(caught.value) or "'usrname'" in str(caught.value)
    assert caught.value.hint is not None
    assert "username, password" in caught.value.hint
    assert "token" not in caught.value.hint


def test_retry_offers_its_own_fields():
    with pytest.raises(WorkflowError) as caught:
        Workflow.from_dict(http({}, retry={"attempt": 3}))
    assert "'attempt'" in str(caught.value)
    assert caught.value.hint is not None
    assert "Did you mean 'attempts'?" in caught.value.hint
    assert "config" not in caught.value.hint
