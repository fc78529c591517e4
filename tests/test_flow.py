"""Conditions, loops, workflows inside workflows, and what is learned from an output."""

from __future__ import annotations

import asyncio

import pytest

import sealflow
from sealflow import Outputs, Workflow, WorkflowError, run_workflow


@sealflow.node("flow-echo")
def echo(input=None, extra: object = None):
    return {"got": input, "extra": extra} if extra is not None else input


@sealflow.node("flow-odd-fails")
def odd_fails(input=None):
    if input % 2:
        raise ValueError(f"{input} is odd")
    return input * 10


@pytest.mark.parametrize(
    ("when", "inputs", "state"),
    [
        ("input.ok", {"ok": True}, "completed"),
        ("input.ok", {"ok": False}, "skipped"),
        ("input.missing", {}, "skipped"),
        ("input.n > `3`", {"n": 4}, "completed"),
        ("input.n > `3`", {"n": 3}, "skipped"),
        ("length(input.items) == `0`", {"items": []}, "completed"),
        ("input", None, "skipped"),
    ],
)
async def test_a_node_runs_when_its_condition_is_true(when, inputs, state):
    execution = await run_workflow(Workflow("w", [echo.node("n", flow={"when": when})]), inputs)
    assert execution.nodes["n"].state == state


async def test_a_false_condition_gives_the_input_on_the_port_else():
    nodes = [echo.node("check", flow={"when": "input.ok"}), echo.node("yes"), echo.node("no")]
    workflow = Workflow("w", nodes, ["check.output -> yes.input", "check.else -> no.input"])
    execution = await run_workflow(workflow, {"ok": False})
    assert execution.nodes["no"].outputs["output"] == {"ok": False}
    assert execution.nodes["yes"].state == "skipped"
    assert execution.status == "completed"


def test_a_node_without_a_condition_has_no_port_else():
    with pytest.raises(WorkflowError, match="else"):
        Workflow("w", [echo.node("a"), echo.node("b")], ["a.else -> b.input"])


async def test_a_condition_that_does_not_fit_its_input_is_a_failure():
    execution = await run_workflow(Workflow("w", [echo.node("n", flow={"when": "length(input)"})]), 5)
    assert execution.nodes["n"].state == "failed"
    assert execution.status == "failed"


@pytest.mark.parametrize("flow", [{"when": "a ||"}, {"for_each": "[["}, {"learn": ["`"]}, {"else": "x"}])
def test_an_expression_that_cannot_be_parsed_is_refused_at_once(flow):
    with pytest.raises(WorkflowError):
        echo.node("n", flow=flow)


async def test_a_node_runs_once_for_each_item_in_their_order():
    node = echo.node("n", {"extra": "{{input.id}}"}, flow={"for_each": "input.users"})
    execution = await run_workflow(Workflow("w", [node]), {"users": [{"id": 1}, {"id": 2}, {"id": 3}]})
    assert [item["extra"] for item in execution.nodes["n"].outputs["output"]] == [1, 2, 3]


async def test_at_most_so_many_items_run_at_a_time():
    running, most = 0, 0
    gate = asyncio.Event()

    @sealflow.node("flow-counts")
    async def counts(input=None):
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            gate.set()
        await gate.wait()
        await asyncio.sleep(0)
        running -= 1

    node = counts.node("n", flow={"for_each": {"items": "input", "concurrency": 2}})
    execution = await run_workflow(Workflow("w", [node]), [1, 2, 3, 4, 5, 6])
    assert execution.status == "completed"
    assert most == 2


async def test_the_first_item_that_fails_ends_the_node():
    node = odd_fails.node("n", flow={"for_each": "input"})
    execution = await run_workflow(Workflow("w", [node]), [2, 3, 4])
    assert execution.nodes["n"].state == "failed"
    assert execution.nodes["n"].error["message"] == "3 is odd"


async def test_a_loop_may_go_on_behind_items_that_fail():
    node = odd_fails.node("n", flow={"for_each": {"items": "input", "on_error": "continue"}})
    workflow = Workflow("w", [node, echo.node("errors")], ["n.error -> errors.input"])
    execution = await run_workflow(workflow, [2, 3, 4])
    assert execution.nodes["n"].outputs["output"] == [20, None, 40]
    assert [item["item"] for item in execution.nodes["errors"].outputs["output"]] == [1]


@pytest.mark.parametrize("inputs", [None, 5, {"a": 1}])
async def test_a_loop_over_something_else_than_a_list_fails(inputs):
    execution = await run_workflow(Workflow("w", [echo.node("n", flow={"for_each": "input"})]), inputs)
    assert "for_each finds" in execution.nodes["n"].error["message"]


async def test_sys_exit_in_an_item_is_a_failure_of_the_node():
    @sealflow.node("flow-exits")
    def exits(input=None):
        raise SystemExit(3)

    execution = await run_workflow(Workflow("w", [exits.node("n", flow={"for_each": "input"})]), [1])
    assert execution.nodes["n"].state == "failed"


async def test_what_is_learned_from_an_output_is_masked():
    node = echo.node("login", flow={"learn": ["token"]})
    workflow = Workflow("w", [node, echo.node("next")], ["login.output -> next.input"])
    execution = await run_workflow(workflow, {"token": "a-token-of-the-run"})
    assert "a-token-of-the-run" not in execution.to_json()
    assert execution.nodes["next"].state == "completed"


async def test_learning_where_there_is_nothing_is_a_failure():
    execution = await run_workflow(Workflow("w", [echo.node("n", flow={"learn": ["token"]})]), {"other": 1})
    assert "learn finds nothing" in execution.nodes["n"].error["message"]


