"""Whether a request may leave: every spelling of a host, every way past a check, with servers and proxies that record."""

from __future__ import annotations

import base64
import itertools
import json
import socket

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from sealflow import HostNotAllowedError, Workflow, run_workflow
from sealflow.model.policy import Policy
from sealflow.resolver.carried import SecretUse
from sealflow.service.access import access_of
from sealflow.workflow.destination import Hop, check_address, check_hop
from sealflow.workflow.nodes.http_client import NetworkError, Request, read_url, redirected
from servers import RawServer

ALLOWED = "api.example.com"


def use(*hosts: str, name: str = "k") -> SecretUse:
    return SecretUse(name, "local", Policy(hosts))


FREE = SecretUse("free", "local", Policy())


def may_leave(url: str, secret: SecretUse, **hop: object) -> bool:
    """Whether a request with the secret is let out; what is not a url at all is not."""
    try:
        target = read_url(url)
        check_hop(Hop(target.with_user(None), **hop), [secret])
    except (ValueError, HostNotAllowedError):
        return False
    return True


async def run(service, config, inputs=None, links=(), **nodes):
    document = {
        "sealflow": 1,
        "name": "w",
        "nodes": {"n": {"type": "http-request", "config": {"timeout": 20, **config}}, **nodes},
        "links": list(links),
    }
    execution = await run_workflow(Workflow.from_dict(document), inputs, service=service)
    return execution.nodes["n"]


def redirect(status, location):
    async def handler(_):
        return web.Response(status=status, headers={"Location": location})

    return handler


# --- spellings of hosts -----------------------------------------------------------------------------------------------

OTHER_HOSTS = [
    "evil.test",
    "evilapi.example.com",
    "api.example.com.evil.test",
    "api.example.com.com",
    "api.example.comm",
    "api.example.co",
    "example.com",
    "a.api.example.com",
    "api-example.com",
    "api.example.com-evil.test",
    "api_example.com",
    "xn--api-.example.com",
    "xn--api-9p.example.com",
    "api.xn--example-.com",
    "api.example.xn--com-",
    "api.exаmple.com",  # a Cyrillic a
    "аpi.example.com",
    "api.examp1e.com",
    "apı.example.com",  # a dotless i
    "api.ex\u200bample.com.evil.test",
    "api%2eexample.com",
    "api.example.com%2eevil.test",
    "api.example.com%00.evil.test",
    "%61pi.example.com",
    "api.example.com%40evil.test",
    "..api.example.com",
    ".api.example.com",
    "api..example.com",
    "api.example.com..",
    "api.example.com\t.evil.test",
    "api.example.com\n.evil.test",
    "api.example.com\r.evil.test",
    "api.example.com .evil.test",
    "api.example.com\x00",
    "api.example.com\\",
    "api.example.com\\.evil.test",
    "evil.test\\@api.example.com",
    "api.example.com@evil.test",
    "api.example.com:443@evil.test",
    "api.example.com:x@evil.test",
    "a@api.example.com@evil.test",
    "api.example.com:80",
    "api.example.com:8443",
    "api.example.com:0",
    "api.example.com:99999",
    "api.example.com:443:443",
    "api.example.com:-443",
    "api.example.com:4４3",
    "[api.example.com]",
    "[::1]",
    "[::]",
    "[::ffff:7f00:1]",
    "[::ffff:169.254.169.254]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "0177.1",
    "127.0.0.1.",
    "１２７.0.0.1",
    "127。0。0。1",
    "169.254.169.254",
    "0",
    "0.0.0.0",
    "localhost",
    "api.example.com#@evil.test:1",
    "evil.test#api.example.com",
    "evil.test?api.example.com",
    "evil.test/api.example.com",
    "evil.test/@api.example.com",
    "evil.test?@api.example.com",
    "",
    ":443",
    "@",
    "api.example.com@",
]
FRAMES = [
    "https://{}/",
    "https://{}/x?y=z#f",
    "HTTPS://{}",
    "https://user:pass@{}/",
    "http://{}/",
    "//{}/",
    "https:/{}/",
    "https:{}/",
    "ftp://{}/",
]
SAME_HOST = {  # in these frames they are the allowed host, with an odd rest
    "api.example.com#@evil.test:1",
    "evil.test\\@api.example.com",
}


@pytest.mark.parametrize(
    ("frame", "host"), [pair for pair in itertools.product(FRAMES, OTHER_HOSTS) if pair[1] not in SAME_HOST]
)
def test_no_spelling_of_another_host_is_sent_the_secret(frame, host):
    assert not may_leave(frame.format(host), use(f"{ALLOWED}:443"))


