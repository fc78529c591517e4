from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

import sealflow
from sealflow import (
    BaseNode,
    NodeConfig,
    NodeConfigError,
    NodeRun,
    NodeState,
    NodeStateError,
    ReferenceSyntaxError,
    Workflow,
    WorkflowError,
    node,
    register_node,
)


@register_node
class Greet(BaseNode):
    type_name = "greet"

    class Config(NodeConfig):
        name: str
        token: SecretStr | None = None
        times: int = Field(default=1, ge=1, le=9)
        tags: list[int] = []
        kind: str = "plain"

        @field_validator("kind")
        @classmethod
        def _known(cls, kind):
            if kind not in ("plain", "warm"):
                raise ValueError(f"{kind} is unknown")
            return kind

    async def process(self, context, config):
        return {"greeting": f"Hello {config.name}" * config.times}


DOCUMENT = {
    "sealflow": 1,
    "name": "report",
    "description": "An example",
    "nodes": {
        "user": {
            "type": "http-request",
            "config": {
                "url": "https://api.example.com/user",
                "auth": {"type": "bearer", "token": "{{secrets.github.token}}"},
                "timeout": 5,
            },
            "retry": {"attempts": 3},
            "timeout": 20.0,
        },
        "names": {"type": "transform", "config": {"expression": "body.items[].name"}},
        "notify": {
            "type": "http-request",
            "config": {"method": "POST", "url": "https://hooks.example.com/in", "auth": {"secret": "hook"}},
        },
        "alert": {
            "type": "greet",
            "config": {"name": "{{secrets.a.b}} ünïcode \U0001f600", "times": "{{secrets.a.times}}"},
        },
    },
    "links": ["user.output -> names.input", "names.output -> notify.body", "user.error -> alert.input"],
}


@pytest.mark.parametrize("format", ["yaml", "json"])
def test_a_workflow_survives_its_file(tmp_path, format):
    workflow = Workflow.from_dict(DOCUMENT)
    path = tmp_path / f"w.{format}"
    text = workflow.dump(path)
    assert path.read_text(encoding="utf-8") == text
    assert "{{secrets.github.token}}" in text
    again = Workflow.load(path)
    assert again == workflow
    assert again.to_dict() == DOCUMENT
    assert Workflow.from_dict(json.loads(workflow.dump(format="json"))) == workflow
    assert sorted(item.name for item in tmp_path.iterdir() if item.is_file()) == [path.name]


def test_the_file_of_the_design_loads(tmp_path):
    (tmp_path / "w.yaml").write_text("""
sealflow: 1
name: report
nodes:
  user:
    type: http-request
    config:
      method: GET
      url: https://api.example.com/user
      query: {page: "1"}
      headers: {X-Trace: nightly}
      auth: {type: bearer, token: "{{secrets.github.token}}"}
      timeout: 5
    retry: {attempts: 3}
  names:
    type: transform                 # JMESPath, by the jmespath library
    config: {expression: "body.items[].name"}
  notify:
    type: http-request
    config: {method: POST, url: https://hooks.example.com/in, auth: {secret: hook}}
  alert:
    type: function
    config: {call: "builtins:print"}
links:
  - user.output -> names.input
  - names.output -> notify.body
  - user.error -> alert.input
""")
    workflow = Workflow.load(tmp_path / "w.yaml")
    assert [str(found.reference) for item in workflow.nodes.values() for found in item.references] == [
        "{{secrets.github.token}}",
        "{{secrets.hook}}",
    ]
    assert workflow.nodes["notify"].config["auth"] == {"secret": "hook"}


