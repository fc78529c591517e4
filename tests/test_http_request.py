from __future__ import annotations

import asyncio
import base64
import gzip
import json
import ssl

import pytest
import trustme
from aiohttp import web

from sealflow import NodeConfigError, Workflow, run_workflow
from sealflow.workflow.nodes.http_client import parsed_body
from sealflow.workflow.nodes.http_request import HttpRequestNode
from servers import HttpServer

VALUES = {
    "key": "k-hunter2",
    "password": "p-hunter2",
    "token": "t-hunter2",
    "access": "a-hunter2",
    "custom": "c-hunter2",
}


@pytest.fixture
def secrets(service):
    service.create_secret("key", "api_key", {"value": VALUES["key"]})
    service.create_secret("account", "basic_auth", {"username": "us-er", "password": VALUES["password"]})
    service.create_secret("bearer", "bearer_token", {"token": VALUES["token"]})
    service.create_secret(
        "oauth", "oauth", {"client_id": "c-id", "client_secret": "c-secret", "access_token": VALUES["access"]}
    )
    service.create_secret(
        "custom", "custom", {"deep": {"list": [VALUES["custom"], 5]}, "timeout": 7, "flag": True}
    )
    service.create_secret("fresh", "oauth", {"client_id": "c-id", "client_secret": "c-secret"})
    return service


async def run(service, config, inputs=None, **node):
    document = {
        "sealflow": 1,
        "name": "w",
        "nodes": {"n": {"type": "http-request", "config": config, **node}},
    }
    execution = await run_workflow(Workflow.from_dict(document), inputs, service=service)
    for value in VALUES.values():
        assert value not in execution.to_json()
        assert base64.b64encode(value.encode()).decode().rstrip("=") not in execution.to_json()
    return execution.nodes["n"]


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("auth", "header", "sent"),
    [
        ({"type": "none"}, "Authorization", None),
        (
            {
                "type": "basic",
                "username": "{{secrets.account.username}}",
                "password": "{{secrets.account.password}}",
            },
            "Authorization",
            basic("us-er", VALUES["password"]),
        ),
        ({"type": "basic", "username": "ü", "password": "in:line"}, "Authorization", basic("ü", "in:line")),
        (
            {"type": "bearer", "token": "{{secrets.bearer.token}}"},
            "Authorization",
            f"Bearer {VALUES['token']}",
        ),
        ({"type": "bearer", "token": "inline"}, "Authorization", "Bearer inline"),
        (
            {"type": "headers", "headers": {"X-Mine": "v {{secrets.custom.deep.list.0}}", "X-N": 5}},
            "X-Mine",
            f"v {VALUES['custom']}",
        ),
        ({"secret": "account"}, "Authorization", basic("us-er", VALUES["password"])),
        ({"secret": "bearer"}, "Authorization", f"Bearer {VALUES['token']}"),
        ({"secret": "oauth"}, "Authorization", f"Bearer {VALUES['access']}"),
        ({"secret": "key"}, "X-API-Key", VALUES["key"]),
        ({"secret": "key", "header": "X-Other"}, "X-Other", VALUES["key"]),
        ({"secret": "local:key"}, "X-API-Key", VALUES["key"]),
        ({"secret": "{{secrets.key}}"}, "X-API-Key", VALUES["key"]),
        (
            {"secret": "bearer", "type": "bearer", "token": "inline"},
            "Authorization",
            f"Bearer {VALUES['token']}",
        ),
    ],
)
async def test_every_form_of_auth_sends_its_header(secrets, server, auth, header, sent):
    node = await run(secrets, {"url": f"{server.url}/x", "auth": auth})
    assert node.state == "completed", node.error
    assert server.seen[0].headers.get(header) == sent


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"secret": "fresh"}, "no access_token"),
        ({"secret": "custom"}, "fields are"),
        ({"type": "basic", "username": "a:b", "password": "x"}, "colon"),
        ({"secret": "kye"}, "'key'"),
    ],
)
async def test_auth_that_says_nothing_fails_the_node(secrets, server, auth, said):
    node = await run(secrets, {"url": server.url, "auth": auth})
    assert node.state == "failed"
    assert said in node.error["message"]
    assert server.seen == []