@pytest.mark.parametrize(
    "host",
    [
        "api.example.com",
        "API.Example.COM",
        "api.example.com.",
        "ａｐｉ.example.com",
        "api。example。com",
        "api.example.com:443",
        "user:pass@api.example.com",
        "evil.test@api.example.com",
        "api.example.com#@evil.test:1",
    ],
)
def test_a_spelling_that_is_let_out_asks_for_the_allowed_host(host):
    url = f"https://{host}/"
    assert may_leave(url, use(f"{ALLOWED}:443"))
    assert read_url(url).raw_host.rstrip(".") == ALLOWED


@given(st.text(st.sampled_from("apiexmlco.-@:/\\%#?[]0x1７。ａ\t \u00ad\u200d"), max_size=40))
def test_whatever_is_let_out_asks_for_the_allowed_host(text):
    for url in (f"https://{text}", f"https://api.example.com{text}", f"https://{text}api.example.com/"):
        if may_leave(url, use(f"{ALLOWED}:443")):
            target = read_url(url)
            assert (target.scheme, target.raw_host.rstrip("."), target.port) == ("https", ALLOWED, 443)


def test_the_idna_form_of_an_allowed_name_is_that_name():
    assert may_leave("https://xn--bcher-kva.example/", use("bücher.example"))


def test_an_allowed_idna_form_is_also_the_name_it_stands_for():
    assert may_leave("https://Bücher.example/", use("xn--bcher-kva.example"))


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]"])
def test_an_address_is_compared_in_its_usual_form(address):
    assert may_leave(f"http://{address}/", use("127.0.0.1", "::1"))


# --- TLS ------------------------------------------------------------------------------------------------------------

HTTPS, HTTP, LOOPBACK = f"https://{ALLOWED}/", f"http://{ALLOWED}/", "http://127.0.0.1:8080/"
PROXY = URL("http://proxy.example.com:3128")
LOCAL_PROXY = URL("http://127.0.0.1:3128")


@pytest.mark.parametrize(
    ("url", "secret", "hop", "allowed"),
    [
        (HTTPS, use(ALLOWED), {}, True),
        (HTTPS, use(f"http://{ALLOWED}"), {}, True),
        (HTTP, use(ALLOWED), {}, False),
        (HTTP, use(ALLOWED), {"insecure_http": True}, False),
        (HTTP, use(f"http://{ALLOWED}"), {}, True),
        (HTTP, use(f"HTTP://{ALLOWED}:80"), {}, True),
        (HTTP, use(f"http://{ALLOWED}:8080"), {"insecure_http": True}, False),
        (HTTP, use(ALLOWED, "http://other.example.com"), {"insecure_http": True}, False),
        (HTTP, use("http://*.example.com"), {}, True),
        (HTTP, FREE, {}, False),
        (HTTP, FREE, {"insecure_http": True}, True),
        (LOOPBACK, use("127.0.0.1"), {}, True),
        (LOOPBACK, FREE, {}, True),
        (LOOPBACK, use("10.0.0.1"), {}, False),
        (HTTPS, use(ALLOWED), {"verify_tls": False}, False),
        (HTTPS, use(f"http://{ALLOWED}"), {"verify_tls": False}, False),
        ("https://127.0.0.1/", use("127.0.0.1"), {"verify_tls": False}, False),
        (HTTPS, FREE, {"verify_tls": False}, True),
        (HTTPS, FREE, {"url_from_input": True}, False),
        (HTTPS, use(ALLOWED), {"url_from_input": True}, True),
        (HTTPS, use(), {}, False),
    ],
)
def test_the_owner_decides_how_a_secret_is_protected(url, secret, hop, allowed):
    assert may_leave(url, secret, **hop) is allowed


@pytest.mark.parametrize(
    ("url", "secret", "hop", "allowed"),
    [
        (HTTPS, use(ALLOWED), {"proxy": PROXY}, True),
        (HTTP, use(f"http://{ALLOWED}"), {"proxy": PROXY}, False),
        (HTTP, use(f"http://{ALLOWED}", "proxy.example.com"), {"proxy": PROXY}, False),
        (HTTP, use(f"http://{ALLOWED}", "http://proxy.example.com:3129"), {"proxy": PROXY}, False),
        (HTTP, use(f"http://{ALLOWED}", "http://proxy.example.com"), {"proxy": PROXY}, True),
        (HTTP, use(f"http://{ALLOWED}", "127.0.0.1"), {"proxy": LOCAL_PROXY}, True),
        (HTTP, use(f"http://{ALLOWED}"), {"proxy": LOCAL_PROXY}, False),
        (LOOPBACK, use("127.0.0.1"), {"proxy": LOCAL_PROXY}, False),
        (LOOPBACK, FREE, {"proxy": LOCAL_PROXY}, False),
        (LOOPBACK, FREE, {"proxy": LOCAL_PROXY, "insecure_http": True}, True),
    ],
)
def test_a_proxy_that_reads_plain_http_must_be_allowed_too(url, secret, hop, allowed):
    assert may_leave(url, secret, **hop) is allowed


