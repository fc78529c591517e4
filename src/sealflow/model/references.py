r"""The grammar of references: from a string to the template it means.

::

    reference = "{{" spaces "secrets." [provider ":"] name {"." segment} spaces "}}"
    name      = NAME | quoted          NAME = [A-Za-z0-9_][A-Za-z0-9_-]{0,127}
    provider  = NAME                   segment = NAME | quoted      quoted = a JSON string
    spaces    = {" " | TAB}            \{{ is a literal {{

A string that begins like a reference (``{{``, spaces, ``secrets``, in any case) and is not one raises
ReferenceSyntaxError; any other ``{{...}}`` is left alone. Substitution is one pass over spans: what a value
contains is never parsed again. The same grammar for readers: docs/reference/references.md.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import NamedTuple

from sealflow.errors import ReferenceSyntaxError
from sealflow.model.names import NAME_PATTERN, NAME_RULE

_DATA_OPENING = r"\{\{(?=[ \t]*(?:input|nodes|env)[ \t]*[.}])"
OPENING = re.compile(r"\\\{\{|\{\{(?=\s*secrets)|" + _DATA_OPENING, re.IGNORECASE)
_HEAD = re.compile(r"\{\{[ \t]*secrets(?![A-Za-z0-9_-])")
_NAME = re.compile(NAME_PATTERN)
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_TAIL = re.compile(r"[ \t]*\}\}")
_SEGMENT = rf'\.(?:{NAME_PATTERN}|"(?:[^"\\\x00-\x1f]|\\.)+")'
_DATA = re.compile(rf"\{{\{{[ \t]*(input|nodes|env)((?:{_SEGMENT})*)[ \t]*\}}\}}")
_SEGMENTS = re.compile(_SEGMENT)
FORM = "Write {{secrets.NAME.FIELD}}"


class Reference(NamedTuple):
    """``{{secrets.provider:name.field}}``; ``field`` is the path below the secret, empty for all its fields."""

    name: str
    field: tuple[str, ...]
    provider: str | None = None

    def __str__(self) -> str:
        provider = f"{self.provider}:" if self.provider else ""
        return "{{secrets." + provider + ".".join(_spelled(part) for part in (self.name, *self.field)) + "}}"

    @property
    def dotted(self) -> str:
        """The field's path as it is written: ``server.port``."""
        return ".".join(_spelled(part) for part in self.field)


class DataPath(NamedTuple):
    """``{{input.city}}``, ``{{nodes.NAME.a.b}}``, ``{{env.NAME}}``: a piece of data, and how it was written.

    ``source`` is the first word; ``path`` are the keys and list positions behind it, for ``nodes`` with the node's name
    first.
    """

    source: str
    path: tuple[str, ...]
    written: str

    def __str__(self) -> str:
        return self.written


class Span(NamedTuple):
    """A reference and its place: the offsets of its first character and of the one after its last."""

    start: int
    end: int
    reference: Reference


class Template(NamedTuple):
    """A parsed string: literal pieces (escapes undone) and references, in order; ``spans`` say where the references are."""

    parts: tuple[str | Reference | DataPath, ...]
    spans: tuple[Span, ...]

    @property
    def single(self) -> Reference | None:
        """The reference, if the string is exactly one reference; else None."""
        return self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], Reference) else None

    @property
    def data(self) -> tuple[DataPath, ...]:
        """The pieces of data, in order."""
        return tuple(part for part in self.parts if isinstance(part, DataPath))


def _spelled(part: str) -> str:
    return part if _NAME.fullmatch(part) else json.dumps(part)


@lru_cache(maxsize=4096)
def parse(text: str) -> Template:
    """Parse one string; raise ReferenceSyntaxError with its column and a hint."""
    parts: list[str | Reference | DataPath] = []
    spans: list[Span] = []
    literal, position = "", 0
    while match := OPENING.search(text, position):
        literal += text[position : match.start()]
        if match[0].startswith("\\"):
            literal += "{{"
            position = match.end()
            continue
        data = _data_at(text, match.start())
        if data is None and not _begins_like_a_reference(text, match.start()):
            literal += "{{"  # it only looks like a piece of data: it is sent as it is
            position = match.end()
            continue
        if literal:
            parts.append(literal)
            literal = ""
        if data is not None:
            parts.append(data)
            position = match.start() + len(data.written)
            continue
        reference, position = _reference_at(text, match.start())
        parts.append(reference)
        spans.append(Span(match.start(), position, reference))
    literal += text[position:]
    if literal or not parts:
        parts.append(literal)
    template = Template(tuple(parts), tuple(spans))
    if template.single is None:
        for span in spans:
            if not span.reference.field:
                raise _error(
                    "a reference inside a longer string needs a field",
                    span.start,
                    "Write {{secrets.%s.FIELD}}" % _spelled(span.reference.name),
                )
    return template


