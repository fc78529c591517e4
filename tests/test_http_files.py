"""Files in the body of the HTTP node, and what may name them."""

from __future__ import annotations

import email
import email.policy

import pytest
from aiohttp import web

from sealflow import NodeConfigError, TrustError, Workflow, run_workflow
from sealflow.workflow.nodes.http_request import HttpRequestNode


@pytest.fixture
def uploads(server):
    """A server that answers with the parts of the form that it reads."""

    async def read(request):
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + await request.read(), policy=email.policy.HTTP)
        parts = [
            [
                part.get_param("name", header="Content-Disposition"),
                part.get_param("filename", header="Content-Disposition"),
                part.get("Content-Type"),
                part.get_payload(decode=True).decode(),
            ]
            for part in form.iter_parts()
        ]
        return web.json_response(parts)

    server.on("/form", read)
    return server


async def run(folder, service, config, inputs=None, *, trusted=True):
    document = {
        "sealflow": 1,
        "name": "w",
        "nodes": {"n": {"type": "http-request", "config": {"method": "POST", **config}}},
    }
    workflow = Workflow.from_dict(document, trusted=trusted, folder=folder)
    return (await run_workflow(workflow, inputs, service=service)).nodes["n"]


async def test_fields_and_files_are_sent_as_a_form(tmp_path, service, uploads):
    service.create_secret("k", "api_key", {"value": "form-hunter2"})
    (tmp_path / "report.csv").write_text("a,b")
    node = await run(
        tmp_path,
        service,
        {
            "url": f"{uploads.url}/form",
            "body": {"token": "{{secrets.k.value}}", "many": [1, True], "none": None},
            "files": {
                "first": {"file": "report.csv"},
                "second": {"file": "report.csv", "content_type": "text/x-own", "filename": 'a"b\r\nc'},
            },
        },
    )
    assert node.state == "completed", node.error
    assert node.outputs["output"]["body"] == [
        ["token", None, None, "***"],
        ["many", None, None, "1"],
        ["many", None, None, "true"],
        ["first", "report.csv", "text/csv", "a,b"],
        ["second", "a%22b%0D%0Ac", "text/x-own", "a,b"],
    ]
    assert "form-hunter2" in uploads.seen[0].body


async def test_a_form_without_files_is_sent_as_multipart_if_asked_for(tmp_path, service, uploads):
    config = {"url": f"{uploads.url}/form", "body": {"a": "b"}, "body_type": "multipart"}
    node = await run(tmp_path, service, config)
    assert node.outputs["output"]["body"] == [["a", None, None, "b"]]


async def test_a_file_is_the_whole_body(tmp_path, service, server):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "data.json").write_text('{"a": 1}')
    await run(tmp_path, service, {"url": server.url, "body_file": "sub/data.json"})
    assert server.seen[0].body == '{"a": 1}'
    assert server.seen[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "file", ["../outside", "link", "/etc/hostname", "missing", ".", "sub/../../outside", "a\0b"]
)
async def test_a_file_outside_the_folder_is_refused(tmp_path, service, server, file):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "outside").write_text("outside")
    (folder / "link").symlink_to(tmp_path / "outside")
    node = await run(folder, service, {"url": server.url, "body_file": file})
    assert node.error["type"] == "NodeConfigError"
    node = await run(folder, service, {"url": server.url, "files": {"f": {"file": file}}})
    assert node.error["type"] == "NodeConfigError"
    assert server.seen == []


@pytest.mark.parametrize("config", [{"body_file": "a"}, {"files": {"f": {"file": "a"}}}])
def test_files_need_a_trusted_folder(tmp_path, config):
    document = {
        "sealflow": 1,
        "name": "w",
        "nodes": {"n": {"type": "http-request", "config": {"url": "https://x/", **config}}},
    }
    with pytest.raises(TrustError):
        Workflow.from_dict(document, trusted=False, folder=tmp_path)


@pytest.mark.parametrize("text", ["{{input.name}}", "{{secrets.k.value}}", "{{env.HOME}}"])
def test_neither_data_nor_a_secret_names_a_file(text):
    for config in ({"body_file": text}, {"files": {"f": {"file": text}}}):
        with pytest.raises(NodeConfigError):
            HttpRequestNode("n", {"url": "https://x/", **config})


async def test_data_in_a_form_does_not_name_a_file(tmp_path, service, server):
    (tmp_path / "a").write_text("content")
    config = {"url": server.url, "body_type": "multipart"}
    node = await run(tmp_path, service, config, {"body": {"f": {"file": "a"}}})
    assert "body.f" in node.error["message"]
    assert server.seen == []


async def test_a_file_that_holds_a_secret_does_not_go_to_a_host_without_leave(
    tmp_path, service, server, second_server
):
    service.create_secret(
        "k", "api_key", {"value": "file-hunter2"}, allowed_hosts=[f"127.0.0.1:{server.port}"]
    )
    (tmp_path / "a").write_text("before file-hunter2 behind")
    document = {
        "sealflow": 1,
        "name": "w",
        "nodes": {
            "first": {"type": "http-request", "config": {"url": server.url, "auth": {"secret": "k"}}},
            "n": {
                "type": "http-request",
                "config": {"method": "POST", "url": second_server.url, "files": {"f": {"file": "a"}}},
            },
        },
        "links": ["first.output -> n.input"],
    }
    execution = await run_workflow(Workflow.from_dict(document, folder=tmp_path), service=service)
    (tmp_path / "a").unlink()
    assert execution.nodes["n"].error["type"] == "HostNotAllowedError"
    assert second_server.seen == []


@pytest.mark.parametrize(
    "config",
    [
        {"body_file": "a", "body": "b"},
        {"body_file": "a", "files": {"f": {"file": "a"}}},
        {"files": {"f": {"file": "a"}}, "body_type": "json"},
        {"files": {"f": {"file": "a"}}, "body": "text"},
        {"body_type": "multipart", "body": {"a": {"b": 1}}},
    ],
)
async def test_bodies_that_do_not_fit_together_are_refused(tmp_path, service, server, config):
    (tmp_path / "a").write_text("content")
    node = await run(tmp_path, service, {"url": server.url, **config})
    assert node.error["type"] == "NodeConfigError"
    assert server.seen == []