@pytest.mark.parametrize(
    ("secret", "proxy", "allowed"),
    [
        (use("http://proxy.example.com:3128"), PROXY, True),
        (use("proxy.example.com"), PROXY, False),
        (use(ALLOWED), PROXY, False),
        (use("proxy.example.com"), URL("https://proxy.example.com"), True),
        (use("127.0.0.1:3128"), LOCAL_PROXY, True),
        (FREE, PROXY, False),
        (FREE, LOCAL_PROXY, True),
    ],
)
def test_the_password_of_a_proxy_has_a_policy_too(secret, proxy, allowed):
    hop = Hop(URL(HTTPS), proxy)
    if allowed:
        check_hop(hop, [], [], [secret])
    else:
        with pytest.raises(HostNotAllowedError):
            check_hop(hop, [], [], [secret])


def test_a_secret_that_came_with_data_needs_the_same_protection():
    with pytest.raises(HostNotAllowedError, match="not verified"):
        check_hop(Hop(URL(HTTPS), verify_tls=False), [], [use(ALLOWED)])


def test_where_a_secret_was_sent_is_remembered_with_its_protection():
    verified, unverified = Hop(URL(HTTPS)), Hop(URL(HTTPS), verify_tls=False)
    assert len({verified.key, unverified.key, Hop(URL(HTTP)).key, Hop(URL(HTTP), PROXY).key}) == 4


# --- the Host header --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["evil.test", "api.example.com:8443", "api.example.com.evil.test", "", "a b", "\t"]
)
def test_a_host_header_for_another_host_is_refused_with_a_secret(value):
    assert not may_leave(HTTPS, use(ALLOWED), host_header=value)


@pytest.mark.parametrize(
    "value", ["api.example.com", "API.example.com.", "api.example.com:443", " api.example.com "]
)
def test_a_host_header_for_the_same_host_is_sent(value):
    assert may_leave(HTTPS, use(ALLOWED), host_header=value)


async def test_a_host_header_in_the_config_is_refused_with_a_secret(service, server):
    service.create_secret("free", "api_key", {"value": "host-header-1"})
    headers = {"Host": "evil.test"}
    node = await run(service, {"url": server.url, "headers": headers, "auth": {"secret": "free"}})
    assert "Host header" in node.error["message"]
    assert server.seen == []


async def test_a_host_header_without_a_secret_is_sent(service, server):
    await run(service, {"url": server.url, "headers": {"Host": "virtual.test"}})
    assert server.seen[0].headers["Host"] == "virtual.test"


# --- what a name resolves to -------------------------------------------------------------------------------------------

FORBIDDEN = [
    "169.254.169.254",
    "169.254.1.1",
    "100.100.100.200",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "::",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "::ffff:169.254.169.254",
    "::ffff:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1",
    "2002:a9fe:a9fe::1",
    "::a9fe:a9fe",
]
FINE = ["10.0.0.1", "192.168.1.1", "172.16.0.1", "fd12::1", "93.184.216.34", "2606:2800::1", "64:ff9b::a00:1"]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_a_guarded_name_may_not_mean_a_forbidden_address(address):
    with pytest.raises(HostNotAllowedError, match="resolves to"):
        check_address(ALLOWED, address, frozenset())


@pytest.mark.parametrize("address", FORBIDDEN)
def test_a_name_in_the_config_may_mean_any_address_without_such_a_secret(address):
    check_address(ALLOWED, address, None)


@pytest.mark.parametrize("address", FINE)
def test_a_guarded_name_may_mean_a_private_or_public_address(address):
    check_address(ALLOWED, address, frozenset())


def test_an_address_that_the_policy_names_is_fine():
    guard = check_hop(Hop(URL(HTTPS)), [use(ALLOWED, "169.254.169.254:443")])
    check_address(ALLOWED, "169.254.169.254", guard)


def test_an_address_must_be_named_by_every_policy():
    assert check_hop(Hop(URL(HTTPS)), [use(ALLOWED, "127.0.0.1"), use(ALLOWED)]) == frozenset()


def test_an_address_that_is_named_for_another_port_stays_forbidden():
    assert check_hop(Hop(URL(HTTPS)), [use(ALLOWED, "127.0.0.1:80")]) == frozenset()


@pytest.mark.parametrize("guard", [None, frozenset()])
def test_a_loopback_name_means_this_machine(guard):
    check_address("localhost", "127.0.0.1", guard)
    with pytest.raises(HostNotAllowedError, match="not this machine"):
        check_address("app.localhost", "10.0.0.1", guard)


