"""A secret goes where its owner allowed, and nowhere else: hostile servers, random workflows, hosts written in odd ways."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import random
import sqlite3
import urllib.parse

import pytest
from aiohttp import web
from pydantic import SecretStr
from rich.console import Console
from rich.traceback import Traceback

import sealflow
from sealflow import BaseNode, NodeConfig, Outputs, Retry, TamperedError, Workflow, run_workflow
from sealflow.resolver.redactor import Redactor
from sealflow.service.access import access_of
from sealflow.workflow.nodes.http_request import HttpRequestNode


@pytest.fixture
def token(service, canary):
    value = canary.value()
    service.create_secret("github", "bearer_token", {"token": value})
    service.create_secret("db", "basic_auth", {"username": "admin-user", "password": canary.value()})
    return value


def http(url: str, **config: object) -> dict[str, object]:
    return {"type": "http-request", "config": {"url": url, "timeout": 20, **config}}


def bearer(name: str = "github") -> dict[str, str]:
    return {"type": "bearer", "token": f"{{{{secrets.{name}.token}}}}"}


async def run(service, nodes, links=(), inputs=None):
    workflow = Workflow.from_dict({"sealflow": 1, "name": "w", "nodes": nodes, "links": list(links)})
    return await run_workflow(workflow, inputs, service=service)


def everything_sent(server) -> str:
    return json.dumps([seen._asdict() for seen in server.seen])


# --- a hostile upstream -----------------------------------------------------------------------------------------------


def hostile(server, second_server, token_of):
    """Make ``server`` try all that a server can."""

    async def echo(request: web.Request) -> web.Response:
        given = token_of(request)
        return web.json_response(
            {
                "headers": dict(request.headers),
                "template": "{{secrets.db.password}} {{ secrets.github.token }}",
                "url": f"{second_server.url}/evil?t={urllib.parse.quote(given)}",
                "b64": base64.b64encode(given.encode()).decode(),
                "nested": [{"hex": given.encode().hex()}, given[::-1]],
                given: "as a key",
            },
            headers={
                "Set-Cookie": f"session={urllib.parse.quote(given)}; Path=/",
                "X-Echo": urllib.parse.quote(given),
            },
        )

    async def failing(request: web.Request) -> web.Response:
        return web.Response(
            status=500,
            reason=f"bad token {urllib.parse.quote(token_of(request))}",
            text=f"no: {token_of(request)}",
        )

    def redirecting(status: int):
        async def answer(request: web.Request) -> web.Response:
            given = urllib.parse.quote(token_of(request), safe="")
            location = f"{second_server.url}/caught" + (f"?token={given}" if "leak" in request.query else "")
            return web.Response(status=status, headers={"Location": location})

        return answer

    server.on("/echo", echo)
    server.on("/fail", failing)
    for status in (301, 302, 303, 307, 308):
        server.on(f"/to/{status}", redirecting(status))


async def test_a_hostile_server_gets_nothing_out(service, server, second_server, token, caplog, canary):
    caplog.set_level(logging.DEBUG)
    hostile(server, second_server, lambda request: request.headers["Authorization"].removeprefix("Bearer "))
    nodes = {
        "echo": http(f"{server.url}/echo", auth=bearer()),
        "fail": http(f"{server.url}/fail", auth=bearer(), headers={"Cookie": "s={{secrets.github.token}}"}),
        "leak": http(f"{server.url}/to/302?leak=1", auth=bearer()),
        "pick": {"type": "transform", "config": {"expression": "{url: body.url, body: body}"}},
        "follow": http("http://127.0.0.1:1/never"),
        "forward": http(f"{second_server.url}/forward", method="POST"),
        "headers": {"type": "transform", "config": {"expression": "{headers: body.headers}"}},
        "again": http(f"{second_server.url}/again"),
    }
    for status in (301, 302, 303, 307, 308):
        nodes[f"to{status}"] = http(
            f"{server.url}/to/{status}",
            auth=bearer(),
            method="POST",
            headers={"X-Key": "{{secrets.github.token}}"},
            body={"a": "b"},
        )
    links = [
        "echo.output -> pick.input",
        "pick.output -> follow.input",
        "echo.output -> forward.body",
        "echo.output -> headers.input",
        "headers.output -> again.input",
    ]
    execution = await run(service, nodes, links)
    states = {name: node.state.value for name, node in execution.nodes.items()}
    assert states == {
        **dict.fromkeys(nodes, "completed"),
        **dict.fromkeys(("follow", "forward", "again", "leak", "fail"), "failed"),
    }
    for name in ("follow", "forward", "again"):
        assert "carries a value of the secret 'github'" in execution.nodes[name].error["message"]
    assert execution.nodes["echo"].outputs["output"]["body"]["template"] == (
        "{{secrets.db.password}} {{ secrets.github.token }}"
    )  # it is data: neither resolved nor taken for a value
    assert {seen.path for seen in second_server.seen} == {"/caught"}
    for seen in second_server.seen:
        assert "Authorization" not in seen.headers
        assert "X-Key" not in seen.headers
    canary.saw("what the second server was sent", everything_sent(second_server))
    canary.saw("what the log held", caplog.text)
    canary.saw("the execution", execution.to_json() + repr(execution))
    access_of(service).audit.flush()
    denied = [
        entry for entry in access_of(service).audit.events() if entry["outcome"] == "HostNotAllowedError"
    ]
    assert {entry["node"] for entry in denied} == {"follow", "forward", "again", "leak"}


async def test_a_body_with_a_secret_stays_at_its_origin(service, server, second_server, token, canary):
    hostile(server, second_server, lambda request: "")
    nodes = {
        f"to{status}": http(
            f"{server.url}/to/{status}", method="POST", body={"token": "{{secrets.github.token}}"}
        )
        for status in (301, 302, 303, 307, 308)
    }
    execution = await run(service, nodes)
    assert {name: node.state.value for name, node in execution.nodes.items()} == {
        **dict.fromkeys(("to301", "to302", "to303"), "completed"),  # a GET without a body follows
        **dict.fromkeys(("to307", "to308"), "failed"),
    }
    canary.saw("what the second server was sent", everything_sent(second_server))


async def test_the_owner_may_let_a_value_go_on_with_data(service, server, second_server, canary):
    host, port = "127.0.0.1", second_server.port
    value = canary.value()
    service.create_secret(
        "shared", "bearer_token", {"token": value}, allowed_hosts=[f"{host}:{server.port}", f"{host}:{port}"]
    )
    nodes = {
        "echo": http(f"{server.url}/x", auth=bearer("shared")),
        "forward": http(f"{second_server.url}/forward", method="POST"),
    }
    execution = await run(service, nodes, ["echo.output -> forward.body"])
    assert execution.status == "completed", execution.nodes["forward"].error
    assert value in json.loads(second_server.seen[0].body)["body"]["headers"]["Authorization"]


async def test_data_goes_whole_to_a_host_that_has_had_the_secret(service, server, second_server, token):
    """It learns nothing; and what flows from node to node stays whole."""
    nodes = {
        "first": http(f"{server.url}/x", auth=bearer()),
        "back": http(f"{server.url}/y", method="POST"),
        "away": http(f"{second_server.url}/z", method="POST"),
    }
    execution = await run(service, nodes, ["first.output -> back.body", "back.output -> away.body"])
    assert execution.nodes["back"].state == "completed", execution.nodes["back"].error
    assert token in json.loads(server.at("/y")[0].body)["body"]["headers"]["Authorization"]
    assert execution.nodes["away"].state == "failed"
    assert second_server.seen == []


async def test_data_that_only_looks_alike_goes_on(service, server, second_server, token):
    """A username, a short text and a value that this node refers to itself are no reason to refuse."""
    service.create_secret("same", "bearer_token", {"token": token})
    nodes = {
        "echo": http(
            f"{server.url}/x",
            auth={"type": "basic", "username": "{{secrets.db.username}}", "password": "{{secrets.short}}"},
        ),
        "first": http(f"{server.url}/x", auth=bearer("github")),
        "both": http(
            f"{second_server.url}/y",
            method="POST",
            auth=bearer("same"),
            body={"user": "admin-user", "s": "abcd"},
        ),
    }
    service.create_secret("short", "custom", {"value": "abcd"})
    nodes["echo"]["config"]["auth"]["password"] = "{{secrets.short.value}}"
    execution = await run(service, nodes, ["first.output -> both.input", "echo.output -> both.input"])
    assert execution.status == "completed", execution.to_json()


# --- hosts written in odd ways ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com@evil.test/",
        "https://api.example.com:x@evil.test/",
        "https://evil.test\\@api.example.com/",
        "https://evil.test%2eapi.example.com/",
        "https://api.example.com%2eevil.test/",
        "https://api.example.com.evil.test/",
        "https://evil.test/#@api.example.com",
        "https://evil.test/?@api.example.com",
        "https://evilapi.example.com/",
        "https://ａｐｉ.example.com.evil.test/",
        "https://api。example。com。evil.test/",
        "https://api.exаmple.com/",  # a Cyrillic а
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://[::1%25eth0]/",
        "https:///api.example.com/",
        "https://api.example.com:99999/",
        "https://api.example.com:8443/",
        "https://api.example.com\t.evil.test/",
        "https://api.example.com\n.evil.test/",
        "http://api.example.com/",
        "ftp://api.example.com/",
        "//api.example.com/",
        "https://",
        "https://.example.com/",
        "https://..api.example.com/",
    ],
)
async def test_no_spelling_of_another_host_passes_for_an_allowed_one(service, canary, url, monkeypatch):
    asked = []

    async def resolve(self, host, *_, **__):
        asked.append(host)
        raise OSError("no network here")

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    service.create_secret("k", "api_key", {"value": canary.value()}, allowed_hosts=["api.example.com:443"])
    execution = await run(service, {"n": http(url, auth={"secret": "k"})})
    assert execution.nodes["n"].state == "failed", execution.to_json()
    assert asked == []


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/",
        "https://API.Example.COM/",
        "https://api.example.com./",
        "https://user:x@api.example.com/",
        "https://ａｐｉ.example.com/",
        "https://api%2Eexample.com/",
    ],
)
async def test_every_spelling_of_the_allowed_host_is_the_allowed_host(service, canary, url, monkeypatch):
    """What is asked for in the name system is the host that was checked."""
    asked = []

    async def resolve(self, host, *_, **__):
        asked.append(host)
        raise OSError("no network here")

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    service.create_secret("k", "api_key", {"value": canary.value()}, allowed_hosts=["api.example.com"])
    node = (await run(service, {"n": http(url, auth={"secret": "k"})})).nodes["n"]
    if node.error["type"] == "ConnectionError":
        assert [host.rstrip(".").lower() for host in asked] == ["api.example.com"]
    else:
        assert asked == []  # refused is right too, sent elsewhere is not


def test_hosts_widened_in_the_database_are_refused(service, tmp_path, canary, key):
    """The policy's text in the database is bound into the encryption."""
    service.create_secret("k", "api_key", {"value": canary.value()}, allowed_hosts=["api.example.com"])
    path = tmp_path / "service"
    service.close()
    database = sqlite3.connect(next(path.glob("*.db")))
    table, column = next(
        (table, row[1])
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for row in database.execute(f"PRAGMA table_info({table})").fetchall()
        if database.execute(
            f"SELECT 1 FROM {table} WHERE typeof({row[1]}) = 'text' AND {row[1]} LIKE '%api.example.com%'"
        ).fetchone()
    )
    for wider in ("evil.example.com", "*.example.com"):
        database.execute(f"UPDATE {table} SET {column} = replace({column}, 'api.example.com', ?)", (wider,))
        database.commit()
        with sealflow.open_service(path, master_key=key) as opened, pytest.raises(TamperedError, match="k"):
            opened.get_secret("k")
        database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, 'api.example.com')", (wider,))
        database.commit()
    database.close()


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_stream_is_masked_across_the_borders_of_its_pieces(canary):
    chance = random.Random(7)
    for number in range(300):
        alphabet = chance.choice(["ab", "w", "ab\n", "0123456789abcdef", "a+/&<\"'é😀 %"])
        value = "".join(chance.choice(alphabet) for _ in range(chance.randint(4, 1500)))
        if len(value.strip()) < 4:
            continue
        redactor = Redactor()
        redactor.add(value)
        for form in (
            value,
            json.dumps(value)[1:-1],
            value.encode().hex(),
            urllib.parse.quote(value, safe=""),
        ):
            text = f"§§{form}§§{form}"
            assert redactor.clean(text) == "§§***§§***", (number, alphabet, len(value))
            stream, cleaned, position = redactor.stream(), "", 0
            while position < len(text):
                length = chance.randint(1, 700)
                cleaned += stream.feed(text[position : position + length])
                position += length
            assert cleaned + stream.finish() == "§§***§§***", (number, alphabet, len(value))