async def test_references_work_anywhere_in_the_config(secrets, server):
    config = {
        "method": "{{secrets.method.value}}",
        "url": server.url + "/{{secrets.key.value}}/x?fixed=1",
        "query": {
            "q": "{{secrets.bearer.token}}",
            "many": ["{{secrets.account.password}}", 2, True],
            "n": "{{secrets.custom.timeout}}",
            "none": None,
        },
        "headers": {
            "X-Deep": "<{{secrets.custom.deep.list.0}}|{{secrets.key.value}}>",
            "X-N": "{{secrets.custom.timeout}}",
        },
        "body": {
            "a": [{"b": "{{secrets.oauth.access_token}}"}, "{{secrets.custom.deep}}"],
            "flag": "{{secrets.custom.flag}}",
            "escaped": "\\{{secrets.x.y}}",
        },
        "timeout": "{{secrets.custom.timeout}}",
    }
    secrets.create_secret("method", "api_key", {"value": "post"})
    node = await run(secrets, config)
    assert node.state == "completed", node.error
    (seen,) = server.seen
    assert seen.method == "POST"
    assert seen.path == f"/{VALUES['key']}/x"
    assert seen.query == {
        "fixed": ["1"],
        "q": [VALUES["token"]],
        "many": [VALUES["password"], "2", "true"],
        "n": ["7"],
    }
    assert seen.headers["X-Deep"] == f"<{VALUES['custom']}|{VALUES['key']}>"
    assert seen.headers["X-N"] == "7"
    assert json.loads(seen.body) == {
        "a": [{"b": VALUES["access"]}, {"list": [VALUES["custom"], 5]}],
        "flag": True,
        "escaped": "{{secrets.x.y}}",
    }


async def test_a_resolved_value_of_a_wrong_type_is_refused_before_the_request(secrets, server):
    node = await run(secrets, {"url": server.url, "timeout": "{{secrets.key.value}}"})
    assert node.error["type"] == "NodeConfigError"
    assert "{{secrets.key.value}}" in node.error["message"]
    assert server.seen == []


@pytest.mark.parametrize(
    ("config", "sent"),
    [
        (
            {
                "headers": {"authorization": "inline"},
                "auth": {"type": "bearer", "token": "{{secrets.bearer.token}}"},
            },
            f"Bearer {VALUES['token']}",
        ),
        (
            {
                "headers": {"authorization": "mine {{secrets.key.value}}"},
                "auth": {"type": "bearer", "token": "inline"},
            },
            f"mine {VALUES['key']}",
        ),
        (
            {
                "headers": {"Authorization": "x {{secrets.key.value}}"},
                "auth": {"type": "bearer", "token": "{{secrets.bearer.token}}"},
            },
            f"Bearer {VALUES['token']}",
        ),
        (
            {"headers": {"Authorization": "inline"}, "auth": {"type": "bearer", "token": "auth-inline"}},
            "Bearer auth-inline",
        ),
    ],
)
async def test_a_reference_wins_over_an_inline_credential(secrets, server, config, sent):
    await run(
        secrets,
        {"url": server.url, **config},
        {"headers": {"AUTHORIZATION": "from input"}} if "secrets" in str(config) else None,
    )
    assert server.seen[0].headers["Authorization"] == sent


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def test_every_method_is_sent(service, server, method):
    node = await run(service, {"url": server.url, "method": method})
    assert server.seen[0].method == method
    output = node.outputs["output"]
    assert output["status_code"] == 200
    assert output["request"]["method"] == method
    assert output["request"]["url"] == server.url
    assert output["request"]["timestamp"].endswith("Z")
    assert (output["body"] is None) is (method == "HEAD")


@pytest.mark.parametrize(
    ("config", "content_type", "body"),
    [
        ({"body": {"a": "ü"}}, "application/json", '{"a": "ü"}'),
        ({"body": [1], "body_type": "json"}, "application/json", "[1]"),
        ({"body": "text", "body_type": "json"}, "application/json", '"text"'),
        ({"body": 5}, "application/json", "5"),
        (
            {"body": {"a": "x y", "b": [1, True]}, "body_type": "form"},
            "application/x-www-form-urlencoded",
            "a=x+y&b=1&b=true",
        ),
        ({"body": "plain"}, "text/plain; charset=utf-8", "plain"),
        ({"body": {"a": 1}, "body_type": "text"}, "text/plain; charset=utf-8", '{"a": 1}'),
        ({"body": "bytes", "body_type": "raw"}, "application/octet-stream", "bytes"),
        ({"body": "<x/>", "headers": {"content-type": "text/xml"}}, "text/xml", "<x/>"),
        ({}, None, ""),
    ],
)
async def test_every_kind_of_body_is_sent(service, server, config, content_type, body):
    node = await run(service, {"url": server.url, "method": "POST", **config})
    assert node.state == "completed", node.error
    sent = {name.lower(): value for name, value in server.seen[0].headers.items()}
    assert content_type is None or sent["content-type"] == content_type
    assert server.seen[0].body == body