@pytest.fixture
def names(monkeypatch):
    """A name server that answers as the test says: rebinding cannot be had from a real one here."""
    answers: dict[str, list[str]] = {}
    asked: list[str] = []

    async def resolve(_self, host, port=0, family=socket.AF_INET):
        asked.append(host)
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
            for address in answers[host]
        ]

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    answers["asked"] = asked
    return answers


async def test_a_secret_is_not_sent_to_a_name_that_was_bound_to_loopback(service, server, names):
    names["api.example.com"] = ["127.0.0.1"]
    service.create_secret("k", "api_key", {"value": "rebinding-1"}, allowed_hosts=["http://api.example.com"])
    node = await run(service, {"url": f"http://api.example.com:{server.port}/", "auth": {"secret": "k"}})
    assert "resolves to 127.0.0.1" in node.error["message"]
    assert server.seen == []


async def test_one_forbidden_answer_among_good_ones_is_refused(service, server, names):
    names["api.example.com"] = ["10.255.255.1", "127.0.0.1"]
    service.create_secret("k", "api_key", {"value": "rebinding-2"}, allowed_hosts=["http://api.example.com"])
    node = await run(service, {"url": f"http://api.example.com:{server.port}/", "auth": {"secret": "k"}})
    assert node.error["type"] == "HostNotAllowedError"
    assert server.seen == []


async def test_a_connection_of_a_request_without_secrets_is_not_used_for_one_with(service, server, names):
    names["api.example.com"] = ["127.0.0.1"]
    service.create_secret("k", "api_key", {"value": "rebinding-3"}, allowed_hosts=["http://api.example.com"])
    url = f"http://api.example.com:{server.port}/"
    first = {"type": "http-request", "config": {"url": url}}
    node = await run(
        service, {"url": url, "auth": {"secret": "k"}}, links=["first.output -> n.input"], first=first
    )
    assert node.error["type"] == "HostNotAllowedError"
    assert len(server.seen) == 1


async def test_an_address_named_in_allowed_hosts_is_connected_to(service, server, names):
    names["api.example.com"] = ["127.0.0.1"]
    hosts = ["http://api.example.com", "127.0.0.1"]
    service.create_secret("k", "api_key", {"value": "rebinding-4"}, allowed_hosts=hosts)
    node = await run(service, {"url": f"http://api.example.com:{server.port}/", "auth": {"secret": "k"}})
    assert node.outputs["output"]["status_code"] == 200


async def test_a_url_from_data_does_not_lead_a_name_to_loopback(service, server, names):
    names["evil.test"] = ["127.0.0.1"]
    node = await run(service, {}, {"url": f"http://evil.test:{server.port}/"})
    assert node.error["type"] == "HostNotAllowedError"
    assert server.seen == []


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:a9fe:a9fe]", "0.0.0.0", "100.100.100.200"]
)
async def test_a_url_from_data_does_not_lead_to_metadata(service, host):
    node = await run(service, {"timeout": 2}, {"url": f"http://{host}/latest/meta-data/"})
    assert node.error["type"] == "HostNotAllowedError"


async def test_a_redirect_does_not_lead_to_metadata(service, server):
    server.on("/a", redirect(302, "http://169.254.169.254/latest/meta-data/"))
    node = await run(service, {"url": f"{server.url}/a", "timeout": 2})
    assert node.error["type"] == "HostNotAllowedError"


async def test_localhost_is_this_machine(service, server):
    service.create_secret("k", "api_key", {"value": "localhost-1"}, allowed_hosts=["localhost"])
    node = await run(service, {"url": f"http://localhost:{server.port}/", "auth": {"secret": "k"}})
    assert node.outputs["output"]["status_code"] == 200


# --- a hostile proxy --------------------------------------------------------------------------------------------------


async def test_a_proxy_for_https_reads_only_its_own_credentials(service, canary):
    value, password = canary.value(), "proxy-password-1"
    service.create_secret("api", "bearer_token", {"token": value}, allowed_hosts=["api.example.com"])
    service.create_secret(
        "proxy", "basic_auth", {"username": "me", "password": password}, allowed_hosts=["127.0.0.1"]
    )
    async with RawServer(b"HTTP/1.1 200 Connection established\r\n\r\n") as proxy:
        url = f"http://me:{{{{secrets.proxy.password}}}}@127.0.0.1:{proxy.port}"
        config = {"url": "https://api.example.com/x", "auth": {"secret": "api"}, "proxy": url, "timeout": 3}
        await run(service, {**config, "body": {"t": "{{secrets.api.token}}"}, "method": "POST"})
        assert proxy.text.startswith("CONNECT api.example.com:443 ")
        assert "Proxy-Authorization: Basic " in proxy.text
        assert "\r\nAuthorization" not in proxy.text
        assert value not in proxy.text


