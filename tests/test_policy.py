from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sealflow import SecretValidationError
from sealflow.model.policy import Policy


def test_a_policy_survives_its_text():
    policy = Policy.build(["b.com", "a.com", "b.com"], ["nightly-*"], datetime(2027, 1, 1, tzinfo=UTC))
    assert policy.allowed_hosts == ("b.com", "a.com")
    assert Policy.from_text(policy.to_text()) == policy


def test_an_empty_policy_survives_its_text():
    assert Policy.from_text(Policy().to_text()) == Policy()


@pytest.mark.parametrize(
    "bad",
    [
        {"allowed_hosts": "a.com"},
        {"allowed_hosts": 5},
        {"allowed_workflows": [1]},
        {"allowed_workflows": [""]},
        {"expires_at": "tomorrow"},
        {"expires_at": datetime(2027, 1, 1)},
    ],
)
def test_a_policy_that_cannot_be_read_is_refused(bad):
    with pytest.raises(SecretValidationError) as caught:
        Policy.build(**{"allowed_hosts": None, "allowed_workflows": None, "expires_at": None, **bad})
    assert caught.value.field == next(iter(bad))


@pytest.mark.parametrize(
    ("workflow", "allowed"), [("nightly-1", True), ("report", True), ("Report", False), (None, False)]
)
def test_workflows_are_allowed_by_pattern(workflow, allowed):
    assert Policy.build(None, ["nightly-*", "report"], None).allows_workflow(workflow) is allowed


def test_a_policy_without_restrictions_allows_every_workflow():
    assert Policy().allows_workflow(None)


def test_an_empty_list_of_workflows_allows_none():
    assert not Policy.build(None, [], None).allows_workflow("report")


def test_an_empty_list_of_hosts_allows_none():
    assert not Policy.build([], None, None).allows_host("a.com", 443)


@pytest.mark.parametrize(
    ("entry", "plain_http"),
    [("http://a.com", True), ("HTTP://a.com", True), ("http://a.com:80", True), ("a.com", False)],
)
def test_only_an_entry_that_begins_with_http_allows_a_host_without_tls(entry, plain_http):
    assert Policy.build([entry], None, None).allows_host("a.com", 80, plain_http=True) is plain_http


def test_an_entry_that_begins_with_http_allows_tls_too():
    assert Policy.build(["http://a.com"], None, None).allows_host("a.com", 443)


def test_the_addresses_that_a_policy_names_are_known_by_port():
    policy = Policy.build(["a.com", "10.0.0.1", "[::1]:80", "*.b.com"], None, None)
    assert policy.named_addresses(443) == {"10.0.0.1"}
    assert policy.named_addresses(80) == {"10.0.0.1", "::1"}