async def test_a_form_body_that_is_not_a_mapping_is_refused(service, server):
    node = await run(service, {"url": server.url, "body": "x", "body_type": "form"})
    assert "mapping" in node.error["message"]


@pytest.mark.parametrize(
    ("content", "content_type", "charset", "body"),
    [
        (b'{"a": 1}', "application/json", None, {"a": 1}),
        (b'{"a": 1}', "application/problem+json; charset=utf-8", "utf-8", {"a": 1}),
        (b"{broken", "application/json", None, "{broken"),
        (b"[" * 100_000, "application/json", None, "[" * 100_000),
        (b"\xfc", "text/plain; charset=latin-1", "latin-1", "ü"),
        (b"\xfc", "text/plain; charset=nonsense", "nonsense", "\ufffd"),
        (b"<a/>", "application/atom+xml", None, "<a/>"),
        (b"\x89PNG\xff", "image/png", None, b"\x89PNG\xff"),
        (b"", "application/json", None, None),
        (b"x", "", None, "x"),
        (b"\xff", "", None, b"\xff"),
    ],
)
def test_a_response_is_read_by_its_content_type(content, content_type, charset, body):
    assert parsed_body(content, content_type, charset) == body


async def test_a_compressed_response_and_repeated_headers_are_read(service, server):
    async def zipped(_):
        response = web.Response(
            body=gzip.compress(b'{"a": 1}'),
            headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
        )
        response.headers.add("Set-Cookie", "a=1")
        response.headers.add("Set-Cookie", "b=2")
        return response

    server.on("/x", zipped)
    output = (await run(service, {"url": f"{server.url}/x"})).outputs["output"]
    assert output["body"] == {"a": 1}
    assert output["headers"]["Set-Cookie"] == "a=1, b=2"


async def test_binary_responses_are_printed_as_base64(service, server):
    server.answer("/x", body=b"\x00\xff", content_type="image/png")
    assert (await run(service, {"url": f"{server.url}/x"})).outputs["output"]["body"] == {"base64": "AP8="}


@pytest.mark.parametrize("status", [400, 401, 404, 418, 500, 503])
async def test_an_answer_that_was_not_expected_goes_to_the_error_port(service, server, status):
    server.answer("/x", status=status, text="no", headers={"X-Why": "because"})
    node = await run(service, {"url": f"{server.url}/x"})
    error = node.outputs["error"]
    assert (error["type"], error["request"]["method"]) == ("UnexpectedStatus", "GET")
    assert error["message"] == f"the server answered {status}; expected: 2xx, 3xx"
    assert (error["response"]["status_code"], error["response"]["body"]) == (status, "no")
    assert error["response"]["headers"]["X-Why"] == "because"
    assert "output" not in node.outputs


async def test_an_error_that_no_link_takes_up_fails_the_node(service, server):
    server.answer("/x", status=500)
    node = await run(service, {"url": f"{server.url}/x"})
    assert node.state == "failed"
    assert node.error == {
        "type": "UnexpectedStatus",
        "message": "the server answered 500; expected: 2xx, 3xx",
    }


@pytest.mark.parametrize(
    ("expect", "status"),
    [
        ("any", 500),
        (404, 404),
        ("404", 404),
        ([200, 404], 404),
        (["2xx", 404], 204),
        ("4XX", 418),
        (["any"], 500),
    ],
)
async def test_an_answer_with_an_expected_status_is_the_output(service, server, expect, status):
    server.answer("/x", status=status)
    node = await run(service, {"url": f"{server.url}/x", "expect": expect})
    assert node.state == "completed"
    assert node.outputs["output"]["status_code"] == status