async def test_a_proxy_that_the_password_is_not_for_gets_nothing(service):
    service.create_secret(
        "p", "basic_auth", {"username": "me", "password": "proxy-password-2"}, allowed_hosts=["10.0.0.1"]
    )
    async with RawServer() as proxy:
        url = f"http://me:{{{{secrets.p.password}}}}@127.0.0.1:{proxy.port}"
        node = await run(service, {"url": "https://api.example.com/", "proxy": url, "timeout": 3})
        assert node.error["type"] == "HostNotAllowedError"
        assert proxy.text == ""


async def test_a_proxy_that_may_not_read_plain_http_gets_nothing(service, canary):
    hosts = ["http://api.example.com"]
    service.create_secret("k", "api_key", {"value": canary.value()}, allowed_hosts=hosts)
    async with RawServer() as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        node = await run(
            service, {"url": "http://api.example.com/", "proxy": url, "auth": {"secret": "k"}, "timeout": 3}
        )
        assert node.error["type"] == "HostNotAllowedError"
        assert proxy.text == ""


async def test_a_proxy_that_refuses_is_not_sent_the_request(service, canary):
    value = canary.value()
    service.create_secret("k", "api_key", {"value": value}, allowed_hosts=["api.example.com"])
    async with RawServer(b"HTTP/1.1 407 Nope\r\nContent-Length: 0\r\n\r\n") as proxy:
        config = {
            "url": "https://api.example.com/",
            "proxy": f"http://127.0.0.1:{proxy.port}",
            "auth": {"secret": "k"},
        }
        node = await run(service, {**config, "timeout": 5})
        assert node.outputs["error"]["type"] == "ProxyError"
        assert value not in proxy.text


async def test_data_does_not_choose_a_proxy(service, server, second_server):
    await run(service, {"url": server.url}, {"proxy": second_server.url, "verify_tls": False})
    assert second_server.seen == []


# --- redirects --------------------------------------------------------------------------------------------------------


def secret_request(**fields: object) -> Request:
    return Request(
        fields.pop("method", "POST"),
        URL("https://api.example.com/a"),
        {"X-Key": "ab", "X-Plain": "plain", "Host": "api.example.com", "Authorization": "inline"},
        b"short",
        frozenset({"x-key"}),
        **fields,
    )


ELSEWHERE = [
    "https://evil.test/",
    "//evil.test/",
    "///evil.test/",
    "https://api.example.com:8443/",
    "http://api.example.com/",
    "http://api.example.com:443/",
    "https://api.example.com./",
    "https://xn--api-.example.com/",
    "https://api.exаmple.com/",
    "https://API.example.com.evil.test/",
]


@pytest.mark.parametrize(
    ("location", "status"), list(itertools.product(ELSEWHERE, [301, 302, 303, 307, 308]))
)
def test_a_secret_header_stays_at_its_origin_whatever_its_length(location, status):
    try:
        following = redirected(secret_request(), status, location, lambda _: False)
    except NetworkError:
        return
    assert "X-Plain" in following.headers
    assert not {"X-Key", "Host", "Authorization"} & set(following.headers)


@pytest.mark.parametrize(
    ("location", "status", "method"),
    [
        *((location, status, "POST") for location in ELSEWHERE for status in (307, 308)),
        *(("https://evil.test/", status, "PUT") for status in (301, 302, 307, 308)),
    ],
)
def test_a_body_from_a_secret_stays_at_its_origin_whatever_its_length(location, status, method):
    with pytest.raises((HostNotAllowedError, NetworkError)):
        redirected(secret_request(method=method, body_is_secret=True), status, location, lambda _: False)


@pytest.mark.parametrize(
    "location", ["/b", "b?x=1", "?x=1", "https://api.example.com/b", "https://API.example.com:443/b"]
)
def test_the_same_origin_gets_the_whole_request(location):
    following = redirected(secret_request(body_is_secret=True), 307, location, lambda _: False)
    assert (following.headers["X-Key"], following.body) == ("ab", b"short")


@pytest.mark.parametrize(
    "location",
    [
        "https://user:pass@evil.test/",
        "https://api.example.com@evil.test/",
        "https://@evil.test/",
        "\\\\evil.test/",
        "/\\evil.test/",
        "https:\\\\evil.test\\",
        "https://evil.test\\@api.example.com/",
        "https://evil\x00.test/",
        "https://evil.test/\r\nX: y",
        "https://evil%2etest/",
        "https://[::1/",
        "https://evil.test:99999/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:text/plain,x",
        "https://",
        "https://:443/",
    ],
)
def test_an_unusable_location_is_not_followed(location):
    try:
        following = redirected(secret_request(method="GET"), 302, location, lambda _: False)
    except NetworkError as error:
        assert error.kind == "InvalidRedirect"
        return
    assert (following.url.raw_host, following.url.user) == ("evil.test", None)
    assert "X-Key" not in following.headers


