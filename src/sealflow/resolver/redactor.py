"""The redactor: cleans text of every value that one execution revealed, in all its usual encodings."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Mapping
from typing import Any

from sealflow.resolver.encodings import forms, texts

MASK = "***"
_LONG, _ANCHOR = 256, 32
"""Of forms longer than ``_LONG`` only an anchor every so many characters is searched, and each match is extended as far
as text and form agree: an automaton that holds a value of 1 MiB in all its forms takes gigabytes."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class Redactor:
    """Knows values and masks them in what leaves the process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: list[Any] = []
        self._texts: set[str] = set()
        self._automaton: Any = None
        self._anchors: dict[int, list[tuple[str, int]]] = {}
        self.longest = 0
        """Characters of the longest known form; a stream holds back one less."""

    def __repr__(self) -> str:
        return "Redactor(***)"

    def add(self, value: Any) -> None:
        """Learn every text and number in ``value``; what that means is worked out when something is cleaned."""
        self._values.append(value)

    def clean(self, text: str) -> str:
        """Return ``text`` with every known value, overlapping ones merged, replaced by ``***``."""
        spans = self.spans(text)
        if not spans:
            return text
        pieces, position = [], 0
        for start, end in spans:
            pieces += [text[position:start], MASK]
            position = end
        return "".join(pieces) + text[position:]

    def stream(self) -> RedactedStream:
        """Return what cleans a text that comes in pieces."""
        return RedactedStream(self)

    def holds(self, text: str) -> bool:
        """Whether a known value stands in ``text``."""
        return bool(self.spans(text))

    def clean_value(self, value: Any) -> Any:
        """Return a copy of JSON-like data with all texts, keys and numbers cleaned; bytes become ``{"base64": text}``.

        What is no JSON-like data becomes its cleaned ``repr``, so that nothing is printed unseen.
        """
        if isinstance(value, str):
            return self.clean(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return MASK if self.clean(repr(value)) == MASK else value
        if isinstance(value, Mapping):
            cleaned: dict[str, Any] = {}
            for key, item in value.items():
                name = self.clean(str(key))
                while name in cleaned:  # two keys that are masked stay two
                    name += "*"
                cleaned[name] = self.clean_value(item)
            return cleaned
        if isinstance(value, list | tuple | set | frozenset):
            return [self.clean_value(item) for item in value]
        if isinstance(value, bytes | bytearray):
            text = self.clean(bytes(value).decode("utf-8", "surrogateescape"))
            return {"base64": base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()}
        return self.clean(repr(value))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return the merged spans of all matches."""
        automaton = self._build() if self._values else self._automaton
        if automaton is None:
            return []
        text = _searchable(text)
        found: list[tuple[int, int]] = []
        covered = 0
        for index, start, end in automaton.find_matches_as_indexes(text, overlapping=True):
            found.append((start, end))
            for form, offset in self._anchors.get(index, ()) if end > covered else ():
                after = _agreeing(text[start:][: len(form) - offset], form[offset:])
                before = _agreeing(text[max(start - offset, 0) : start][::-1], form[:offset][::-1])
                found.append((start - before, start + after))
                covered = max(covered, start + after)
        return _merged(found)

    def _build(self) -> Any:
        with self._lock:
            values, self._values = self._values, []
            new = {text for value in values for text in texts(value)} - self._texts
            if new:
                self._texts |= new
                self._index({_searchable(form) for text in self._texts for form in forms(text)})
            return self._automaton

    def _index(self, known: set[str]) -> None:
        from ahocorasick_rs import AhoCorasick

        patterns: dict[str, list[tuple[str, int]]] = {}
        for form in sorted(known):
            if len(form) <= _LONG:
                patterns.setdefault(form, [])
                continue
            for offset in range(0, len(form) - _ANCHOR, _LONG):
                places = patterns.setdefault(form[offset : offset + _ANCHOR], [])
                if (
                    not places or places[-1][0] is not form
                ):  # where a form repeats itself, its first place will do
                    places.append((form, offset))
        self.longest = max(map(len, patterns), default=0)
        self._automaton = AhoCorasick(list(patterns)) if patterns else None
        self._anchors = {index: places for index, places in enumerate(patterns.values()) if places}


class RedactedStream:
    """Cleans a text that comes in pieces: a value that two of them share is found too."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what can be said already; the last characters, in which a value may begin, are held back."""
        text = self._held + piece
        spans = self._redactor.spans(text)
        keep = max(len(text) - max(self._redactor.longest - 1, 0), 0)
        for start, end in spans:
            if start < keep <= end:
                keep = start  # a value is not cut in two: what follows may make it longer
        self._held = text[keep:]
        return self._redactor.clean(text[:keep])

    def finish(self) -> str:
        """Return the rest."""
        rest, self._held = self._redactor.clean(self._held), ""
        return rest


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _agreeing(text: str, form: str) -> int:
    """Return how many characters ``text`` and ``form`` begin with in common."""
    agreed, step, limit = 0, _LONG, min(len(text), len(form))
    while step and agreed < limit:
        if text[agreed : agreed + step] == form[agreed : agreed + step]:
            agreed, step = agreed + step, step * 2
        else:
            step //= 2
    return min(agreed, limit)


def _searchable(text: str) -> str:
    """Return ``text`` with lone surrogates replaced, one character for one: the library takes valid Unicode only."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return _SURROGATE.sub("\ufffd", text)
