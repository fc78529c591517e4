from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading

import pytest
from pydantic import SecretStr

import sealflow
from sealflow import (
    BaseNode,
    NodeConfig,
    Outputs,
    Resolver,
    Retry,
    SecretNotFoundError,
    Workflow,
    WorkflowError,
    node,
    run_workflow,
)
from sealflow.service.access import StoreAccess

VALUE = "hunter2-hunter2"


class Collect(BaseNode):
    """Keeps what it was given, outside of what is printed."""

    type_name = "collect"
    seen: list = []

    class Config(NodeConfig):
        token: SecretStr | None = None
        anything: object = None
        fail: str | None = None
        times: int = 0

    async def process(self, context, config):
        token = config.token.get_secret_value() if config.token else None
        self.seen.append((self.name, token, config.anything, context.input, context.attempt))
        if config.fail:
            raise RuntimeError(config.fail)
        if context.attempt <= config.times:
            raise Retry(Outputs(output=f"gave up after {context.attempt}"))
        return {"node": self.name, "token": token, "input": context.input}


@pytest.fixture(autouse=True)
def seen():
    Collect.seen = []
    return Collect.seen


@pytest.fixture
def github(service):
    service.create_secret("github", "bearer_token", {"token": VALUE})
    return service


def collect(name, **config):
    return Collect(name, config)


async def test_many_nodes_see_the_same_value_and_keep_the_reference(github, seen):
    workflow = Workflow(
        "w",
        [
            collect(
                f"n{number}", token="{{secrets.github.token}}", anything=[{"a": "x {{secrets.github.token}}"}]
            )
            for number in range(20)
        ],
    )
    execution = await run_workflow(workflow, service=github)
    assert execution.status == "completed"
    assert {item[1] for item in seen} == {VALUE}
    assert all(item[2] == [{"a": f"x {VALUE}"}] for item in seen)
    assert all(made.config["token"] == "{{secrets.github.token}}" for made in workflow.nodes.values())
    assert VALUE not in workflow.dump() + execution.to_json() + repr(execution) + repr(workflow)


async def test_a_secret_is_read_once_an_execution(github, monkeypatch):
    reads = []
    real = StoreAccess.open_many
    monkeypatch.setattr(
        StoreAccess, "open_many", lambda self, names: reads.append(list(names)) or real(self, names)
    )
    workflow = Workflow(
        "w", [collect(f"n{number}", token="{{secrets.github.token}}") for number in range(20)]
    )
    await run_workflow(workflow, service=github)
    assert reads == [["github"]]
    github.update_secret("github", {"token": "another-value"})
    await run_workflow(workflow, service=github)
    assert len(reads) == 2
    assert Collect.seen[-1][1] == "another-value"


async def test_data_flows_along_the_links_and_is_nobodys_else(seen):
    @node("spoil")
    def spoil(input):
        input["node"] = "spoiled"
        return input

    workflow = Workflow(
        "w",
        [collect("a"), spoil.node("b"), collect("c"), collect("d")],
        ["a.output -> b.input", "a.output -> c.input", "b.output -> d.input", "c.output -> d.input"],
    )
    execution = await run_workflow(workflow, {"start": 1})
    by_name = {item[0]: item[3] for item in seen}
    assert by_name["a"] == {"start": 1}
    assert by_name["c"]["node"] == "a"
    assert [item["node"] for item in by_name["d"]] == ["spoiled", "c"]
    assert execution.nodes["d"].state == "completed"


async def test_independent_nodes_run_at_the_same_time_and_no_more_than_allowed():
    running, most = 0, 0
    gate = asyncio.Event()

    @node("wait")
    async def wait(context):
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            gate.set()
        await gate.wait()
        await asyncio.sleep(0)
        running -= 1

    execution = await run_workflow(
        Workflow("w", [wait.node(f"n{number}") for number in range(9)]), max_concurrency=3
    )
    assert execution.status == "completed"
    assert most == 3
    with pytest.raises(WorkflowError):
        await run_workflow(Workflow("w"), max_concurrency=0)


async def test_a_failed_node_skips_what_depends_on_it_and_the_rest_finishes(github):
    workflow = Workflow(
        "w",
        [
            collect("bad", token="{{secrets.github.token}}", fail=f"it broke with {VALUE}"),
            collect("after"),
            collect("further"),
            collect("other"),
            collect("alert"),
            collect("join"),
        ],
        [
            "bad.output -> after.input",
            "after.output -> further.input",
            "bad.error -> alert.input",
            "other.output -> join.input",
            "after.output -> join.input",
        ],
    )
    execution = await run_workflow(workflow, service=github)
    states = {name: str(run.state) for name, run in execution.nodes.items()}
    assert states == {
        "bad": "failed",
        "after": "skipped",
        "further": "skipped",
        "other": "completed",
        "alert": "completed",
        "join": "skipped",
    }
    assert execution.status == "failed"
    assert execution.nodes["bad"].error == {"type": "RuntimeError", "message": "it broke with ***"}
    assert execution.nodes["after"].reason == "'bad' did not complete"
    assert workflow.nodes["bad"].config["token"] == "{{secrets.github.token}}"
    assert VALUE not in execution.to_json()