def test_headers_that_were_dropped_do_not_come_back():
    away = redirected(secret_request(method="GET"), 302, "https://evil.test/", lambda _: False)
    back = redirected(away, 302, "https://api.example.com/a", lambda _: False)
    assert "X-Key" not in back.headers


@pytest.mark.parametrize("status", [307, 308])
async def test_a_body_with_a_short_secret_is_not_redirected(service, server, second_server, status):
    service.create_secret("pin", "custom", {"pin": "4711"})
    server.on("/a", redirect(status, f"{second_server.url}/x"))
    node = await run(
        service, {"url": f"{server.url}/a", "method": "POST", "body": {"pin": "{{secrets.pin.pin}}"}}
    )
    assert node.error["type"] == "HostNotAllowedError"
    assert second_server.seen == []


@pytest.mark.parametrize("field", ["username", "pin"])
async def test_the_policy_holds_for_every_field_that_the_config_refers_to(service, server, field):
    service.create_secret("s", "custom", {"username": "me", "pin": "4711"}, allowed_hosts=["api.example.com"])
    node = await run(service, {"url": server.url, "query": {"q": f"{{{{secrets.s.{field}}}}}"}})
    assert node.error["type"] == "HostNotAllowedError"
    assert server.seen == []


@pytest.fixture
def bound(service, server):
    """A service with a secret that only the first server may have."""
    service.create_secret(
        "bound", "api_key", {"value": "bound-hunter2"}, allowed_hosts=[f"127.0.0.1:{server.port}"]
    )
    return service


@pytest.mark.parametrize(
    "encode",
    [
        str,
        lambda value: base64.b64encode(value.encode()).decode(),
        lambda value: value.encode().hex(),
        lambda value: "".join(f"%{byte:02X}" for byte in value.encode()),
    ],
)
@pytest.mark.parametrize("place", ["/x?leak={}", "/{}", "/x?{}=1", "/x#{}"])
async def test_a_redirect_does_not_carry_a_value_to_another_origin(
    bound, server, second_server, place, encode
):
    location = second_server.url + place.format(encode("bound-hunter2"))
    server.on("/a", redirect(302, location))
    node = await run(bound, {"url": f"{server.url}/a", "auth": {"secret": "bound"}})
    assert node.error["type"] == "HostNotAllowedError"
    assert second_server.seen == []


async def test_a_secret_does_not_come_back_with_a_second_redirect(bound, server, second_server):
    server.on("/a", redirect(302, f"{second_server.url}/b"))
    second_server.on("/b", redirect(302, f"{server.url}/c"))
    node = await run(
        bound,
        {
            "url": f"{server.url}/a",
            "auth": {"secret": "bound"},
            "headers": {"X-Mine": "{{secrets.bound.value}}"},
        },
    )
    assert node.state == "completed"
    (seen,) = [seen for seen in server.seen if seen.path == "/c"]
    assert "bound-hunter2" not in str(seen)


@pytest.mark.parametrize("status", [307, 308])
async def test_a_body_with_a_bound_secret_is_not_redirected(bound, server, second_server, status):
    server.on("/a", redirect(status, f"{second_server.url}/x"))
    config = {"url": f"{server.url}/a", "method": "POST", "body": {"k": "{{secrets.bound.value}}"}}
    node = await run(bound, config)
    assert node.error["type"] == "HostNotAllowedError"
    assert second_server.seen == []


async def test_a_method_from_a_secret_is_not_redirected(service, server, second_server):
    allowed = [f"127.0.0.1:{server.port}"]
    service.create_secret("m", "custom", {"method": "PUT"}, allowed_hosts=allowed)
    server.on("/a", redirect(307, f"{second_server.url}/x"))
    node = await run(service, {"url": f"{server.url}/a", "method": "{{secrets.m.method}}"})
    assert node.error["type"] == "HostNotAllowedError"
    assert second_server.seen == []


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0"])
async def test_a_redirect_of_a_bound_secret_does_not_lead_to_metadata(bound, server, host):
    server.on("/a", redirect(302, f"http://{host}/latest/meta-data/"))
    node = await run(bound, {"url": f"{server.url}/a", "auth": {"secret": "bound"}, "timeout": 2})
    assert node.error["type"] == "HostNotAllowedError"


async def test_a_redirect_to_another_port_does_not_lead_a_name_to_loopback(
    service, server, second_server, names
):
    """The first answer of the name server is allowed by the policy, and the redirect has no part in that."""
    names["api.example.com"] = ["127.0.0.1"]
    hosts = [f"http://api.example.com:{server.port}", f"127.0.0.1:{server.port}"]
    service.create_secret("k", "api_key", {"value": "rebinding-9"}, allowed_hosts=hosts)
    server.on("/a", redirect(302, f"http://api.example.com:{second_server.port}/x"))
    node = await run(service, {"url": f"http://api.example.com:{server.port}/a", "auth": {"secret": "k"}})
    assert node.error["type"] == "HostNotAllowedError"
    assert second_server.seen == []