@pytest.mark.parametrize(("expect", "status"), [(200, 201), ([200, 404], 500), ("2xx", 304), ("5xx", 200)])
async def test_expect_replaces_the_default(service, server, expect, status):
    server.answer("/x", status=status)
    node = await run(service, {"url": f"{server.url}/x", "expect": expect})
    assert node.outputs["error"]["response"]["status_code"] == status


@pytest.mark.parametrize("expect", [[], "6xx", 99, "2x", "ok", None, {"a": 1}, "{{input.status}}"])
def test_an_expect_that_is_not_a_status_is_refused(expect):
    with pytest.raises(NodeConfigError, match="expect"):
        HttpRequestNode("n", {"url": "http://x/", "expect": expect})


async def test_a_refused_connection_goes_to_the_error_port(service):
    node = await run(service, {"url": "http://127.0.0.1:1/x?a=b"})
    assert node.state == "failed"
    assert node.outputs["error"]["type"] == "ConnectionError"
    assert "127.0.0.1:1" in node.outputs["error"]["message"]
    assert node.outputs["error"]["request"]["url"] == "http://127.0.0.1:1/x?a=b"
    assert "output" not in node.outputs


async def test_a_timeout_goes_to_the_error_port(service, server):
    async def never(_):
        await asyncio.sleep(60)

    server.on("/x", never)
    node = await run(service, {"url": f"{server.url}/x", "timeout": 0.1})
    assert node.outputs["error"]["type"] == "TimeoutError"
    assert "0.1" in node.outputs["error"]["message"]


async def test_a_broken_answer_goes_to_the_error_port(service, server):
    async def half(request):
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        request.transport.abort()
        return response

    server.on("/x", half)
    node = await run(service, {"url": f"{server.url}/x"})
    assert node.outputs["error"]["type"] == "ConnectionError"


async def test_a_response_that_is_too_large_goes_to_the_error_port(service, server):
    server.answer("/x", body=gzip.compress(b"\0" * 5_000_000), headers={"Content-Encoding": "gzip"})
    node = await run(service, {"url": f"{server.url}/x", "max_response_bytes": 100_000})
    assert node.outputs["error"]["type"] == "ResponseTooLarge"


RETRY = {"attempts": 3, "delay": 0}


async def test_a_busy_server_is_tried_again(service, server):
    answers = iter([503, 429, 200])

    async def busy(_):
        return web.Response(status=next(answers), headers={"Retry-After": "0"})

    server.on("/x", busy)
    node = await run(service, {"url": f"{server.url}/x"}, retry=RETRY)
    assert (node.attempts, node.outputs["output"]["status_code"]) == (3, 200)


async def test_a_network_error_is_tried_again(service):
    node = await run(service, {"url": "http://127.0.0.1:1/"}, retry=RETRY)
    assert (node.attempts, node.outputs["error"]["type"]) == (3, "ConnectionError")


async def test_the_last_answer_of_a_busy_server_is_the_error(service, server):
    server.answer("/y", status=503)
    node = await run(service, {"url": f"{server.url}/y"}, retry=RETRY)
    assert (node.attempts, node.state) == (3, "failed")
    assert node.outputs["error"]["response"]["status_code"] == 503


async def test_the_last_answer_of_a_busy_server_is_the_output_if_it_is_expected(service, server):
    server.answer("/y", status=503)
    node = await run(service, {"url": f"{server.url}/y", "expect": "any"}, retry=RETRY)
    assert (node.attempts, node.outputs["output"]["status_code"]) == (3, 503)


async def test_input_data_overrides_parts_of_the_request(service, server):
    inputs = {
        "url": f"{server.url}/input",
        "headers": {"X-A": "input", "Host": "evil", "X-N": 5},
        "query": {"b": ["2", 3]},
        "body": {"from": "input"},
        "other": 1,
    }
    config = {
        "url": f"{server.url}/config",
        "method": "POST",
        "headers": {"X-A": "config", "X-B": "config"},
        "query": {"a": 1, "b": 1},
        "body": "config",
    }
    await run(service, config, inputs)
    (seen,) = server.seen
    assert seen.path == "/input"
    assert (seen.headers["X-A"], seen.headers["X-B"], seen.headers["X-N"]) == ("input", "config", "5")
    assert seen.headers["Host"] == f"127.0.0.1:{server.port}"
    assert seen.query == {"a": ["1"], "b": ["2", "3"]}
    assert json.loads(seen.body) == {"from": "input"}