async def test_a_missing_secret_fails_the_node_before_it_runs(github, seen):
    workflow = Workflow(
        "w",
        [
            collect("a", token="{{secrets.githbu.token}}"),
            collect("b", token="{{secrets.github.tokn}}"),
            collect("c", token="{{secrets.github.token}}"),
        ],
    )
    execution = await run_workflow(workflow, service=github)
    assert [item[0] for item in seen] == ["c"]
    assert execution.nodes["a"].error["type"] == "SecretNotFoundError"
    assert (
        "token: there is no secret 'githbu'. Did you mean 'github'?" in execution.nodes["a"].error["message"]
    )
    assert execution.nodes["b"].error["type"] == "FieldNotFoundError"


async def test_a_resolved_value_that_does_not_fit_names_field_and_reference_and_no_value(github):
    github.create_secret("odd", "custom", {"times": VALUE})
    workflow = Workflow("w", [collect("a", times="{{secrets.odd.times}}")])
    execution = await run_workflow(workflow, service=github)
    error = execution.nodes["a"].error
    assert error["type"] == "NodeConfigError"
    assert error["message"].startswith("times: ")
    assert "{{secrets.odd.times}}" in error["message"]
    assert VALUE not in json.dumps(execution.to_dict())


async def test_retries_until_it_works_or_the_attempts_are_used_up(seen):
    retry = {"attempts": 3, "delay": 0}
    workflow = Workflow(
        "w",
        [
            Collect("works", {"times": 2}, retry=retry),
            Collect("gives-up", {"times": 5}, retry=retry),
            Collect("fails", {"fail": "no"}, retry=retry),
            Collect("once", {"fail": "no"}),
        ],
    )
    execution = await run_workflow(workflow)
    assert {name: (str(run.state), run.attempts) for name, run in execution.nodes.items()} == {
        "works": ("completed", 3),
        "gives-up": ("completed", 3),
        "fails": ("failed", 3),
        "once": ("failed", 1),
    }
    assert execution.nodes["gives-up"].outputs["output"] == "gave up after 3"


async def test_what_must_be_changed_first_is_not_retried(github):
    made = Collect("a", {"token": "{{secrets.nope.token}}"}, retry={"attempts": 5, "delay": 60})
    execution = await run_workflow(Workflow("w", [made]), service=github)
    assert execution.nodes["a"].attempts == 1


async def test_a_node_that_takes_too_long_fails():
    @node("sleepy")
    async def sleepy():
        await asyncio.sleep(3600)

    execution = await run_workflow(Workflow("w", [sleepy.node("a", timeout=0.05)]))
    assert execution.nodes["a"].error == {
        "type": "TimeoutError",
        "message": "the node did not end within 0.05 seconds",
    }


async def test_a_run_is_cancelled_by_event_by_timeout_and_by_its_task():
    started = asyncio.Event()

    @node("endless")
    async def endless():
        started.set()
        await asyncio.Event().wait()

    workflow = Workflow("w", [endless.node("a"), collect("b"), collect("c")], ["a.output -> b.input"])
    cancel = asyncio.Event()
    run = asyncio.create_task(run_workflow(workflow, cancel=cancel))
    await started.wait()
    cancel.set()
    execution = await run
    assert execution.status == "cancelled"
    assert {name: str(item.state) for name, item in execution.nodes.items()} == {
        "a": "failed",
        "b": "skipped",
        "c": "completed",
    }
    assert execution.nodes["a"].error["type"] == "CancelledError"
    assert (await run_workflow(workflow, timeout=0.05)).status == "cancelled"
    run = asyncio.create_task(run_workflow(workflow))
    await asyncio.sleep(0.05)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_one_workflow_runs_many_times_at_once(github):
    workflow = Workflow(
        "w", [collect("a", token="{{secrets.github.token}}"), collect("b")], ["a.output -> b.input"]
    )
    async with Resolver(github) as resolver:
        executions = await asyncio.gather(
            *(run_workflow(workflow, number, resolver=resolver) for number in range(20))
        )
    assert {execution.status for execution in executions} == {"completed"}
    assert sorted(execution.nodes["a"].outputs["output"]["input"] for execution in executions) == list(
        range(20)
    )
    assert len({execution.id for execution in executions}) == 20


