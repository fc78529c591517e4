"""``paginate`` of the HTTP node against a real server."""

from __future__ import annotations

import pytest
from aiohttp import web

from sealflow import NodeConfigError, Workflow, run_workflow
from sealflow.workflow.nodes.http_pages import next_link
from sealflow.workflow.nodes.http_request import HttpRequestNode

ITEMS = [{"id": number} for number in range(1, 8)]


async def run(service, config, inputs=None):
    execution = await run_workflow(Workflow("w", [HttpRequestNode("n", config)]), inputs, service=service)
    return execution.nodes["n"]


def page_of(request) -> tuple[list[dict[str, int]], int]:
    start = int(request.query.get("from", "0"))
    return ITEMS[start : start + 3], start + 3


@pytest.fixture
def pages(server):
    """A server with seven items, three a page, that says in four ways where the next page is."""

    async def link(request):
        items, after = page_of(request)
        link = f'<?other>; rel="prev", <{request.path}?from={after}>; title="a, b"; rel="last next"'
        return web.json_response(items, headers={"Link": link} if after < len(ITEMS) else {})

    async def url(request):
        items, after = page_of(request)
        following = f"{server.url}/url?from={after}" if after < len(ITEMS) else None
        return web.json_response({"items": items, "next": following})

    async def cursor(request):
        items, after = page_of(request)
        return web.json_response({"items": items, "cursor": after if after < len(ITEMS) else ""})

    async def page(request):
        start = (int(request.query["p"]) - 1) * 3
        return web.json_response({"items": ITEMS[start : start + 3]})

    for path, handler in {"/link": link, "/url": url, "/cursor": cursor, "/page": page}.items():
        server.on(path, handler)
    return server


WAYS = {
    "link": {"by": "link", "items": "body"},
    "url": {"by": "url", "next": "body.next", "items": "body.items"},
    "cursor": {"by": "cursor", "next": "body.cursor", "parameter": "from", "items": "body.items"},
    "page": {"by": "page", "parameter": "p", "items": "body.items"},
}


@pytest.mark.parametrize("way", WAYS)
async def test_all_pages_are_read(service, pages, way):
    node = await run(service, {"url": f"{pages.url}/{way}", "paginate": WAYS[way]})
    assert node.state == "completed", node.error
    output = node.outputs["output"]
    assert output["body"] == ITEMS
    assert output["more"] is False
    assert output["pages"] == len(pages.seen)
    assert output["status_code"] == 200


async def test_without_items_the_bodies_are_the_items(service, pages):
    node = await run(service, {"url": f"{pages.url}/link", "paginate": {"by": "link"}})
    assert node.outputs["output"]["body"] == [ITEMS[:3], ITEMS[3:6], ITEMS[6:]]


async def test_a_limit_that_is_set_ends_the_pages_and_says_that_there_are_more(service, pages):
    node = await run(service, {"url": f"{pages.url}/link", "paginate": {**WAYS["link"], "limit": 2}})
    output = node.outputs["output"]
    assert (output["body"], output["pages"], output["more"]) == (ITEMS[:6], 2, True)
    assert len(pages.seen) == 2


async def test_more_than_a_hundred_pages_are_an_error_unless_a_limit_is_set(service, server):
    async def endless(request):
        after = int(request.query.get("from", "0")) + 1
        return web.json_response([], headers={"Link": f"<?from={after}>; rel=next"})

    server.on("/x", endless)
    node = await run(service, {"url": f"{server.url}/x", "paginate": WAYS["link"]})
    assert node.state == "failed"
    assert node.error["type"] == "TooManyPages"
    assert len(server.seen) == 100


async def test_a_page_that_comes_again_is_an_error(service, server):
    server.answer("/x", text="[]", content_type="application/json", headers={"Link": "</x>; rel=next"})
    node = await run(service, {"url": f"{server.url}/x", "paginate": WAYS["link"]})
    assert node.error["type"] == "RepeatedPage"
    assert len(server.seen) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_every_page_gets_the_credentials(service, pages, way):
    service.create_secret("k", "api_key", {"value": "page-hunter2"}, allowed_hosts=["127.0.0.1"])
    await run(
        service,
        {
            "url": f"{pages.url}/{way}",
            "auth": {"secret": "k"},
            "query": {"key": "{{secrets.k.value}}"},
            "paginate": WAYS[way],
        },
    )
    assert len(pages.seen) > 2
    assert {seen.headers["X-API-Key"] for seen in pages.seen} == {"page-hunter2"}
    assert {tuple(seen.query["key"]) for seen in pages.seen} == {("page-hunter2",)}