async def test_ports_override_parts_and_a_response_on_input_does_not(service, server):
    document = {
        "sealflow": 1,
        "name": "w",
        "nodes": {
            "first": {"type": "http-request", "config": {"url": f"{server.url}/first"}},
            "pick": {"type": "transform", "config": {"expression": "body.path"}},
            "second": {"type": "http-request", "config": {"url": f"{server.url}/second", "method": "POST"}},
        },
        "links": ["first.output -> pick.input", "pick.output -> second.body", "first.output -> second.input"],
    }
    execution = await run_workflow(Workflow.from_dict(document), service=service)
    assert execution.status == "completed"
    assert server.seen[1].body == "/first"
    assert "Date" not in server.seen[1].headers


@pytest.mark.parametrize("inputs", [{"url": 5}, {"headers": "x"}, {"query": [1]}])
async def test_input_data_of_a_wrong_shape_fails_the_node(service, server, inputs):
    node = await run(service, {"url": server.url}, inputs)
    assert node.state == "failed"
    assert next(iter(inputs)) in node.error["message"]


async def test_input_data_is_not_searched_for_references(secrets, server):
    await run(
        secrets,
        {"url": server.url, "method": "POST"},
        {"body": "{{secrets.key.value}}", "headers": {"X-A": "{{secrets.key.value}}"}},
    )
    assert server.seen[0].body == "{{secrets.key.value}}"
    assert server.seen[0].headers["X-A"] == "{{secrets.key.value}}"


@pytest.mark.parametrize(
    "url",
    ["", "ftp://x/", "http://", "//x", "http://a b/", "x", "http://a\\@b/", "http://[::1", "http://x:99999/"],
)
async def test_an_impossible_url_fails_the_node(secrets, url):
    node = await run(secrets, {"url": url, "headers": {"X": "{{secrets.key.value}}"}})
    assert node.state == "failed" or "error" in node.outputs


async def test_a_url_that_is_missing_fails_the_node(service):
    assert "no url" in (await run(service, {})).error["message"]


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b"])
async def test_a_line_break_in_a_header_is_refused_without_the_value(service, server, value):
    service.create_secret("pem", "custom", {"v": value})
    node = await run(service, {"url": server.url, "headers": {"X-A": "{{secrets.pem.v}}"}})
    assert "line break" in node.error["message"]
    assert "Evil" not in node.error["message"]
    assert server.seen == []


async def test_a_header_name_that_http_does_not_allow_is_refused(service, server):
    assert "name" in (await run(service, {"url": server.url, "headers": {"X A": "1"}})).error["message"]


async def test_credentials_in_the_url_are_sent_and_not_shown(secrets, server):
    node = await run(
        secrets, {"url": f"http://us-er:{{{{secrets.account.password}}}}@127.0.0.1:{server.port}/x"}
    )
    assert server.seen[0].headers["Authorization"] == basic("us-er", VALUES["password"])
    assert node.outputs["output"]["request"]["url"] == f"http://127.0.0.1:{server.port}/x"


def redirect(status, location):
    async def handler(_):
        return web.Response(status=status, headers={"Location": location})

    return handler


@pytest.mark.parametrize(
    ("status", "method", "kept"),
    [(301, "GET", False), (302, "GET", False), (303, "GET", False), (307, "POST", True), (308, "POST", True)],
)
async def test_redirects_to_the_same_origin_keep_the_credentials(secrets, server, status, method, kept):
    server.on("/a", redirect(status, "b?x=1"))
    node = await run(
        secrets,
        {
            "url": f"{server.url}/a",
            "method": "POST",
            "auth": {"secret": "key"},
            "body": {"t": "{{secrets.bearer.token}}"},
        },
    )
    seen = server.at("/b")[0]
    assert (seen.method, bool(seen.body)) == (method, kept)
    assert seen.headers["X-API-Key"] == VALUES["key"]
    assert node.outputs["output"]["status_code"] == 200


async def test_a_redirect_can_be_left_alone(secrets, server):
    server.on("/a", redirect(302, "/a"))
    node = await run(secrets, {"url": f"{server.url}/a", "follow_redirects": False})
    assert node.outputs["output"]["status_code"] == 302


