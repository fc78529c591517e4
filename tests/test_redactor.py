from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealflow.resolver.encodings import forms
from sealflow.resolver.redactor import Redactor

ENCODED = [
    'päss/w+rd&<"x">',
    "hunter2-hunter2",
    "line one\nline two of it\n",
    "%41 $& \\1",
    "{{secrets.a.b}}",
]


@pytest.mark.parametrize("value", ENCODED)
def test_every_form_of_a_value_is_masked(value):
    redactor = Redactor()
    redactor.add({"deep": [value]})
    raw = value.encode()
    shown = [
        value,
        quote(value, safe=""),
        quote_plus(value),
        urlencode({"k": value}),
        raw.hex(),
        raw.hex().upper(),
        json.dumps({"k": value}),
    ]
    shown += [json.dumps({"k": value}, ensure_ascii=False), html.escape(value), repr(value), repr(raw)]
    shown += [
        base64.b64encode(before + raw + b"tail").decode() for before in (b"", b"u", b"us", b"use:", b"user:")
    ]
    shown += [base64.urlsafe_b64encode(before + raw).decode() for before in (b"", b"u", b"us")]
    for text in shown:
        cleaned = redactor.clean(f"before {text} after")
        assert "***" in cleaned, text
        for form in forms(value):
            assert form not in cleaned or form in "before  after", text
        assert cleaned.startswith("before ")
        assert cleaned.endswith(" after")


def test_overlapping_values_are_merged_and_the_longest_wins():
    redactor = Redactor()
    redactor.add(["abcdef", "defghi", "abc-long-one", "long"])
    assert redactor.clean("<abcdefghi>") == "<***>"
    assert redactor.clean("<abc-long-one>") == "<***>"
    assert redactor.clean("nothing here") == "nothing here"


def test_numbers_are_masked_as_text_and_short_ones_are_not():
    redactor = Redactor()
    redactor.add({"pin": 482913, "ratio": 0.123456, "n": 5, "flag": True, "short": "abc"})
    cleaned = redactor.clean_value(
        {"pin": 482913, "text": "pin 482913 is 0.123456", "n": 5, "flag": True, "short": "abc", 482913: None}
    )
    assert cleaned == {
        "pin": "***",
        "text": "pin *** is ***",
        "n": 5,
        "flag": True,
        "short": "abc",
        "***": None,
    }


def test_bytes_and_strange_objects_are_cleaned_before_they_are_shown():
    class Strange:
        def __repr__(self):
            return "Strange(hunter2)"

    redactor = Redactor()
    redactor.add("hunter2")
    assert redactor.clean_value([b"\xff hunter2", Strange(), ("hunter2",), {"hunter2"}]) == [
        {"base64": "/yAqKio="},
        "Strange(***)",
        ["***"],
        ["***"],
    ]
    assert redactor.holds("a hunter2 b")
    assert "hunter2" not in repr(redactor)
    assert Redactor().clean("hunter2") == "hunter2"


@given(st.lists(st.text(min_size=4, max_size=12), min_size=1, max_size=5), st.text(max_size=5))
def test_no_value_survives_in_any_text(values, between):
    redactor = Redactor()
    redactor.add(values)
    cleaned = redactor.clean(between.join(values))
    for value in values:
        assert value not in cleaned.replace("***", "\x00\x01") or value in between + between
