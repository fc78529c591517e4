from __future__ import annotations

import json
import math

import pytest

from sealflow import BaseNode, Workflow, WorkflowError, run_workflow
from sealflow.resolver.redactor import Redactor


class Broken:
    def __repr__(self):
        raise ValueError("never shown")


class BrokenMapping(dict):
    def values(self):
        raise KeyError("never shown")


def cyclic():
    made: list = []
    made.append({"again": made})
    return made


def deep(levels, around=list):
    made: object = "end"
    for _ in range(levels):
        made = [made] if around is list else {"k": made}
    return made


def doubling():
    made: list = ["x"]
    for _ in range(60):
        made = [made, made]
    return made


class Give(BaseNode):
    """Gives whatever its ``made`` holds."""

    type_name = "give"
    made: object = None

    async def process(self, context, config):
        return type(self).made()


async def run_giving(make):
    kind = type("GiveOne", (Give,), {"made": staticmethod(make)})
    execution = await run_workflow(Workflow("w", [kind("n")]))
    return execution, json.loads(execution.to_json(), parse_constant=pytest.fail)["nodes"]["n"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (cyclic, "contains itself or is nested"),
        (lambda: deep(5_000), "more than 200 levels"),
        (lambda: deep(100_000, dict), "more than 200 levels"),
        (lambda: {"n": 10**5_000}, "integer of 16,610 bits"),
        (Broken, "repr() of Broken raises ValueError"),
        (lambda: [BrokenMapping(a=1)], "BrokenMapping that raises KeyError"),
        (doubling, "more than"),
    ],
    ids=["cyclic", "deep lists", "deep mappings", "a long integer", "a repr", "a mapping", "doubling"],
)
async def test_an_output_that_cannot_be_saved_is_the_nodes_failure(make, message):
    execution, node = await run_giving(make)
    assert execution.status == "failed"
    assert node["error"]["type"] == "WorkflowError"
    assert message in node["error"]["message"]
    assert "never shown" not in execution.to_json()


@pytest.mark.parametrize(
    ("make", "saved"),
    [
        (lambda: [math.nan, math.inf, -math.inf], ["NaN", "Infinity", "-Infinity"]),
        (lambda: {1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "(1, 2)": "c"}),
        (lambda: [b"\xff", {3}], [{"base64": "/w=="}, [3]]),
        (lambda: "\ud800 lone", "\ud800 lone"),
        (lambda: deep(150), deep(150)),
    ],
    ids=["not finite", "keys", "bytes and sets", "a surrogate", "nested"],
)
async def test_what_python_gives_is_saved_as_valid_json(make, saved):
    _, node = await run_giving(make)
    assert node["outputs"]["output"] == saved


async def test_cyclic_input_data_is_refused_before_anything_runs():
    with pytest.raises(WorkflowError, match="the input data contains itself"):
        await run_workflow(Workflow("w", [Give("n")]), cyclic())


class BadError(Exception):
    def __str__(self):
        raise RuntimeError("never shown")


async def test_an_error_whose_str_raises_is_the_nodes_failure():
    def make():
        raise BadError

    _, node = await run_giving(make)
    assert node["error"]["type"] == "BadError"
    assert "str() of BadError raises RuntimeError" in node["error"]["message"]


async def test_sys_exit_in_a_node_is_the_nodes_failure():
    def make():
        raise SystemExit("bye")

    execution, node = await run_giving(make)
    assert execution.status == "failed"
    assert node["error"] == {"type": "SystemExit", "message": "the node called sys.exit(bye)"}


async def test_the_notes_of_an_error_are_kept():
    def make():
        error = ValueError("why")
        error.add_note("and where")
        raise error

    _, node = await run_giving(make)
    assert node["error"]["message"] == "why\nand where"


def test_cleaning_never_raises():
    redactor = Redactor()
    redactor.add("hunter2")
    values = [
        cyclic(),
        deep(5_000),
        10**5_000,
        Broken(),
        BrokenMapping(a=1),
        {Broken(): "hunter2"},
        {"hunter2"},
    ]
    for value in values:
        assert "hunter2" not in json.dumps(redactor.clean_value(value))