@pytest.mark.parametrize(
    "target",
    ["{other}/x", "{user}", "http://169.254.169.254/", "ftp://x/", "//evil.test/", "http://[", "{host}"],
)
@pytest.mark.parametrize("way", ["link", "url"])
async def test_a_next_page_at_another_origin_is_not_asked_for(service, server, second_server, way, target):
    service.create_secret("k", "api_key", {"value": "page-hunter2"})
    target = target.format(
        other=second_server.url,
        user=f"http://a:b@127.0.0.1:{server.port}/x",
        host=f"http://localhost:{server.port}/x",
    )

    async def hostile(_):
        return web.json_response({"next": target, "items": []}, headers={"Link": f"<{target}>; rel=next"})

    server.on("/x", hostile)
    paginate = {"by": way} if way == "link" else {"by": way, "next": "body.next"}
    node = await run(service, {"url": f"{server.url}/x", "auth": {"secret": "k"}, "paginate": paginate})
    assert node.error["type"] == "InvalidNextPage"
    assert len(server.seen) == 1
    assert second_server.seen == []


async def test_pages_behind_a_redirect_to_another_origin_are_not_asked_for(service, server, second_server):
    service.create_secret("k", "api_key", {"value": "page-hunter2"})

    async def away(_):
        return web.Response(status=302, headers={"Location": f"{second_server.url}/x"})

    server.on("/x", away)
    second_server.answer("/x", text="[]", content_type="application/json", headers={"Link": "</y>; rel=next"})
    node = await run(service, {"url": f"{server.url}/x", "auth": {"secret": "k"}, "paginate": {"by": "link"}})
    assert node.error["type"] == "InvalidNextPage"
    assert [seen.path for seen in second_server.seen] == ["/x"]
    assert "X-API-Key" not in second_server.seen[0].headers


async def test_the_server_does_not_choose_a_parameter_name_that_holds_a_secret(service, server):
    service.create_secret("k", "api_key", {"value": "page-hunter2"}, allowed_hosts=["127.0.0.1"])

    async def hostile(request):
        return web.json_response([], headers={"Link": f"<?{request.headers['X-API-Key']}=1>; rel=next"})

    server.on("/x", hostile)
    node = await run(service, {"url": f"{server.url}/x", "auth": {"secret": "k"}, "paginate": {"by": "link"}})
    assert node.error["type"] == "HostNotAllowedError"
    assert len(server.seen) == 1


async def test_a_page_that_was_not_expected_is_the_error(service, server):
    async def second_fails(request):
        if "p" in request.query:
            return web.Response(status=500, text="no")
        return web.json_response([1], headers={"Link": "<?p=2>; rel=next"})

    server.on("/x", second_fails)
    node = await run(service, {"url": f"{server.url}/x", "paginate": WAYS["link"]})
    assert node.error["type"] == "UnexpectedStatus"
    assert "output" not in node.outputs


async def test_the_pages_together_are_bounded(service, pages):
    node = await run(
        service, {"url": f"{pages.url}/link", "paginate": WAYS["link"], "max_response_bytes": 50}
    )
    assert node.error["type"] == "ResponseTooLarge"


async def test_items_that_are_not_there_are_an_error(service, pages):
    node = await run(service, {"url": f"{pages.url}/url", "paginate": {**WAYS["url"], "items": "body.itms"}})
    assert "paginate.items does not find a list in page 1" in node.error["message"]


@pytest.mark.parametrize(
    "paginate",
    [
        {},
        {"by": "magic"},
        {"by": "url"},
        {"by": "cursor", "next": "body.c"},
        {"by": "page", "parameter": "p"},
        {"by": "link", "limit": 0},
        {"by": "link", "items": "body["},
        {"by": "cursor", "next": "{{secrets.k.value}}", "parameter": "c"},
        {"by": "cursor", "next": "body.c", "parameter": "{{input.name}}"},
    ],
)
def test_a_paginate_that_is_not_complete_is_refused(paginate):
    with pytest.raises(NodeConfigError, match="paginate"):
        HttpRequestNode("n", {"url": "http://x/", "paginate": paginate})


async def test_pages_are_not_counted_in_a_parameter_that_holds_a_secret(service, pages):
    service.create_secret("k", "api_key", {"value": "page-hunter2"})
    node = await run(
        service,
        {"url": f"{pages.url}/page", "query": {"p": "{{secrets.k.value}}"}, "paginate": WAYS["page"]},
    )
    assert "paginate.parameter" in node.error["message"]
    assert pages.seen == []


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('<https://x/2>; rel="next"', "https://x/2"),
        ("<https://x/2>;rel=next", "https://x/2"),
        ('<https://x/a,b>; rel="prev", <https://x/2>; title="c"; REL="Next last"', "https://x/2"),
        ('<https://x/2>; rel="nextish"', None),
        ("<https://x/2; rel=next", None),
        ("", None),
        ("<" * 100_000, None),
        ("<x>" + ";" * 100_000, None),
    ],
)
def test_the_link_header_is_read_as_rfc_8288_writes_it(header, target):
    assert next_link({"link": header}) == target