async def test_redirects_in_a_circle_end(secrets, server):
    server.on("/a", redirect(302, "/a"))
    node = await run(secrets, {"url": f"{server.url}/a", "max_redirects": 3})
    assert node.outputs["error"]["type"] == "TooManyRedirects"
    assert len(server.seen) == 4


@pytest.mark.parametrize("location", ["ftp://x/", "http://[", "javascript:x"])
async def test_a_redirect_to_something_unusable_goes_to_the_error_port(secrets, server, location):
    server.on("/b", redirect(302, location))
    node = await run(secrets, {"url": f"{server.url}/b"})
    assert node.outputs["error"]["type"] == "InvalidRedirect"


async def test_a_redirect_to_another_origin_carries_no_secret(secrets, server, second_server):
    server.on("/a", redirect(302, f"{second_server.url}/elsewhere"))
    headers = {"X-Mine": "v {{secrets.bearer.token}}", "X-Plain": "plain", "Cookie": "inline=1"}
    await run(
        secrets,
        {
            "url": f"{server.url}/a",
            "auth": {"secret": "account"},
            "headers": headers,
            "query": {"k": "{{secrets.key.value}}"},
        },
    )
    (seen,) = second_server.seen
    assert seen.headers["X-Plain"] == "plain"
    assert not {"Authorization", "X-Mine", "Cookie"} & set(seen.headers)
    assert not any(value in str(seen) for value in VALUES.values())


@pytest.mark.parametrize(
    "location", ["{url}/x?leak=k-hunter2", "{url}/x?leak=%6b-hunter2", "{url}/k-hunter2"]
)
async def test_a_redirect_that_carries_a_secret_to_another_origin_is_refused(
    secrets, server, second_server, location
):
    server.on("/a", redirect(302, location.format(url=second_server.url)))
    node = await run(secrets, {"url": f"{server.url}/a", "auth": {"secret": "key"}})
    assert node.error["type"] == "HostNotAllowedError"
    assert second_server.seen == []


async def test_a_body_with_a_secret_is_not_redirected_to_another_origin(secrets, server, second_server):
    server.on("/a", redirect(307, f"{second_server.url}/x"))
    node = await run(
        secrets, {"url": f"{server.url}/a", "method": "POST", "body": {"k": "{{secrets.key.value}}"}}
    )
    assert node.error["type"] == "HostNotAllowedError"
    assert second_server.seen == []


@pytest.fixture
def here(service, server):
    """A service with a secret that only the first server may have."""
    hosts = [f"127.0.0.1:{server.port}"]
    service.create_secret("here", "api_key", {"value": "h-hunter2"}, allowed_hosts=hosts)
    return service


async def test_a_secret_goes_to_the_hosts_that_its_owner_allows(here, server):
    node = await run(here, {"url": server.url, "auth": {"secret": "here"}})
    assert node.state == "completed"


async def test_a_secret_goes_to_no_other_host(here, second_server):
    node = await run(here, {"url": second_server.url, "auth": {"secret": "here"}})
    assert node.error["type"] == "HostNotAllowedError"
    assert second_server.seen == []


async def test_a_redirect_to_a_host_that_is_not_allowed_is_followed_without_the_secret(
    here, server, second_server
):
    """A download from a presigned address: the policy names the API and not the storage."""
    server.on("/a", redirect(302, f"{second_server.url}/file?signature=abc"))
    node = await run(
        here,
        {"url": f"{server.url}/a", "auth": {"secret": "here"}, "query": {"k": "{{secrets.here.value}}"}},
    )
    assert node.outputs["output"]["status_code"] == 200
    (seen,) = second_server.seen
    assert (seen.path, seen.query) == ("/file", {"signature": ["abc"]})
    assert "h-hunter2" not in str(seen)


async def test_a_url_from_input_needs_allowed_hosts(service, server):
    service.create_secret("free", "api_key", {"value": "f-hunter2"})
    node = await run(service, {"auth": {"secret": "free"}}, {"url": server.url})
    assert node.error["type"] == "HostNotAllowedError"
    assert server.seen == []


async def test_a_url_from_input_may_get_a_secret_that_allows_its_host(service, server):
    service.create_secret("bound", "api_key", {"value": "b-hunter2"}, allowed_hosts=["127.0.0.1"])
    node = await run(service, {"auth": {"secret": "bound"}}, {"url": server.url})
    assert node.state == "completed"


