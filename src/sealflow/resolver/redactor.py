"""The redactor: cleans text of every value that one execution revealed, in all its usual encodings."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from sealflow.resolver.encodings import core, forms, texts
from sealflow.resolver.plain import plain
from sealflow.resolver.views import View, readable, views

MASK = "***"

_LONG, _ANCHOR = 256, 32
"""Of forms longer than ``_LONG`` only an anchor every so many characters is searched, and each match is extended as far
as text and form agree: an automaton that holds a value of 1 MiB in all its forms takes gigabytes."""

_DEPTH = 3
"""Encodings in a row that are undone."""

_WIDEST = 12
"""Characters that an encoding may use for one: ``\\ud83d\\ude00``."""

_MOST_VIEWS = 150
"""Views of one text that are searched: all of two encodings in a row (at most 11 and 121), and not thousands of three."""

Span = tuple[int, int]


class Redactor:
    """Knows values and masks them in what leaves the process. Thread-safe.

    A value that was added before a call of ``clean``, ``holds`` or ``spans`` began is masked by that call, whichever
    threads add and clean meanwhile: who finds values that are not indexed yet indexes them, or waits for it.
    """

    def __init__(self) -> None:
        # Reentrant, as a finalizer may log, and so clean, in the middle of indexing.
        self._lock = threading.RLock()
        self._added: list[Any] = []
        self._texts: set[str] = set()
        self._index = _Index(frozenset(), 0)

    def __repr__(self) -> str:
        return "Redactor(***)"

    @property
    def longest(self) -> int:
        """Characters of the longest string that is searched; a stream holds back as much, as the widest encoding writes it."""
        return self._current().longest

    def add(self, value: Any) -> None:
        """Learn every string and number in ``value``; it is indexed when something is cleaned."""
        self._added.append(value)

    def clean(self, text: str) -> str:
        """Return ``text`` with every known value, overlapping ones merged, replaced by ``***``."""
        return masked(text, self.spans(text))

    def stream(self) -> RedactedStream:
        """Return a streaming redactor."""
        return RedactedStream(self)

    def holds(self, text: str) -> bool:
        """Whether ``text`` contains a known value."""
        return bool(self.spans(text))

    def clean_value(self, value: Any) -> Any:
        """Return a copy of ``value`` as JSON data with all strings, keys and numbers cleaned. Never raises.

        Bytes become ``{"base64": text}``; what is not JSON data becomes its cleaned ``repr``.
        """
        return plain(value, self.clean)

    def spans(self, text: str) -> list[Span]:
        """Return the merged spans of all matches."""
        return self._current().spans(text)

    def _current(self) -> _Index:
        """Return an index of every value that was added before this call."""
        index = self._index
        if index.size == len(self._added):
            return index
        with self._lock:
            size = len(self._added)
            if self._index.size < size:
                new = {text for value in self._added[self._index.size : size] for text in texts(value)}
                if new <= self._texts:
                    self._index = self._index.grown(size)
                else:
                    known = self._texts | new
                    self._index = _Index({form for text in known for form in forms(text)}, size)
                    self._texts = known
            return self._index


class _Index:
    """What is searched for: immutable, so that threads may use it while the next one is made.

    ``size``: how many added values it includes.
    """

    def __init__(self, known: set[str] | frozenset[str], size: int) -> None:
        from ahocorasick_rs import AhoCorasick

        patterns: dict[str, list[tuple[str, int]]] = {}
        for form in sorted(map(readable, known)):
            for start, end in _searched(form):
                places = patterns.setdefault(form[start:end], [])
                # Where a form repeats itself, its first place will do.
                if end - start < len(form) and (not places or places[-1][0] is not form):
                    places.append((form, start))
        self.size = size
        self.longest = max((len(form) for form in known if len(form) <= _LONG), default=0)
        if len(known) and any(len(form) > _LONG for form in known):
            self.longest = max(self.longest, _LONG)
        self._automaton = AhoCorasick(list(patterns)) if patterns else None
        self._anchors = {index: places for index, places in enumerate(patterns.values()) if places}

    def grown(self, size: int) -> _Index:
        """Return the same index for more added values, none of them new."""
        same = _Index.__new__(_Index)
        same.__dict__.update(self.__dict__, size=size)
        return same

    def spans(self, text: str) -> list[Span]:
        if self._automaton is None:
            return []
        found = self._matches(readable(text))
        for behind in _chains(text):
            for start, end in self._matches(readable(behind[-1].text)):
                for view in reversed(behind):
                    start, end = view.source(start, end)  # noqa: PLW2901 - one step back at a time
                found.append((start, end))
        return _merged(found)

    def _matches(self, text: str) -> list[Span]:
        found: list[Span] = []
        covered: dict[str, int] = {}
        assert self._automaton is not None
        for index, start, end in self._automaton.find_matches_as_indexes(text, overlapping=True):
            places = self._anchors.get(index, ())
            if not places:
                found.append((start, end))
            for form, offset in places:
                if end > covered.get(form, 0):
                    after = _agreeing(text[start : start + len(form) - offset], form[offset:])
                    before = _agreeing(text[max(start - offset, 0) : start][::-1], form[:offset][::-1])
                    found.append((start - before, start + after))
                    covered[form] = start + after
        return found


def _chains(text: str) -> Iterator[tuple[View, ...]]:
    """Yield the views of a text, then their views, and so on, each with the views that lead to it.

    What two encodings hide is always among them; a third is undone while there are fewer than ``_MOST_VIEWS``.
    """
    seen = {text}
    level: list[tuple[View, ...]] = [()]
    for _ in range(_DEPTH):
        above, level = level, []
        for chain in above:
            for view in views(chain[-1].text if chain else text):
                if view.text not in seen and len(seen) <= _MOST_VIEWS:
                    seen.add(view.text)
                    level.append((*chain, view))
                    yield level[-1]


def _searched(form: str) -> list[Span]:
    """Return the parts of a form that are searched: its core, or an anchor every ``_LONG`` characters."""
    if len(form) <= _LONG:
        return [core(form)]
    return [(offset, offset + _ANCHOR) for offset in range(0, len(form) - _ANCHOR, _LONG)]


class RedactedStream:
    """Cleans a text that comes in pieces: a value that two of them share is found too."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what can be printed already; the last characters, in which a value may begin, are held back."""
        text = self._held + piece
        spans = self._redactor.spans(text)
        keep = max(len(text) - max(self._redactor.longest * _WIDEST - 1, 0), 0)
        for start, end in spans:
            if start < keep <= end:
                keep = start  # a value is not cut in two: what follows may make it longer
        self._held = text[keep:]
        return masked(text[:keep], [span for span in spans if span[1] <= keep])

    def finish(self) -> str:
        """Return the rest."""
        rest, self._held = self._redactor.clean(self._held), ""
        return rest


def masked(text: str, spans: list[Span]) -> str:
    """Return ``text`` with the spans, which are sorted and do not overlap, replaced by ``***``."""
    if not spans:
        return text
    pieces, position = [], 0
    for start, end in spans:
        pieces += [text[position:start], MASK]
        position = end
    return "".join(pieces) + text[position:]


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
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