def changed(**changes):
    document = json.loads(json.dumps(DOCUMENT))
    for path, value in changes.items():
        target = document
        *above, last = path.split("__")
        for part in above:
            target = target[part]
        if value is ...:
            del target[last]
        else:
            target[last] = value
    return document


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sealflow": ...}, "sealflow: 1"),
        ({"sealflow": 2}, "format is not 1"),
        ({"sealflow": "1"}, "format is not 1"),
        ({"sealflow": True}, "format is not 1"),
        ({"name": ...}, "name"),
        ({"name": ""}, "workflow name"),
        ({"nodes": []}, "nodes"),
        ({"extra": 1}, "extra"),
        ({"nodes__user__typ": 1}, "nodes.user.typ"),
        ({"nodes__user__type": "http-reqest"}, "'http-request'"),
        ({"nodes__user__config__urll": "x"}, "nodes.user.config.urll"),
        ({"nodes__user__config__method": "FETCH"}, "nodes.user.config.method"),
        ({"nodes__user__config__auth": {"type": "beerer", "token": "{{secrets.a.b}}"}}, "auth is one of"),
        (
            {"nodes__user__config__auth": {"type": "basic", "username": "{{secrets.a.b}}"}},
            "auth.basic.password",
        ),
        ({"nodes__user__config__auth": {"secret": "no such!"}}, "auth.secret"),
        ({"nodes__user__config__auth__token": "{{secrets.github.token}"}, "nodes.user.config.auth.token"),
        ({"nodes__user__retry__attempts": 0}, "attempts"),
        ({"nodes__user__retry__atempts": 1}, "atempts"),
        ({"nodes__user__timeout": -1}, "timeout"),
        ({"nodes__bad name": {"type": "greet", "config": {"name": "x"}}}, "node name"),
        ({"nodes__alert__config__name": ...}, "nodes.alert.config.name"),
        ({"nodes__alert__config__tags": ["x"]}, "nodes.alert.config.tags"),
        ({"nodes__names__config__expression": "a["}, "JMESPath"),
        ({"links": ["user.output > names.input"]}, "not a valid link"),
        ({"links": ["usr.output -> names.input"]}, "'user'"),
        ({"links": ["user.outptu -> names.input"]}, "'output'"),
        ({"links": ["user.output -> names.inptu"]}, "'input'"),
        ({"links": ["user.output -> names.input"] * 2}, "twice"),
        ({"links": ["user.output -> names.input", "names.output -> user.body"]}, "cycle"),
        ({"links": ["user.output -> user.input"]}, "cycle"),
    ],
)
def test_a_wrong_workflow_is_refused_with_its_place(changes, said):
    with pytest.raises(sealflow.SealflowError) as caught:
        Workflow.from_dict(changed(**changes))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "text", 5, {}, {"sealflow": 1}])
def test_what_is_no_workflow_is_refused(data):
    with pytest.raises(WorkflowError):
        Workflow.from_dict(data)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("w.yaml", "a: [unclosed hunter2", "line"),
        ("w.yaml", "a: 1\na: hunter2", "twice"),
        ("w.yaml", "a: !!python/object:os.system hunter2", "tags"),
        ("w.yaml", "1: hunter2", "keys must be strings"),
        ("w.yaml", "a: !!binary aHVudGVyMg==", "tags"),
        ("w.yaml", "a: &a [*a]", "leads to itself"),
        (
            "w.yaml",
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"b{n}: &b{n} [{','.join(['*' + ('a' if n == 0 else f'b{n - 1}')] * 10)}]\n" for n in range(8)
            ),
            "large",
        ),
        ("w.json", "{hunter2", "line 1"),
        ("w.json", '{"a": 1, "a": "hunter2"}', "twice"),
        ("w.json", "[" * 100_000, "nested more than 100 levels deep (line 1, column 101)"),
        ("w.yaml", "", "mapping"),
    ],
)
def test_an_unreadable_file_is_refused_without_being_quoted(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(WorkflowError) as caught:
        Workflow.load(path)
    assert str(path) in str(caught.value)
    assert any(part in str(caught.value) for part in said.split("|"))
    assert "hunter2" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    for name in ("missing.yaml", "bytes.yaml", "."):
        with pytest.raises(WorkflowError, match="Name a workflow file"):
            Workflow.load(tmp_path / name)
    with pytest.raises(WorkflowError, match="format"):
        Workflow("w").dump(format="xml")
    with pytest.raises(WorkflowError, match="cannot be written"):
        Workflow("w").dump(tmp_path / "no" / "such" / "w.yaml")


def test_dates_and_words_in_yaml_stay_what_was_written(tmp_path):
    path = tmp_path / "w.yaml"
    path.write_text(
        "sealflow: 1\nname: w\nnodes:\n  a: {type: greet, config: {name: 2026-01-01}}\n  b: {type: greet, config: {name: yes}}\n"
    )
    workflow = Workflow.load(path)
    assert workflow.nodes["a"].config == {"name": "2026-01-01"}
    assert workflow.nodes["b"].config == {"name": "yes"}


def test_a_workflow_is_built_in_code():
    workflow = Workflow("w", [Greet("a", {"name": "x"})])
    workflow.add(Greet("b", {"name": "y"}))
    assert str(workflow.link("a.output", "b.input")) == "a.output -> b.input"
    with pytest.raises(WorkflowError, match="cycle"):
        workflow.link("b.output", "a.input")
    assert len(workflow.links) == 1
    with pytest.raises(WorkflowError, match="already"):
        workflow.add(Greet("a", {"name": "x"}))
    assert workflow.order() == ["a", "b"]
    assert "Workflow('w'" in repr(workflow)
    assert [str(link) for link in workflow.links_to("b")] == ["a.output -> b.input"]


def test_a_config_with_references_is_valid_whatever_the_field_is():
    made = Greet(
        "g",
        {
            "name": "x",
            "times": "{{secrets.a.times}}",
            "tags": ["{{secrets.a.one}}", 2],
            "kind": "{{secrets.a.kind}}",
        },
    )
    assert made.config["times"] == "{{secrets.a.times}}"
    made.config["times"] = 5
    assert made.config["times"] == "{{secrets.a.times}}"


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x", "times": 10}, "times"),
        ({"name": "x", "tags": ["hunter2", "{{secrets.a.b}}"]}, "tags[0]"),
        ({"name": "x", "kind": "hunter2"}, "kind"),
        ({"name": "x", "unknown": "{{secrets.a.b}}"}, None),
    ],
)
def test_a_config_that_no_reference_can_mend_is_refused_when_the_node_is_made(config, path):
    if path is None:
        Greet("g", config)  # said when it is resolved: the reference might have been meant for it
        return
    with pytest.raises(NodeConfigError) as caught:
        Greet("g", config)
    assert caught.value.path == path


