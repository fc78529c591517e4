from __future__ import annotations

import pytest

from sealflow import SecretValidationError
from sealflow.model.hosts import HostPattern, is_loopback, normalised
from sealflow.model.policy import Policy


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("API.Example.com", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("::0:1", "::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("my_host", "my_host"),
        ("127。0。0。1", "127.0.0.1"),
    ],
)
def test_a_host_has_one_spelling(written, spelled):
    assert normalised(written) == spelled


@pytest.mark.parametrize(
    "written",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "1.2.3.4.5",
        "",
        "-a.com",
        "a..b",
        "a b",
        "a" * 64 + ".com",
        "[::1",
        "::g",
        "fe80::1%eth0",
        "１２７.1",
    ],
)
def test_what_is_not_a_host_is_refused(written):
    with pytest.raises(ValueError, match="it is"):
        normalised(written)


@pytest.mark.parametrize(
    ("pattern", "host", "port", "allowed"),
    [
        ("api.example.com", "api.example.com", 443, True),
        ("api.example.com", "example.com", 443, False),
        ("api.example.com", "xapi.example.com", 443, False),
        ("API.example.com", "api.example.com", 8443, True),
        ("*.example.com", "a.example.com", 443, True),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "evilexample.com", 443, False),
        ("*.example.com", "a.example.com.evil.com", 443, False),
        ("api.example.com:8443", "api.example.com", 443, False),
        ("api.example.com:8443", "api.example.com", 8443, True),
        ("[::1]:80", "::1", 80, True),
        ("::1", "::1", 80, True),
        ("127.0.0.1", "127.0.0.1", 1234, True),
    ],
)
def test_patterns_match_by_label(pattern, host, port, allowed):
    assert HostPattern.parse(pattern).matches(host, port) is allowed


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "*.com",
        "*.1.2.3.4",
        "a*.com",
        "https://a.com",
        "a.com/x",
        "u@a.com",
        "a.com:0",
        "a.com:99999",
        "a%2e.com",
        "a\\.com",
        "http://",
        "http://a.com/",
        "http://http://a.com",
        "http://u@a.com",
        "http:// a.com",
        "",
    ],
)
def test_patterns_that_say_too_much_or_nothing_are_refused(pattern):
    with pytest.raises(SecretValidationError):
        Policy.build([pattern], None, None)


def test_loopback_is_known_by_definition():
    assert all(map(is_loopback, ["127.0.0.1", "127.9.9.9", "::1", "localhost", "a.localhost"]))
    assert not any(map(is_loopback, ["10.0.0.1", "example.com", "localhost.example.com", "::2"]))
