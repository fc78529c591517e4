"""Data in configs: ``{{input…}}``, ``{{nodes…}}``, ``{{env…}}``."""

from __future__ import annotations

import pytest

import sealflow
from sealflow import BaseNode, NodeConfigError, ReferenceSyntaxError, Workflow, WorkflowError, run_workflow
from sealflow.model.references import DataPath, parse
from sealflow.workflow.nodes.http_request import HttpRequestNode


@pytest.mark.parametrize(
    ("text", "source", "path"),
    [
        ("{{input}}", "input", ()),
        ("{{input.city}}", "input", ("city",)),
        ("{{ input.items.0.name }}", "input", ("items", "0", "name")),
        ('{{input."a b".c}}', "input", ("a b", "c")),
        ("{{nodes.user.body.id}}", "nodes", ("user", "body", "id")),
        ("{{nodes.user}}", "nodes", ("user",)),
        ("{{env.HOME}}", "env", ("HOME",)),
    ],
)
def test_a_piece_of_data_is_parsed_by_its_path(text, source, path):
    assert parse(text).parts == (DataPath(source, path, text),)


@pytest.mark.parametrize(
    "text",
    [
        "{{input | upper}}",
        "{{input.a + 1}}",
        "{{inputs.x}}",
        "{{Input.x}}",
        "{{nodes}}",
        "{{env}}",
        "{{env.A.b}}",
        "{{input.x",
        "{{input..x}}",
        "{{ input.x()}}",
        "{{ other }}",
    ],
)
def test_what_is_not_a_path_is_sent_as_it_is_written(text):
    assert parse(text).parts == (text,)


def test_a_backslash_makes_it_literal():
    assert parse(r"\{{input.x}}").parts == ("{{input.x}}",)


def test_data_in_a_key_is_refused():
    with pytest.raises(ReferenceSyntaxError):
        HttpRequestNode("n", {"headers": {"{{input.name}}": "x"}})


class Keep(BaseNode):
    """Keeps the config that it was given."""

    type_name = "keep-data"

    class Config(sealflow.NodeConfig):
        value: object = None

    async def process(self, context, config):
        return config.value


async def value_of(config_value, inputs=None, *more, links=()):
    workflow = Workflow("w", [*more, Keep("keep", {"value": config_value})], links)
    execution = await run_workflow(workflow, inputs)
    run = execution.nodes["keep"]
    return run.outputs.get("output") if run.error is None else run.error["message"]


@pytest.mark.parametrize("value", [1, 2.5, True, None, "text", [1, {"a": 2}], {"b": []}])
async def test_a_string_that_is_one_piece_of_data_keeps_its_type(value):
    assert await value_of({"x": ["{{input.a}}"]}, {"a": value}) == {"x": [value]}


async def test_in_a_longer_string_numbers_and_booleans_are_written_as_json():
    assert await value_of("{{input.a}}-{{input.b}}-{{input.c}}", {"a": 1, "b": True, "c": "x"}) == "1-true-x"


@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
async def test_in_a_longer_string_nothing_else_is_inserted(value):
    assert "cannot be inserted" in await value_of("a {{input.a}}", {"a": value})


async def test_what_is_missing_is_named_with_its_place():
    said = await value_of({"x": "{{input.a.b}}"}, {"a": {}})
    assert "value.x" in said
    assert "{{input.a.b}}" in said


@pytest.mark.parametrize("hostile", ["{{secrets.github.token}}", "{{env.HOME}}", r"\{{", "$&", "{{input}}"])
async def test_a_value_is_never_parsed_again(service, hostile):
    service.create_secret("github", "bearer_token", {"token": "a-token-of-github"})
    workflow = Workflow("w", [Keep("keep", {"value": "<{{input.a}}>"})])
    execution = await run_workflow(workflow, {"a": hostile}, service=service)
    assert execution.nodes["keep"].outputs["output"] == f"<{hostile}>"


async def test_the_output_of_another_node_is_there_without_a_link():
    first = Keep("first", {"value": {"id": 7}})
    assert await value_of("/users/{{nodes.first.id}}", None, first) == "/users/7"


def test_a_node_that_is_not_there_is_refused():
    with pytest.raises(WorkflowError, match="frist"):
        Workflow("w", [Keep("first"), Keep("keep", {"value": "{{nodes.frist.id}}"})])


def test_nodes_that_name_each_other_are_a_cycle():
    with pytest.raises(WorkflowError, match="cycle"):
        Workflow("w", [Keep("a", {"value": "{{nodes.b}}"}), Keep("b", {"value": "{{nodes.a}}"})])


async def test_a_node_whose_data_comes_from_a_failed_node_is_skipped():
    @sealflow.node("fails-for-data")
    def fails():
        raise ValueError("no")

    workflow = Workflow("w", [fails.node("bad"), Keep("keep", {"value": "{{nodes.bad.x}}"})])
    execution = await run_workflow(workflow)
    assert execution.nodes["keep"].state == "skipped"


async def test_a_variable_of_the_environment_is_there(monkeypatch):
    monkeypatch.setenv("CITY", "Bern")
    assert await value_of("{{env.CITY}}") == "Bern"