@pytest.mark.slow
@pytest.mark.parametrize(
    "value", ["w" * 300_000, "".join(random.Random(1).choices('abcdefgh+/\n"', k=200_000))]
)
def test_large_values_are_masked_whole_and_soon(value):
    """An automaton of all forms of a value like these took gigabytes, and hung on the first."""
    redactor = Redactor()
    redactor.add(value)
    for form in (value, json.dumps(value)[1:-1], base64.b64encode(value.encode()).decode()):
        assert len(redactor.clean(f"§{form}§")) < 10
    assert "***" in redactor.clean(value[50_000:60_000])  # a part of it too
    assert redactor.longest <= 256


def test_masked_keys_stay_apart():
    redactor = Redactor()
    redactor.add(["value-one", "value-two"])
    data = {"value-one": 1, "value-two": 2, "other": 3}
    assert redactor.clean_value(data) == {"***": 1, "****": 2, "other": 3}


# --- tracebacks that show locals --------------------------------------------------------------------------------------


class Careful(BaseNode):
    """Declares its secret SecretStr, and fails while it holds it."""

    type_name = "careful"

    class Config(NodeConfig):
        token: SecretStr

    async def process(self, context, config):
        raise RuntimeError("it went wrong")


@pytest.mark.parametrize("what", ["ours", "header", "form", "host", "away", "retry", "refused", "answered"])
async def test_tracebacks_with_locals_show_masks(
    service, server, second_server, token, canary, monkeypatch, what
):
    """As rich, pytest -l and sentry print them; the error is caught where the node's method let it out."""
    query = {"q": "{{secrets.github.token}}"}
    sending = {
        "auth": bearer(),
        "query": query,
        "headers": {"X-A": "{{secrets.github.token}}"},
        "method": "POST",
    }
    service.create_secret("lines", "api_key", {"value": f"{canary.value()}\n{canary.value()}"})
    server.answer("/busy", status=503, text=token)
    server.answer("/away", status=307, headers={"Location": second_server.url})
    nodes = {
        "ours": Careful("n", {"token": "{{secrets.github.token}}"}),
        "header": http("http://127.0.0.1:1/", **{**sending, "headers": {"X-B": "{{secrets.lines.value}}"}}),
        "form": http("http://127.0.0.1:1/", **sending, body=["{{secrets.github.token}}"], body_type="form"),
        "host": http("http://api.example.com/", **sending),
        "away": http(f"{server.url}/away", **sending, body="{{secrets.github.token}}"),
        "retry": http(f"{server.url}/busy", **sending),
        "refused": http("http://127.0.0.1:1/", **sending),
        "answered": http(f"{server.url}/x", **sending),
    }
    node = nodes[what]
    if isinstance(node, dict):
        node = HttpRequestNode("n", node["config"])
    caught = []
    original = type(node).process

    async def process(self, context, config):
        try:
            await original(self, context, config)
            raise RuntimeError("a mistake behind the node's own work")
        except Exception as error:
            caught.append(error)
            raise

    monkeypatch.setattr(type(node), "process", process)
    execution = await run_workflow(Workflow("w", [node]), service=service)
    assert caught, execution.to_json()
    printed = io.StringIO()
    for error in caught:
        shown = Traceback.from_exception(
            type(error),
            error,
            error.__traceback__,
            show_locals=True,
            locals_max_string=None,
            locals_max_length=None,
        )
        Console(file=printed, width=400).print(shown)
    assert "config = " in printed.getvalue()
    canary.saw("a traceback with locals", printed.getvalue())