async def test_a_url_from_input_needs_nothing_without_a_secret(service, server):
    assert (await run(service, {}, {"url": server.url})).state == "completed"


@pytest.mark.parametrize("host", ["example.test", "10.0.0.1", "2130706433", "0x7f000001"])
async def test_secrets_go_without_tls_to_loopback_alone(secrets, host):
    node = await run(secrets, {"url": f"http://{host}/", "auth": {"secret": "key"}, "timeout": 5})
    assert node.error["type"] == "HostNotAllowedError"


async def test_plain_http_can_be_allowed_for_a_network_that_one_trusts(secrets):
    node = await run(
        secrets,
        {"url": "http://name.invalid/", "auth": {"secret": "key"}, "insecure_http": True, "timeout": 20},
    )
    assert node.outputs["error"]["type"] in ("ConnectionError", "TimeoutError")


async def test_a_proxy_reads_plain_http_so_loopback_is_no_exception(secrets, server):
    config = {"url": "http://127.0.0.1:1/x", "proxy": server.url}
    assert (await run(secrets, {**config, "auth": {"secret": "key"}})).error["type"] == "HostNotAllowedError"
    node = await run(secrets, config)
    assert node.outputs["output"]["status_code"] == 200
    assert server.seen[0].headers["Host"] == "127.0.0.1:1"
    node = await run(secrets, {"url": "http://example.test/", "proxy": "http://127.0.0.1:1"})
    assert node.outputs["error"]["type"] == "ProxyError"


async def test_tls_is_verified_unless_told_otherwise(secrets, tmp_path):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with HttpServer(context) as server:
        config = {"url": server.url, "auth": {"secret": "key"}}
        node = await run(secrets, config)
        assert node.outputs["error"]["type"] == "TLSError"
        assert server.seen == []
        assert (await run(secrets, {**config, "ca_file": str(tmp_path / "ca.pem")})).outputs["output"][
            "status_code"
        ] == 200
        assert (await run(secrets, {**config, "verify_tls": False})).outputs["output"]["status_code"] == 200
        assert (
            "ca_file"
            in (await run(secrets, {**config, "ca_file": str(tmp_path / "nope.pem")})).error["message"]
        )


async def test_no_cookie_is_kept_between_requests(service, server):
    server.answer("/a", headers={"Set-Cookie": "session=1"})
    document = {
        "sealflow": 1,
        "name": "w",
        "nodes": {
            "a": {"type": "http-request", "config": {"url": f"{server.url}/a"}},
            "b": {"type": "http-request", "config": {"url": f"{server.url}/b"}},
        },
        "links": ["a.output -> b.input"],
    }
    await run_workflow(Workflow.from_dict(document), service=service)
    assert "Cookie" not in server.at("/b")[0].headers


async def test_the_config_shows_no_credential():
    from sealflow.workflow.nodes.http_request import HttpRequestConfig

    config = HttpRequestConfig.model_validate(
        {
            "url": "https://u:hunter2@x/",
            "auth": {"type": "bearer", "token": "hunter2"},
            "headers": {"A": "hunter2"},
            "query": {"q": ["hunter2"]},
            "body": "hunter2",
            "proxy": "http://hunter2/",
        }
    )
    assert "hunter2" not in repr(config) + str(config) + repr(config.auth) + repr(config.headers) + repr(
        config.query
    )


def test_the_node_has_a_json_schema():
    from sealflow.workflow.nodes.http_request import HttpRequestConfig

    schema = HttpRequestConfig.model_json_schema()
    assert {"url", "method", "headers", "auth", "body", "timeout"} <= set(schema["properties"])


def linked(nodes, *links):
    return Workflow.from_dict(
        {
            "sealflow": 1,
            "name": "w",
            "nodes": {
                name: {"type": "http-request", "config": config} if "url" in config else config
                for name, config in nodes.items()
            },
            "links": list(links),
        }
    )


async def test_an_answer_of_a_get_starts_a_request_and_is_not_sent(service, server):
    nodes = {"a": {"url": f"{server.url}/a"}, "b": {"url": f"{server.url}/b", "method": "POST"}}
    execution = await run_workflow(linked(nodes, "a.output -> b.input"), service=service)
    assert execution.status == "completed"
    assert server.at("/b")[0].body == ""