_BRACES = re.compile(r"\\?\{\{")


def literal_openings(text: str) -> list[int]:
    """Return the offsets of every ``{{`` that is sent as it is written, and is not escaped. ``text`` parses."""
    found, position = [], 0
    while match := _BRACES.search(text, position):
        data = None if match[0].startswith("\\") else _data_at(text, match.start())
        if data is not None:
            position = match.start() + len(data.written)
        elif not match[0].startswith("\\") and _begins_like_a_reference(text, match.start()):
            position = _reference_at(text, match.start())[1]
        else:
            position = match.end()
            if not match[0].startswith("\\"):
                found.append(match.start())
    return found


def _begins_like_a_reference(text: str, start: int) -> bool:
    return text[start + 2 :].lstrip()[:7].lower() == "secrets"


def _data_at(text: str, start: int) -> DataPath | None:
    match = _DATA.match(text, start)
    if match is None:
        return None
    segments = [item[1:] for item in _SEGMENTS.findall(match[2])]
    try:
        path = tuple(json.loads(item) if item.startswith('"') else item for item in segments)
    except ValueError:
        return None
    if (match[1] == "env" and len(path) != 1) or (match[1] == "nodes" and not path):
        return None
    return DataPath(match[1], path, match[0])


def _reference_at(text: str, start: int) -> tuple[Reference, int]:
    head = _HEAD.match(text, start)
    if head is None:
        word = re.compile(r"\{\{\s*([A-Za-z0-9_-]+)").match(text, start)
        said = word[1] if word else ""
        if said.lower() == "secrets" and said != "secrets":
            raise _error("'secrets' is written in lower case", start, FORM)
        if said == "secrets":
            raise _error("only spaces and tabs are allowed inside the braces", start, FORM + " on one line")
        raise _error("this begins like a reference, and 'secrets' must be followed by a dot", start, FORM)
    position = head.end()
    if text[position : position + 1] != ".":
        if _TAIL.match(text, position):
            raise _error("the reference names no secret", start, FORM)
        raise _error("'secrets' must be followed by a dot", position, FORM)
    name, position = _part(text, position + 1, "a secret's name", start)
    provider = None
    if text[position : position + 1] == ":":
        if not _NAME.fullmatch(name):
            raise _error("a provider's name is never quoted", position, NAME_RULE)
        provider = name
        name, position = _part(text, position + 1, "a secret's name", start)
    field: list[str] = []
    while text[position : position + 1] == ".":
        segment, position = _part(text, position + 1, "a field's name", start)
        field.append(segment)
    tail = _TAIL.match(text, position)
    if tail is None:
        raise _not_closed(text, position, start)
    return Reference(name, tuple(field), provider), tail.end()


def _part(text: str, position: int, what: str, start: int) -> tuple[str, int]:
    quoted = _QUOTED.match(text, position)
    if quoted:
        try:
            part = json.loads(quoted[0])
        except ValueError:
            raise _error(f"{what} is quoted and no JSON string", position, "Escape as in JSON") from None
        if not part:
            raise _error(f"{what} is empty", position, FORM)
        return part, quoted.end()
    if text[position : position + 1] == '"':
        raise _error("a quoted name does not end", position, 'Close it with "')
    plain = _NAME.match(text, position)
    if plain:
        return plain[0], plain.end()
    if _TAIL.match(text, position) or text[position : position + 1] == ".":
        raise _error(f"{what} is missing", position, FORM)
    if position >= len(text):
        raise _not_closed(text, position, start)
    raise _error(f"{what} cannot begin here", position, NAME_RULE + "; quote other names")


def _not_closed(text: str, position: int, start: int) -> ReferenceSyntaxError:
    rest = text[position:].lstrip(" \t")
    if not rest or rest.startswith("}"):
        return _error("the reference is not closed", start, "End it with }}")
    hint = 'Quote a name with other characters: {{secrets."team/app".token}}'
    return _error("a character that is not allowed in a name", len(text) - len(rest), hint)


def _error(message: str, position: int, hint: str) -> ReferenceSyntaxError:
    return ReferenceSyntaxError(f"{message} (column {position + 1})", column=position + 1, hint=hint)