async def test_a_value_in_data_does_not_leave_with_a_redirect(bound, server, second_server):
    """One node has the value in its config, and another gets it as data from the server that echoes it."""
    server.on("/a", redirect(307, f"{second_server.url}/x"))
    echo = {"type": "http-request", "config": {"url": f"{server.url}/echo", "auth": {"secret": "bound"}}}
    node = await run(
        bound, {"url": f"{server.url}/a", "method": "POST"}, links=["first.output -> n.body"], first=echo
    )
    assert node.error["type"] == "HostNotAllowedError"
    assert server.at("/a")
    assert second_server.seen == []


async def test_inline_auth_headers_stay_at_their_origin(service, server, second_server):
    server.on("/a", redirect(302, f"{second_server.url}/x"))
    await run(
        service, {"url": f"{server.url}/a", "auth": {"type": "headers", "headers": {"X-Api-Key": "inline"}}}
    )
    assert "X-Api-Key" not in second_server.seen[0].headers


async def test_a_header_whose_name_has_a_dot_stays_at_its_origin(service, server, second_server):
    service.create_secret("pin", "custom", {"pin": "4711"})
    server.on("/a", redirect(302, f"{second_server.url}/x"))
    await run(service, {"url": f"{server.url}/a", "headers": {"X.Key": "{{secrets.pin.pin}}"}})
    assert server.seen[0].headers["X.Key"] == "4711"
    assert "X.Key" not in second_server.seen[0].headers


# --- names, and what data chooses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "link"),
    [
        ({}, "headers"),
        ({}, "query"),
        ({"method": "POST", "body_type": "form"}, "body"),
    ],
)
async def test_data_never_chooses_a_name_that_holds_a_secret(service, server, config, link):
    service.create_secret("k", "api_key", {"value": "secret-as-a-name"}, allowed_hosts=["127.0.0.1"])

    async def echo(request):
        return web.json_response({f"X-{request.headers['X-API-Key']}": "as a name"})

    server.on("/echo", echo)
    first = {"type": "http-request", "config": {"url": f"{server.url}/echo", "auth": {"secret": "k"}}}
    pick = {"type": "transform", "config": {"expression": "body"}}
    node = await run(
        service,
        {"url": f"{server.url}/b", "auth": {"secret": "k"}, **config},
        links=["first.output -> pick.input", f"pick.output -> n.{link}"],
        first=first,
        pick=pick,
    )
    assert "into the name of" in node.error["message"]
    assert server.at("/b") == []


async def test_a_name_in_a_url_from_data_does_not_hold_a_secret(service, server):
    service.create_secret("k", "api_key", {"value": "secret-as-a-name"}, allowed_hosts=["127.0.0.1"])

    async def echo(request):
        return web.json_response(f"{server.url}/b?{request.headers['X-API-Key']}=1")

    server.on("/echo", echo)
    first = {"type": "http-request", "config": {"url": f"{server.url}/echo", "auth": {"secret": "k"}}}
    pick = {"type": "transform", "config": {"expression": "body"}}
    links = ["first.output -> pick.input", "pick.output -> n.url"]
    node = await run(service, {"auth": {"secret": "k"}}, links=links, first=first, pick=pick)
    assert "into the name of" in node.error["message"]
    assert server.at("/b") == []


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Trailer", "Upgrade"])
async def test_the_config_does_not_say_where_a_request_ends(service, server, name):
    node = await run(service, {"url": server.url, "method": "POST", "body": "x", "headers": {name: "0"}})
    assert node.error["type"] == "NodeConfigError"
    assert server.seen == []


@pytest.mark.parametrize(
    "name", ["Content-Length", "Transfer-Encoding", "Host", "Proxy-Authorization", "Connection"]
)
async def test_data_does_not_set_headers_of_the_connection(service, server, name):
    await run(
        service, {"url": server.url, "method": "POST", "body": "x"}, {"headers": {name: "evil", "X-A": "1"}}
    )
    (seen,) = server.seen
    assert (seen.body, seen.headers["X-A"]) == ("x", "1")
    assert "evil" not in seen.headers.values()


async def test_a_host_from_data_does_not_hold_a_secret_in_another_case(service, server):
    service.create_secret("k", "api_key", {"value": "Secret-As-A-Host"})

    async def echo(request):
        return web.json_response(f"http://{request.headers['X-API-Key']}.evil.test/")

    server.on("/echo", echo)
    first = {"type": "http-request", "config": {"url": f"{server.url}/echo", "auth": {"secret": "k"}}}
    pick = {"type": "transform", "config": {"expression": "body"}}
    links = ["first.output -> pick.input", "pick.output -> n.url"]
    node = await run(service, {}, links=links, first=first, pick=pick)
    assert "carries a value of the secret 'k'" in node.error["message"]