async def test_it_is_exported_while_it_runs(github):
    exports = []

    @node("export")
    async def export(token: str):
        exports.append(workflow.dump() + workflow.dump(format="json") + repr(workflow.nodes["x"].__dict__))

    workflow = Workflow("w", [export.node("x", {"token": "{{secrets.github.token}}"})])
    assert (await run_workflow(workflow, service=github)).status == "completed"
    assert VALUE not in exports[0]
    assert "{{secrets.github.token}}" in exports[0]


async def test_logs_are_clean_while_it_runs(github, caplog):
    @node("chatty")
    def chatty(context, token: str):
        context.log.warning("my token is %s", token)
        threading.Thread(target=lambda: logging.getLogger("thread").warning("in a thread: %s", token)).start()
        raise ValueError(token)

    with caplog.at_level(logging.DEBUG):
        await run_workflow(
            Workflow("w", [chatty.node("x", {"token": "{{secrets.github.token}}"})]), service=github
        )
    assert "my token is ***" in caplog.text
    assert VALUE not in caplog.text


async def test_the_order_of_changes_is_told():
    changes = []
    workflow = Workflow("w", [collect("a"), collect("b", fail="x"), collect("c")], ["b.output -> c.input"])
    await run_workflow(
        workflow,
        on_change=lambda execution, run: changes.append((run.name, str(run.state), execution.status)),
    )
    assert set(changes) == {
        ("a", "running", "running"),
        ("a", "completed", "running"),
        ("b", "running", "running"),
        ("b", "failed", "running"),
        ("c", "skipped", "running"),
    }


async def test_a_port_that_a_node_does_not_have_fails_it():
    @node("elsewhere")
    def elsewhere():
        return Outputs(nowhere=1)

    execution = await run_workflow(Workflow("w", [elsewhere.node("a")]))
    assert "nowhere" in execution.nodes["a"].error["message"]


async def test_nodes_without_data_on_a_port_are_skipped():
    @node("branch", outputs=("left", "right"))
    def branch():
        return Outputs(left=1)

    workflow = Workflow(
        "w",
        [branch.node("a"), collect("l"), collect("r"), collect("join")],
        ["a.left -> l.input", "a.right -> r.input", "l.output -> join.input", "r.output -> join.input"],
    )
    execution = await run_workflow(workflow)
    assert {name: str(run.state) for name, run in execution.nodes.items()} == {
        "a": "completed",
        "l": "completed",
        "r": "skipped",
        "join": "completed",
    }
    assert execution.status == "completed"


async def test_input_data_is_never_searched_for_references(github, seen):
    execution = await run_workflow(
        Workflow(
            "w", [collect("a", token="{{secrets.github.token}}"), collect("b")], ["a.output -> b.input"]
        ),
        {"x": "{{secrets.github.token}}"},
        service=github,
    )
    assert seen[0][3] == {"x": "{{secrets.github.token}}"}
    assert execution.status == "completed"


async def test_a_value_that_looks_like_a_reference_stays_a_value(service, seen):
    service.create_secret("tricky", "api_key", {"value": "{{secrets.other.value}} $& \\1"})
    service.create_secret("other", "api_key", {"value": "must-not-appear"})
    await run_workflow(Workflow("w", [collect("a", token="<{{secrets.tricky.value}}>")]), service=service)
    assert seen[0][1] == "<{{secrets.other.value}} $& \\1>"


async def test_without_a_service_the_environment_names_the_store(store_key, seen):
    with sealflow.open_service() as service:
        service.create_secret("github", "bearer_token", {"token": VALUE})
    await run_workflow(Workflow("w", [collect("a", token="{{secrets.github.token}}")]))
    assert seen[0][1] == VALUE


async def test_the_scope_is_closed_also_after_a_failure(github, monkeypatch):
    scopes = []
    real = Resolver.scope
    monkeypatch.setattr(
        Resolver, "scope", lambda self, *a, **b: scopes.append(real(self, *a, **b)) or scopes[-1]
    )
    await run_workflow(
        Workflow("w", [collect("a", token="{{secrets.github.token}}", fail="x")]), service=github
    )
    assert scopes[0]._cache == {}
    assert scopes[0]._closed


FUNCTIONS = """
import asyncio
from pydantic import SecretStr

def plain(token, times: int = 1, input=None):
    return {"length": len(token) * times, "input": input}

async def later(context, token: SecretStr):
    await asyncio.sleep(0)
    return [context.node, len(token.get_secret_value())]

def anything(**given):
    return sorted(given)

class Deep:
    @staticmethod
    def inside(x: int):
        return x + 1

value = 5
"""