# --- random workflows -------------------------------------------------------------------------------------------------


class Chaos(BaseNode):
    """Uses its secret in every way that a careless author would: logs it, raises it, returns it, is slow."""

    type_name = "chaos"

    class Config(NodeConfig):
        token: str
        how: str
        extra: object = None

    async def process(self, context, config):
        log = context.log
        log.debug("token=%s input=%r", config.token, context.input)
        logging.getLogger("somebody.else").info("config: %r", config)
        encoded = base64.b64encode(f"user:{config.token}".encode()).decode()
        if config.how == "raise":
            raise RuntimeError(f"could not log in with {config.token} ({encoded})")
        if config.how == "chain":
            try:
                json.loads('{"' + config.token)
            except ValueError as error:
                log.exception("it broke with %s", config.token)
                raise KeyError(config.token) from error
        if config.how == "retry" and context.attempt < 3:
            raise Retry(Outputs(output={"token": config.token, "attempt": context.attempt}))
        if config.how == "slow":
            log.info("waiting with %s", urllib.parse.quote(config.token))
            await asyncio.Event().wait()
        if config.how == "error":
            return Outputs(error={"message": f"bad {config.token}"})
        return {"token": config.token, "deep": [{"header": f"Basic {encoded}"}], "in": context.input}


@pytest.mark.slow
async def test_200_random_workflows_leave_no_value_anywhere(service, canary, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    chance = random.Random(20261124)
    names = []
    for number in range(12):
        fields = {"token": canary.value(chance.randint(8, 60)), "deep": {"list": [canary.value(), 123456789]}}
        service.create_secret(f"s{number}", "custom", fields)
        names.append(f"s{number}")
    ends = {}
    for number in range(200):
        count = chance.randint(1, 8)
        nodes, links = [], []
        for index in range(count):
            name = chance.choice(names)
            how = chance.choice(["ok", "ok", "ok", "raise", "chain", "retry", "slow", "error"])
            config = {
                "token": f"{{{{secrets.{name}.{chance.choice(['token', 'deep.list.0'])}}}}}",
                "how": how,
                "extra": {"all": f"{{{{secrets.{chance.choice(names)}}}}}"},
            }
            retry = {"attempts": chance.randint(1, 4), "delay": 0.001, "max_delay": 0.002}
            nodes.append(Chaos(f"n{index}", config, retry=retry, timeout=0.01 if how == "slow" else None))
            for other in range(index):
                if chance.random() < 0.3:
                    links.append(f"n{other}.{chance.choice(['output', 'output', 'error'])} -> n{index}.input")
        workflow = Workflow(f"w{number}", nodes, links)
        cancel = asyncio.Event()
        changes = []

        stop = chance.choice([None, None, None, 3])

        def on_change(_, node, changes=changes, cancel=cancel, stop=stop):
            changes.append((node.name, node.state.value))
            if stop is not None and len(changes) >= stop:
                cancel.set()

        execution = await run_workflow(
            workflow, {"n": number}, service=service, cancel=cancel, on_change=on_change, max_concurrency=3
        )
        ends[execution.status] = ends.get(execution.status, 0) + 1
        canary.saw(f"the export of workflow {number}", workflow.dump())
    assert set(ends) == {"completed", "failed", "cancelled"}, ends
    assert "***" in caplog.text
    canary.saw("the log", caplog.text)
    assert sealflow.__name__ in caplog.text