INNER = """
sealflow: 1
name: inner
nodes:
  pick: {type: transform, config: {expression: "items[].name"}}
"""
OUTER = """
sealflow: 1
name: outer
nodes:
  sub: {type: workflow, config: {file: inner.yaml}}
  count: {type: transform, config: {expression: "length(@)"}}
links:
  - sub.output -> count.input
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "inner.yaml").write_text(INNER)
    (tmp_path / "outer.yaml").write_text(OUTER)
    return tmp_path


async def test_a_workflow_runs_inside_another(folder):
    execution = await run_workflow(
        Workflow.load(folder / "outer.yaml"), {"items": [{"name": "a"}, {"name": "b"}]}
    )
    assert execution.nodes["sub"].outputs["output"] == ["a", "b"]
    assert execution.nodes["count"].outputs["output"] == 2


async def test_a_failure_inside_is_the_failure_of_the_node(folder):
    (folder / "inner.yaml").write_text(INNER.replace("items[].name", "length(items)"))
    execution = await run_workflow(Workflow.load(folder / "outer.yaml"), {"items": 5})
    assert "'pick'" in execution.nodes["sub"].error["message"]
    assert execution.nodes["count"].state == "skipped"


async def test_a_workflow_that_leads_back_to_itself_ends(folder):
    (folder / "outer.yaml").write_text(OUTER.replace("inner.yaml", "outer.yaml"))
    execution = await run_workflow(Workflow.load(folder / "outer.yaml"), {})
    assert "nested" in execution.nodes["sub"].error["message"]


async def test_a_file_outside_the_folder_is_refused(folder):
    (folder / "deep").mkdir()
    (folder / "deep" / "outer.yaml").write_text(OUTER.replace("inner.yaml", "../inner.yaml"))
    execution = await run_workflow(Workflow.load(folder / "deep" / "outer.yaml"), {})
    assert "outside the folder" in execution.nodes["sub"].error["message"]


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_file_that_others_may_write_to_is_refused(folder, what):
    (folder / "deep").mkdir(mode=0o755)
    (folder / "deep" / "inner.yaml").write_text(INNER)
    (folder / "outer.yaml").write_text(OUTER.replace("inner.yaml", "deep/inner.yaml"))
    (folder / "deep" / "inner.yaml" if what == "file" else folder / "deep").chmod(0o777)
    execution = await run_workflow(Workflow.load(folder / "outer.yaml"), {"items": []})
    assert "may write to" in execution.nodes["sub"].error["message"]


def test_a_stranger_s_workflow_runs_no_other_file(folder):
    with pytest.raises(sealflow.TrustError):
        Workflow.load(folder / "outer.yaml", trusted=False)


def test_what_flow_says_survives_a_file(tmp_path):
    document = {
        "sealflow": 1,
        "name": "w",
        "nodes": {
            "n": {
                "type": "transform",
                "config": {"expression": "@"},
                "when": "input.ok",
                "for_each": {"items": "input.items", "concurrency": 2},
                "learn": ["token"],
            }
        },
        "links": [],
    }
    workflow = Workflow.from_dict(document)
    workflow.dump(tmp_path / "w.yaml")
    assert Workflow.load(tmp_path / "w.yaml").to_dict() == document


def test_a_module_beside_the_file_brings_node_types_of_its_own(tmp_path):
    (tmp_path / "flow_own_nodes.py").write_text(
        "import sealflow\n\n@sealflow.node('flow-own')\ndef own(text: str):\n    return text.upper()\n"
    )
    path = tmp_path / "w.yaml"
    path.write_text(
        "sealflow: 1\nname: w\nmodules: [flow_own_nodes]\n"
        "nodes:\n  n: {type: flow-own, config: {text: hello}}\nlinks: []\n"
    )
    workflow = Workflow.load(path)
    assert asyncio.run(run_workflow(workflow)).nodes["n"].outputs["output"] == "HELLO"
    assert workflow.to_dict()["modules"] == ["flow_own_nodes"]


def test_a_stranger_s_module_is_not_imported(tmp_path):
    (tmp_path / "flow_planted.py").write_text("raise SystemExit('planted code ran')\n")
    (tmp_path / "w.yaml").write_text("sealflow: 1\nname: w\nmodules: [flow_planted]\nnodes: {}\n")
    with pytest.raises(sealflow.TrustError):
        Workflow.load(tmp_path / "w.yaml", trusted=False)


async def test_a_loop_ends_at_the_first_item_that_gives_an_error():
    ran = []

    @sealflow.node("gives_errors", outputs=("output", "error"))
    def gives_errors(input=None):
        ran.append(1)
        return Outputs(error={"type": "Odd", "message": "an item is odd"})

    node = gives_errors.node("n", flow={"for_each": {"items": "input", "concurrency": 1}})
    execution = await run_workflow(Workflow("w", [node]), [1, 2, 3])
    assert len(ran) == 1
    assert execution.nodes["n"].error == {"type": "Odd", "message": "an item is odd"}
    assert execution.nodes["n"].outputs["error"]["item"] == 0


@pytest.mark.parametrize(("links", "state"), [([], "failed"), (["n.error -> t.input"], "completed")])
async def test_errors_of_a_loop_that_goes_on_fail_it_if_no_link_takes_them_up(links, state):
    @sealflow.node("gives_some_errors", outputs=("output", "error"))
    def gives_some_errors(input=None):
        return Outputs(error={"type": "Odd", "message": "an item is odd"})

    node = gives_some_errors.node("n", flow={"for_each": {"items": "input", "on_error": "continue"}})
    after = echo.node("t")
    execution = await run_workflow(Workflow("w", [node, after], links), [1, 2])
    assert execution.nodes["n"].state == state