async def test_a_request_waits_for_two_answers(service, server):
    nodes = {name: {"url": f"{server.url}/{name}"} for name in ("a", "b", "c")}
    execution = await run_workflow(
        linked(nodes, "a.output -> c.input", "b.output -> c.input"), service=service
    )
    assert execution.status == "completed"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_an_error_on_input_does_not_send_an_empty_body(service, server, method):
    server.answer("/a", status=500)
    nodes = {"a": {"url": f"{server.url}/a"}, "b": {"url": f"{server.url}/b", "method": method}}
    execution = await run_workflow(linked(nodes, "a.error -> b.input"), service=service)
    assert "nothing of it would be sent" in execution.nodes["b"].error["message"]
    assert server.at("/b") == []


@pytest.mark.parametrize(
    "config", [{"body": {"text": "{{input.message}}"}}, {"query": {"why": "{{input.type}}"}}]
)
async def test_an_error_on_input_can_be_written_into_the_config(service, server, config):
    server.answer("/a", status=500)
    nodes = {"a": {"url": f"{server.url}/a"}, "b": {"url": f"{server.url}/b", "method": "POST", **config}}
    execution = await run_workflow(linked(nodes, "a.error -> b.input"), service=service)
    assert execution.status == "completed", execution.nodes["b"].error
    assert "expected: 2xx" in server.at("/b")[0].body or server.at("/b")[0].query == {
        "why": ["UnexpectedStatus"]
    }


async def test_an_error_can_be_the_body_of_an_alert(service, server):
    server.answer("/a", status=404, text="gone")
    nodes = {"a": {"url": f"{server.url}/a"}, "b": {"url": f"{server.url}/b", "method": "POST"}}
    execution = await run_workflow(linked(nodes, "a.error -> b.body"), service=service)
    assert execution.status == "completed"
    assert json.loads(server.at("/b")[0].body)["response"]["body"] == "gone"


@pytest.mark.parametrize("data", ["text", ["a"], [], 5, True])
async def test_data_on_input_that_is_not_a_mapping_is_refused(service, server, data):
    node = await run(service, {"url": server.url}, data)
    assert "a request takes a mapping with url, headers, query, body" in node.error["message"]
    assert server.seen == []


async def test_data_on_input_that_the_config_uses_may_have_any_shape(service, server):
    node = await run(service, {"url": f"{server.url}/{{{{input}}}}"}, "text")
    assert node.state == "completed"
    assert server.seen[0].path == "/text"


@pytest.mark.parametrize("value", [{"b": 1}, [[1]], [{"b": 1}]])
async def test_nested_data_in_a_form_is_refused(service, server, value):
    node = await run(
        service, {"url": server.url, "method": "POST", "body": {"a": value}, "body_type": "form"}
    )
    assert "body.a" in node.error["message"]
    assert server.seen == []


@pytest.mark.parametrize("part", ["headers", "query"])
async def test_nested_data_for_a_header_or_a_query_is_refused(service, server, part):
    node = await run(service, {"url": server.url}, {part: {"X-A": {"b": 1}}})
    assert f"{part}.X-A" in node.error["message"]
    assert server.seen == []


async def test_null_leaves_a_field_out_of_a_form(service, server):
    await run(
        service, {"url": server.url, "method": "POST", "body": {"a": None, "b": 1}, "body_type": "form"}
    )
    assert server.seen[0].body == "b=1"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "GET"])
async def test_a_request_without_a_body_has_no_content_type(service, server, method):
    await run(service, {"url": server.url, "method": method})
    assert "Content-Type" not in server.seen[0].headers


async def test_bytes_as_a_saved_run_has_them_are_sent_as_bytes(service, server):
    node = await run(
        service, {"url": server.url, "method": "POST", "body": {"base64": "aGVsbG8="}, "body_type": "raw"}
    )
    assert node.state == "completed", node.error
    assert server.seen[0].body == "hello"
    assert server.seen[0].headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize("text", ["a", "aGVsbG8*", 5, None])
async def test_a_body_that_is_not_valid_base64_is_refused(service, server, text):
    node = await run(
        service, {"url": server.url, "method": "POST", "body": {"base64": text}, "body_type": "raw"}
    )
    assert "not valid base64" in node.error["message"]
    assert server.seen == []
