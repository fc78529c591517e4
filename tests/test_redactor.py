from __future__ import annotations

import base64
import html
import json
import threading
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


class _Slow(str):
    """A value that takes until ``go`` to be encoded, so that other threads clean in the middle of indexing."""

    __slots__ = ("begun", "go")

    def __new__(cls, text):
        made = super().__new__(cls, text)
        made.begun, made.go = threading.Event(), threading.Event()
        return made

    def splitlines(self, keepends=False):
        self.begun.set()
        assert self.go.wait(20)
        return super().splitlines(keepends)


def test_a_value_that_is_added_while_others_clean_is_masked_by_all_of_them():
    """The large value holds up the indexing of the token; who cleans meanwhile waits for it."""
    redactor = Redactor()
    redactor.add("an earlier value")
    redactor.clean("make the first index")
    large = _Slow("large value")
    redactor.add([large, "hunter2-token"])
    results: list[str] = []
    first = threading.Thread(target=redactor.clean, args=("whatever",))
    first.start()
    assert large.begun.wait(20)
    others = [
        threading.Thread(target=lambda: results.append(redactor.clean("hunter2-token"))) for _ in range(4)
    ]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join(0.05)  # what did not wait would have answered by now
    assert results == []
    large.go.set()
    for thread in (first, *others):
        thread.join(20)
    assert results == ["***"] * 4


def test_a_value_added_while_the_index_is_made_is_in_the_next(monkeypatch):
    redactor = Redactor()
    large = _Slow("large value")
    redactor.add(large)
    first = threading.Thread(target=redactor.clean, args=("whatever",))
    first.start()
    assert large.begun.wait(20)
    redactor.add("hunter2-token")
    large.go.set()
    assert redactor.clean("hunter2-token") == "***"
    first.join(20)


def test_a_finalizer_that_cleans_in_the_middle_of_indexing_does_not_lock_up():
    redactor = Redactor()

    class Cleaning(str):
        __slots__ = ()

        def splitlines(self, keepends=False):
            cleaned.append(
                redactor.clean("hunter2-token") if not cleaned.append("begun") and len(cleaned) < 3 else ""
            )
            return super().splitlines(keepends)

    cleaned: list[str] = []
    redactor.add([Cleaning("large value"), "hunter2-token"])
    thread = threading.Thread(target=redactor.clean, args=("whatever",), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert "***" in cleaned


def test_nothing_new_costs_no_new_index():
    redactor = Redactor()
    redactor.add("hunter2-token")
    redactor.clean("x")
    before = redactor._index._automaton
    redactor.add("hunter2-token")
    redactor.clean("x")
    assert redactor._index._automaton is before