def test_a_malformed_reference_is_refused_when_the_node_is_made():
    with pytest.raises(ReferenceSyntaxError) as caught:
        Greet("g", {"name": "Hi {{secrets.a}}"})
    assert caught.value.path == "name"


@pytest.mark.parametrize("bad", [{"name": "no name!"}, {"config": "text"}, {"timeout": 0}])
def test_a_node_that_cannot_be_is_refused(bad):
    with pytest.raises(WorkflowError):
        Greet(**{"name": "g", "config": {"name": "x"}, **bad})


def test_node_types_are_registered_once_and_by_a_usable_name():
    class Nameless(BaseNode):
        pass

    class Taken(BaseNode):
        type_name = "transform"

    for wrong in (Nameless, Taken):
        with pytest.raises(WorkflowError):
            register_node(wrong)


def test_a_function_becomes_a_node():
    @node("add-up")
    def add_up(context, a: int, b: int = 2, input=None):
        return a + b

    made = add_up.node("n", {"a": 1})
    assert isinstance(made, BaseNode)
    assert set(add_up.node_class.Config.model_fields) == {"a", "b"}
    with pytest.raises(NodeConfigError):
        add_up.node("n", {"a": "x"})
    with pytest.raises(NodeConfigError):
        add_up.node("n", {"a": 1, "c": 2})


def test_states_follow_one_another():
    run = NodeRun("n")
    for wrong in (NodeState.COMPLETED, NodeState.FAILED, NodeState.IDLE):
        with pytest.raises(NodeStateError, match="idle"):
            run.enter(wrong)
    run.enter(NodeState.RUNNING)
    with pytest.raises(NodeStateError):
        run.enter(NodeState.SKIPPED)
    run.enter(NodeState.COMPLETED)
    for wrong in NodeState:
        with pytest.raises(NodeStateError):
            run.enter(wrong)


def test_a_config_prints_no_value():
    assert "hunter2" not in repr(Greet.Config(name="hunter2")) + str(Greet.Config(name="hunter2"))


def test_any_pydantic_model_serves_as_a_config():
    class Plain(BaseModel):
        a: int
        b: int

        @model_validator(mode="after")
        def _ordered(self):
            if self.a > self.b:
                raise ValueError("a is larger than b")
            return self

    class Odd(BaseNode):
        type_name = "odd"
        Config = Plain

    Odd("o", {"a": "{{secrets.x.y}}", "b": 1})
    with pytest.raises(NodeConfigError, match="larger"):
        Odd("o", {"a": 2, "b": 1})