# --- the trail, and what is shown ----------------------------------------------------------------------------------------


async def test_a_refusal_is_a_line_of_the_trail(service, server):
    service.create_secret("k", "api_key", {"value": "audited-1"}, allowed_hosts=["api.example.com"])
    await run(service, {"url": server.url, "auth": {"secret": "k"}})
    access_of(service).audit.flush()
    denied = [
        entry for entry in access_of(service).audit.events() if entry["outcome"] == "HostNotAllowedError"
    ]
    assert [entry["node"] for entry in denied] == ["n"]


@pytest.mark.parametrize(
    ("value", "config", "shown"),
    [
        ("ab/cd e%f", {"url": "{url}/x/{{secrets.s.v}}/y"}, "{url}/x/***/y"),
        ("zz", {"url": "{url}/x/{{secrets.s.v}}/y"}, "{url}/x/***/y"),
        ("a/../b?c#d", {"url": "{url}/{{secrets.s.v}}"}, "{url}/***"),
        ("zz", {"url": "{url}/x?q={{secrets.s.v}}&p=1"}, "{url}/x?q=***&p=1"),
        ("zz", {"url": "{url}/x", "query": {"q": "{{secrets.s.v}}", "p": "a b"}}, "{url}/x?q=***&p=a+b"),
        ("ü&=+ é", {"url": "{url}/x", "query": {"q": "<{{secrets.s.v}}>"}}, "{url}/x?q=***"),
        ("unused-value", {"url": "{url}/ü?a=b%26c#fragment"}, "{url}/%C3%BC?a=b%26c"),
    ],
)
async def test_what_is_shown_of_a_url_is_masked_part_by_part(service, server, value, config, shown):
    service.create_secret("s", "custom", {"v": value})
    config = {**config, "url": config["url"].replace("{url}", server.url)}
    node = await run(service, config)
    assert node.outputs["output"]["request"]["url"] == shown.replace("{url}", server.url)


async def test_a_url_that_is_one_reference_is_shown_as_a_mask(service, server):
    service.create_secret("s", "custom", {"url": f"{server.url}/hidden"})
    node = await run(service, {"url": "{{secrets.s.url}}", "query": {"a": "b"}})
    assert node.outputs["output"]["request"]["url"] == "***?a=b"


async def test_a_host_from_a_secret_is_masked_in_errors(service):
    service.create_secret("s", "custom", {"host": "Hidden-Tenant"})
    node = await run(
        service, {"url": "http://{{secrets.s.host}}.invalid/", "insecure_http": True, "timeout": 5}
    )
    assert "hidden-tenant" not in json.dumps(node.to_dict()).lower()


# --- hostile answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        "[" * 500 + "]" * 500,
        "1" * 5_000,
        "[1e999]",
        "[NaN, Infinity, -Infinity]",
        '{"a": 1, "a": 2}',
        '"\\ud800"',
        '{"' * 10_000,
    ],
    ids=["brackets", "nested", "digits", "too large", "NaN", "a key twice", "a surrogate", "braces"],
)
async def test_a_hostile_json_answer_is_saved(service, server, body):
    server.answer("/x", text=body, content_type="application/json")
    node = await run(service, {"url": f"{server.url}/x"})
    assert node.state in ("completed", "failed")
    json.loads(json.dumps(node.to_dict(), allow_nan=False))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(5_000)) + b"\r\n",
        b"HTTP/1.1 200 " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"\x00\xff\xfe garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ],
    ids=["a long header", "5,000 headers", "a long reason", "garbage", "a negative length", "two lengths"],
)
async def test_a_malformed_answer_goes_to_the_error_port(service, answer):
    async with RawServer(answer) as hostile:
        node = await run(service, {"url": f"http://127.0.0.1:{hostile.port}/", "timeout": 5})
        assert node.outputs["error"]["type"] in ("ConnectionError", "TimeoutError")


async def test_an_answer_that_drips_ends_at_the_timeout(service):
    async with RawServer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\na") as hostile:
        node = await run(service, {"url": f"http://127.0.0.1:{hostile.port}/", "timeout": 0.2})
        assert node.outputs["error"]["type"] == "TimeoutError"


@pytest.mark.parametrize(
    "body",
    [float("nan"), {"a": {1, 2}}, object()],
    ids=["nan", "a set", "an object"],
)
async def test_a_body_that_json_cannot_say_fails_the_node(service, server, body):
    node = await run(service, {"url": server.url, "method": "POST", "body_type": "json"}, {"body": body})
    assert node.error["type"] == "NodeConfigError"
    assert server.seen == []
