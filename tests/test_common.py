"""What the commands share: reading what the user gives."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sealflow import SealflowError
from sealflow.cli.common import read_json
from sealflow.model.times import read_span


@pytest.mark.parametrize(
    ("text", "span"),
    [("14d", timedelta(days=14)), ("2w", timedelta(days=14)), (" 12h ", timedelta(hours=12))],
)
def test_a_time_span_is_read(text, span):
    assert read_span(text, "--expiring") == span


@pytest.mark.parametrize("text", ["", "14", "d", "-1d", "1.5d", "14 d", "999999d", "14m"])
def test_what_is_not_a_time_span_is_refused(text):
    with pytest.raises(SealflowError, match="--expiring .* is not a time span"):
        read_span(text, "--expiring")


@pytest.mark.parametrize("text", ['{"token: "abcdef"}', '{"a": 1, "a": 2}', "[" * 100_000])
def test_json_that_cannot_be_read_is_not_repeated(text):
    with pytest.raises(SealflowError) as caught:
        read_json(text, "--from-json")
    assert text not in str(caught.value)