async def test_functions_are_called_by_their_import_path(github, own_world, monkeypatch):
    (own_world / "my_functions_1.py").write_text(FUNCTIONS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    nodes = {
        "plain": {"call": "my_functions_1:plain", "token": "{{secrets.github.token}}", "times": 2},
        "later": {"call": "my_functions_1:later", "token": "{{secrets.github.token}}"},
        "anything": {"call": "my_functions_1:anything", "a": 1, "b": "{{secrets.github}}"},
        "deep": {"call": "my_functions_1:Deep.inside", "x": "41"},
        "no-module": {"call": "my_functions_2:plain"},
        "no-function": {"call": "my_functions_1:nope"},
        "no-callable": {"call": "my_functions_1:value"},
        "missing": {"call": "my_functions_1:plain"},
        "wrong": {"call": "my_functions_1:plain", "token": "x", "times": "{{secrets.github.token}}"},
    }
    workflow = Workflow.from_dict(
        {
            "sealflow": 1,
            "name": "w",
            "nodes": {name: {"type": "function", "config": config} for name, config in nodes.items()},
        },
        folder=own_world,
    )
    execution = await run_workflow(workflow, "in", service=github)
    outputs = {name: run.outputs.get("output") for name, run in execution.nodes.items()}
    assert outputs["plain"] == {"length": 2 * len(VALUE), "input": "in"}
    assert outputs["later"] == ["later", len(VALUE)]
    assert outputs["anything"] == ["a", "b"]
    assert outputs["deep"] == 42
    for name, said in (
        ("no-module", "no module 'my_functions_2'"),
        ("no-function", "does not define a function 'nope'"),
        ("no-callable", "does not define a function 'value'"),
        ("missing", "token"),
        ("wrong", "{{secrets.github.token}}"),
    ):
        assert said in execution.nodes[name].error["message"]
        assert VALUE not in execution.nodes[name].error["message"]
    with pytest.raises(WorkflowError):
        Workflow.from_dict(
            {
                "sealflow": 1,
                "name": "w",
                "nodes": {"a": {"type": "function", "config": {"call": "os.system:"}}},
            }
        )


async def test_transform_picks_from_its_input():
    document = {
        "sealflow": 1,
        "name": "w",
        "nodes": {
            "a": {"type": "transform", "config": {"expression": "items[?n > `1`].n"}},
            "b": {"type": "transform", "config": {"expression": "length(@)"}},
        },
    }
    execution = await run_workflow(Workflow.from_dict(document), {"items": [{"n": 1}, {"n": 2}]})
    assert execution.nodes["a"].outputs["output"] == [2]
    execution = await run_workflow(Workflow.from_dict(document), 5)
    assert "expression" in execution.nodes["b"].error["message"]


async def test_an_error_of_resolving_is_one_of_ours(github):
    async with Resolver(github) as resolver:
        with pytest.raises(SecretNotFoundError):
            await resolver.resolve_config({"x": "{{secrets.none.x}}"})


@node("alarm", outputs=("output", "error"))
def alarm(output):
    return Outputs(error=output, output="beside it")


@pytest.mark.parametrize(
    ("output", "error"),
    [
        ({"type": "Odd", "message": "it is odd"}, {"type": "Odd", "message": "it is odd"}),
        ("odd", {"type": "ErrorOutput", "message": "the node gave data on its port error"}),
        (
            [{"type": "Odd", "message": "a"}, {}],
            {"type": "Odd", "message": "2 items failed, the first with: a"},
        ),
    ],
)
async def test_data_on_an_error_port_that_no_link_takes_up_fails_the_node(output, error):
    workflow = Workflow(
        "w",
        [alarm.node("a", {"output": output}), collect("after"), collect("other")],
        ["a.output -> after.input"],
    )
    execution = await run_workflow(workflow)
    assert {name: run.state.value for name, run in execution.nodes.items()} == {
        "a": "failed",
        "after": "skipped",
        "other": "completed",
    }
    assert execution.status == "failed"
    assert execution.nodes["a"].error == error
    assert execution.nodes["a"].outputs["error"] == output


async def test_data_on_an_error_port_that_a_link_takes_up_is_not_a_failure():
    workflow = Workflow("w", [alarm.node("a", {"output": "odd"}), collect("b")], ["a.error -> b.input"])
    execution = await run_workflow(workflow)
    assert execution.status == "completed"
    assert execution.nodes["b"].state == "completed"