@pytest.mark.parametrize("name", ["WORKFLOW_SECRETS_MASTER_KEY", "SEALFLOW_CONFIG", "workflow_secrets_x"])
async def test_sealflows_own_variables_are_never_data(monkeypatch, name):
    monkeypatch.setenv(name, "a-value-of-ours")
    assert "a-value-of-ours" not in await value_of("{{env.%s}}" % name)


def test_a_folder_without_trust_reads_no_variables():
    document = {
        "sealflow": 1,
        "name": "w",
        "nodes": {"n": {"type": "http-request", "config": {"url": "https://example.com/{{env.HOME}}"}}},
    }
    with pytest.raises(sealflow.TrustError):
        Workflow.from_dict(document, trusted=False)


@pytest.mark.parametrize(
    "url",
    [
        "{{input.scheme}}://example.com/",
        "https://{{input.host}}/",
        "https://{{input.sub}}.example.com/",
        "https://example.com{{input.rest}}",
        "https://example.com:{{input.port}}/",
        "https://user:{{input.x}}@example.com/",
        "{{input.a}}{{input.b}}",
    ],
)
def test_data_never_chooses_scheme_host_or_port(url):
    with pytest.raises(NodeConfigError, match="scheme, host or port"):
        HttpRequestNode("n", {"url": url})


@pytest.mark.parametrize(
    "config",
    [
        {"auth": "{{input.auth}}"},
        {"auth": {"type": "{{input.type}}"}},
        {"auth": {"secret": "{{input.name}}"}},
        {"auth": {"secret": "key", "header": "{{input.header}}"}},
        {"auth": {"type": "headers", "headers": "{{input.headers}}"}},
        {"url": "https://example.com/%2{{input.x}}"},
        {"proxy": "{{input.proxy}}"},
        {"ca_file": "{{input.file}}"},
        {"verify_tls": "{{input.verify}}"},
        {"insecure_http": "{{input.insecure}}"},
    ],
)
def test_data_never_decides_where_a_secret_goes(config):
    with pytest.raises(NodeConfigError):
        HttpRequestNode("n", {"url": "https://example.com/", **config})


HOSTILE = [
    "../admin",
    "a/b",
    "?x=1",
    "#frag",
    "a b",
    "%2e%2e",
    "@evil.example",
    "\\..\\",
    "a&b=c",
    "ü",
    "{{x}}",
]


@pytest.mark.parametrize("value", HOSTILE)
async def test_a_value_in_a_url_is_one_segment_or_one_query_value(server, value):
    config = {"url": server.url + "/users/{{input.id}}/x?q={{input.id}}"}
    execution = await run_workflow(Workflow("w", [HttpRequestNode("n", config)]), {"id": value})
    assert execution.nodes["n"].error is None
    path, _, query = server.seen[0].target.partition("?")
    assert path.count("/") == 3
    assert query.count("=") == 1
    assert "&" not in query


@pytest.mark.parametrize("value", ["", ".", ".."])
async def test_a_value_that_would_lead_to_another_path_is_refused(server, value):
    config = {"url": server.url + "/users/{{input.id}}"}
    execution = await run_workflow(Workflow("w", [HttpRequestNode("n", config)]), {"id": value})
    assert execution.nodes["n"].state == "failed"
    assert server.seen == []


async def test_a_url_that_is_data_as_a_whole_needs_allowed_hosts(server, service):
    service.create_secret("github", "bearer_token", {"token": "a-token-of-github"})
    config = {"url": "{{input.url}}", "auth": {"secret": "github"}}
    execution = await run_workflow(
        Workflow("w", [HttpRequestNode("n", config)]), {"x": 1, "url": server.url}, service=service
    )
    assert execution.nodes["n"].error["type"] == "HostNotAllowedError"
    assert server.seen == []


@pytest.mark.parametrize("name", ["Host", "Connection", "Expect", "Proxy-Authorization"])
@pytest.mark.parametrize("whole", [True, False])
async def test_data_never_sets_a_header_that_steers_the_request(server, name, whole):
    headers = "{{input.h}}" if whole else {name: "{{input.v}}"}
    node = HttpRequestNode("n", {"url": server.url, "headers": headers})
    execution = await run_workflow(
        Workflow("w", [node]), {"x": 1, "h": {name: "close, Authorization"}, "v": "close, Authorization"}
    )
    assert execution.nodes["n"].error["type"] == "NodeConfigError"
    assert server.seen == []


async def test_data_puts_no_secret_into_the_name_of_a_form_field_written_by_hand(server, service):
    service.create_secret(
        "github", "bearer_token", {"token": "a-token-of-github"}, allowed_hosts=["127.0.0.1"]
    )
    first = Keep("first", {"value": "{{secrets.github.token}}"})
    config = {"method": "POST", "url": server.url, "body_type": "raw", "body": "{{nodes.first}}=1"}
    execution = await run_workflow(Workflow("w", [first, HttpRequestNode("n", config)]), service=service)
    assert execution.nodes["n"].error["type"] == "HostNotAllowedError"
    assert server.seen == []
