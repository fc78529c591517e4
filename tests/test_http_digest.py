"""Digest auth of the HTTP node, against a server that checks it as RFC 7616 says."""

from __future__ import annotations

import hashlib
import re

import pytest
from aiohttp import web

from sealflow import Workflow, run_workflow
from sealflow.workflow.nodes.http_request import HttpRequestNode

PASSWORD = "circle-of-life-hunter2"
AUTH = {
    "type": "digest",
    "username": "{{secrets.account.username}}",
    "password": "{{secrets.account.password}}",
}


def guarded(algorithm="SHA-256", challenge="", answer=None):
    """Return a handler that challenges, and checks the answer to its challenge."""
    hashed = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}.get(algorithm, hashlib.sha256)

    def h(text: str) -> str:
        return hashed(text.encode()).hexdigest()

    async def handler(request):
        sent = dict(re.findall(r'(\w+)="?([^",]*)"?', request.headers.get("Authorization", "")))
        if sent:
            first, second = h(f"Mufasa:a realm:{PASSWORD}"), h(f"{request.method}:{request.raw_path}")
            parts = (first, "a-nonce", sent["nc"], sent["cnonce"], "auth", second)
            if sent["response"] == h(":".join(parts)):
                if answer is not None:
                    return answer(request)
                return web.json_response({"sent": request.headers["Authorization"]})
        header = f'Digest realm="a realm", nonce="a-nonce", qop="auth", algorithm={algorithm}{challenge}'
        return web.Response(status=401, headers={"WWW-Authenticate": header})

    return handler


@pytest.fixture
def account(service, server):
    service.create_secret(
        "account",
        "basic_auth",
        {"username": "Mufasa", "password": PASSWORD},
        allowed_hosts=[f"127.0.0.1:{server.port}"],
    )
    return service


async def run(service, **config):
    execution = await run_workflow(
        Workflow("w", [HttpRequestNode("n", {"auth": AUTH, **config})]), service=service
    )
    assert PASSWORD not in execution.to_json()
    return execution.nodes["n"]


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_challenge_is_answered(account, server, algorithm, method):
    server.on("/x", guarded(algorithm))
    node = await run(account, url=f"{server.url}/x?a=b%20c", method=method, body={"a": 1})
    assert node.state == "completed", node.error
    assert [bool(seen.headers.get("Authorization")) for seen in server.seen] == [False, True]
    assert {seen.body for seen in server.seen} == {'{"a": 1}'}
    assert PASSWORD not in str(server.seen)


async def test_the_answer_to_a_challenge_is_masked(account, server):
    server.on("/x", guarded())
    node = await run(account, url=f"{server.url}/x")
    sent = re.search('response="([0-9a-f]+)"', server.seen[1].headers["Authorization"])[1]
    assert sent not in str(node.outputs)
    assert 'response="***"' in node.outputs["output"]["body"]["sent"]


async def test_a_wrong_password_is_not_tried_again(service, server):
    service.create_secret("account", "basic_auth", {"username": "Mufasa", "password": "wrong-hunter2"})
    server.on("/x", guarded())
    node = await run(service, url=f"{server.url}/x")
    assert node.outputs["error"]["response"]["status_code"] == 401
    assert len(server.seen) <= 3


async def test_an_algorithm_that_is_not_known_is_an_error(account, server):
    server.on("/x", guarded("ROT13"))
    node = await run(account, url=f"{server.url}/x")
    assert node.error["type"] == "AuthenticationError"
    assert len(server.seen) == 1


async def test_another_origin_gets_no_answer_to_its_challenge(account, server, second_server):
    """Neither after a redirect, nor because the first server names the other in its challenge."""

    def away(_):
        return web.Response(status=302, headers={"Location": f"{second_server.url}/y"})

    server.on("/x", guarded(challenge=f', domain="{second_server.url}/ /x"', answer=away))
    second_server.on("/y", guarded())
    node = await run(account, url=f"{server.url}/x")
    assert node.error["type"] == "UnexpectedStatus"
    assert len(second_server.seen) == 1
    assert "Authorization" not in second_server.seen[0].headers


async def test_a_host_that_is_not_allowed_gets_no_request(account, second_server):
    second_server.on("/x", guarded())
    node = await run(account, url=f"{second_server.url}/x")
    assert node.error["type"] == "HostNotAllowedError"
    assert second_server.seen == []


async def test_a_username_with_a_colon_is_refused(service, server):
    service.create_secret("account", "basic_auth", {"username": "a:b", "password": PASSWORD})
    node = await run(service, url=f"{server.url}/x")
    assert "colon" in node.error["message"]
    assert server.seen == []


async def test_every_page_gets_an_answer(account, server):
    def page(request):
        return web.json_response([1] if request.query["p"] == "1" else [])

    server.on("/x", guarded(answer=page))
    paginate = {"by": "page", "parameter": "p", "items": "body"}
    node = await run(account, url=f"{server.url}/x", paginate=paginate)
    assert node.outputs["output"]["body"] == [1]
    assert [bool(seen.headers.get("Authorization")) for seen in server.seen] == [False, True, True]
