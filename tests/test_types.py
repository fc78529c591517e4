from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import create_model

from sealflow import SecretFields, SecretValidationError, register_secret_type
from sealflow.model.types import secret_type_names, validated

GOOD = {
    "api_key": {"value": "v-alue"},
    "basic_auth": {"username": "u-ser", "password": "p-ass"},
    "bearer_token": {"token": "t-oken", "expires_at": "2027-01-01T00:00:00Z"},
    "oauth": {
        "client_id": "c-id",
        "client_secret": "c-sec",
        "scopes": ["a", "b"],
        "token_url": "https://x/t",
    },
    "custom": {
        "host": "h-ost",
        "port": 5432,
        "ratio": 0.5,
        "tls": True,
        "list": ["a", {"b": 1}],
        "deep": {"er": {"x": ""}},
    },
}


@pytest.mark.parametrize("name", GOOD)
def test_each_type_keeps_its_fields(name):
    assert validated(name, GOOD[name]) == GOOD[name]


@pytest.mark.parametrize(
    ("alias", "name"), [("apiKey", "api_key"), ("basicAuth", "basic_auth"), ("bearerToken", "bearer_token")]
)
def test_camel_case_names_are_accepted(alias, name):
    assert validated(alias, GOOD[name]) == GOOD[name]


@pytest.mark.parametrize(
    ("name", "data", "field"),
    [
        ("api_key", {}, "value"),
        ("api_key", {"value": ""}, "value"),
        ("api_key", {"value": 12345678}, "value"),
        ("api_key", {"value": None}, "value"),
        ("api_key", {"value": "x" * 9, "extra": "hunter2hunter2"}, "extra"),
        ("basic_auth", {"username": "hunter2hunter2"}, "password"),
        ("basic_auth", {"username": "u", "password": ["hunter2hunter2"]}, "password"),
        ("bearer_token", {"token": "hunter2hunter2", "expires_at": "soon"}, "expires_at"),
        ("bearer_token", {"token": "hunter2hunter2", "expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        ("oauth", {"client_id": "hunter2hunter2"}, "client_secret"),
        ("oauth", {"client_id": "a", "client_secret": "hunter2hunter2", "scopes": [1]}, "scopes"),
        ("custom", {"a": None}, "a"),
        ("custom", {"a": b"hunter2hunter2"}, "a"),
        ("custom", {"a": float("nan")}, "a"),
        ("custom", {"a": {"b": {"c": None}}}, "a"),
        ("custom", {"a": {1: "hunter2hunter2"}}, "a"),
        ("custom", {"a": "\ud800"}, "a"),
        ("api_key", {"value": "\udfff"}, "value"),
        ("custom", {"no dots.": "hunter2hunter2"}, "'no dots.'"),
        ("custom", {}, "data"),
        ("custom", "hunter2hunter2", "data"),
        ("api_key", ["hunter2hunter2"], "data"),
        ("api_kye", {"value": "hunter2hunter2"}, "type"),
        (17, {"value": "hunter2hunter2"}, "type"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_field_and_never_by_value(name, data, field):
    with pytest.raises(SecretValidationError) as caught:
        validated(name, data)
    assert caught.value.field == field
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None or "hunter2" not in str(caught.value.__context__)
    assert "\n" not in str(caught.value)


def test_a_datetime_becomes_text():
    kept = validated("bearer_token", {"token": "tttt", "expires_at": datetime(2027, 1, 1, tzinfo=UTC)})
    assert kept["expires_at"] == "2027-01-01T00:00:00Z"


def test_too_much_data_and_too_deep_data_are_refused():
    with pytest.raises(SecretValidationError, match="1 MiB"):
        validated("custom", {"a": "x" * (1 << 20)})
    deep: dict = {}
    for _ in range(40):
        deep = {"a": deep}
    with pytest.raises(SecretValidationError, match="deep"):
        validated("custom", deep)


def test_a_third_party_registers_a_type_of_its_own():
    class SshKey(SecretFields):
        private_key: str
        passphrase: str | None = None

    register_secret_type("ssh_key", SshKey)
    register_secret_type("ssh_key", SshKey)
    assert validated("ssh_key", {"private_key": "-----BEGIN"}) == {"private_key": "-----BEGIN"}
    assert "ssh_key" in secret_type_names()
    with pytest.raises(SecretValidationError, match="private_key"):
        validated("ssh_key", {})
    with pytest.raises(SecretValidationError, match="exists"):
        register_secret_type("api_key", create_model("Other"))


json_values = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.integers()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True), json_values, min_size=1, max_size=4
    )
)
def test_any_json_value_comes_back_as_it_went_in(fields):
    assert validated("custom", fields) == fields
