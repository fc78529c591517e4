"""What a person types for a time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from sealflow import SecretValidationError
from sealflow.model.times import now, read_moment, read_time


def test_a_date_begins_in_utc():
    assert read_time("2027-01-31", "x") == datetime(2027, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize("text", ["soon", "90", "2027-02-31", "2027-01-31T00:00:00", "90x", ""])
def test_what_is_not_a_time_is_refused_with_examples(text):
    with pytest.raises(SecretValidationError, match="--since is not a valid time.*90d, 1h, yesterday"):
        read_moment(text, "--since")


@pytest.mark.parametrize("past", [True, False])
def test_a_span_counts_from_now(past):
    moment = read_moment("90d", "x", past=past)
    assert abs(moment - now() - timedelta(days=-90 if past else 90)) < timedelta(minutes=1)


def test_yesterday_is_where_it_began():
    assert read_moment("yesterday", "x").time() == datetime.min.time()
    assert timedelta(days=1) <= now() - read_moment("yesterday", "x") < timedelta(days=2)


def test_the_commands_take_them(cli, one_secret):
    assert cli("secret", "update", "a", "--expires-at", "90d").code == 0
    expires = datetime.fromisoformat(json.loads(cli("secret", "get", "a", "--json").out)["expires_at"])
    assert timedelta(days=89) < expires - now() < timedelta(days=91)
    assert json.loads(cli("audit", "--since", "1h", "--json").out) != []
    assert json.loads(cli("audit", "--since", "tomorrow", "--json").out) == []
    assert json.loads(cli("secret", "list", "--expiring", "2020-01-31", "--json").out) == []


def test_a_wrong_time_is_a_plain_message(cli, one_secret):
    result = cli("secret", "update", "a", "--expires-at", "soon")
    assert result.code == 1
    assert "--expires-at is not a valid time. Give 90d" in result.err
