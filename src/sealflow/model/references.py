r"""The grammar of references, and where they stand in a config.

::

    reference = "{{" blanks "secrets." [provider ":"] name {"." segment} blanks "}}"
    name      = NAME | quoted          NAME = [A-Za-z0-9_][A-Za-z0-9_-]{0,127}
    provider  = NAME                   segment = NAME | quoted      quoted = a JSON string
    blanks    = {" " | TAB}            \{{ stands for a literal {{

Text that begins like a reference (``{{``, blanks, ``secrets``, in any case) and is none raises
ReferenceSyntaxError; any other ``{{...}}`` is left alone. Substitution is one pass over spans: what a value
contains is never parsed again. The same grammar for readers: docs/reference/references.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sealflow.errors import ReferenceSyntaxError
from sealflow.model.names import NAME_PATTERN, NAME_RULE

_OPENING = re.compile(r"\\\{\{|\{\{(?=\s*secrets)", re.IGNORECASE)
_HEAD = re.compile(r"\{\{[ \t]*secrets(?![A-Za-z0-9_-])")
_NAME = re.compile(NAME_PATTERN)
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_TAIL = re.compile(r"[ \t]*\}\}")
_MAX_DEPTH = 100
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


class Span(NamedTuple):
    """A reference and where it stands: the offsets of its first character and behind its last."""

    start: int
    end: int
    reference: Reference


class Template(NamedTuple):
    """A parsed text: literal pieces (escapes undone) and references, in order; ``spans`` for whoever points at them."""

    parts: tuple[str | Reference, ...]
    spans: tuple[Span, ...]

    @property
    def single(self) -> Reference | None:
        """The reference, where the text is exactly one and nothing else."""
        return self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], Reference) else None


class FoundReference(NamedTuple):
    """A reference in a config; ``path`` as in ``headers.X-Key`` or ``items[0].name``."""

    path: str
    reference: Reference


def _spelled(part: str) -> str:
    return part if _NAME.fullmatch(part) else json.dumps(part)


@lru_cache(maxsize=4096)
def parse(text: str) -> Template:
    """Parse one text; raise ReferenceSyntaxError with its column and a hint."""
    parts: list[str | Reference] = []
    spans: list[Span] = []
    literal, position = "", 0
    while match := _OPENING.search(text, position):
        literal += text[position : match.start()]
        if match[0].startswith("\\"):
            literal += "{{"
            position = match.end()
            continue
        reference, position = _reference_at(text, match.start())
        if literal:
            parts.append(literal)
            literal = ""
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
                    "a reference inside a text needs a field",
                    span.start,
                    "Write {{secrets.%s.FIELD}}" % _spelled(span.reference.name),
                )
    return template


def _reference_at(text: str, start: int) -> tuple[Reference, int]:
    head = _HEAD.match(text, start)
    if head is None:
        word = re.compile(r"\{\{\s*([A-Za-z0-9_-]+)").match(text, start)
        said = word[1] if word else ""
        if said.lower() == "secrets" and said != "secrets":
            raise _error("'secrets' is written in lower case", start, FORM)
        if said == "secrets":
            raise _error("only spaces and tabs may stand inside the braces", start, FORM + " on one line")
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
    return _error("a character that cannot stand in a name", len(text) - len(rest), hint)


def _error(message: str, position: int, hint: str) -> ReferenceSyntaxError:
    return ReferenceSyntaxError(f"{message} (column {position + 1})", column=position + 1, hint=hint)


Place = tuple[Any, Any] | str
"""A path while walking: the caller's text, or (place above, key or index). Spelled out only where it is needed."""


def references_in(config: Any, path: str = "") -> list[tuple[Place, Reference]]:
    """Return what ``find_references`` does, with the places not spelled out."""
    found: list[tuple[Place, str]] = []
    _walk(config, path, 0, found)
    return [(place, span.reference) for place, text in found for span in parsed_at(text, place).spans]


def _walk(value: Any, place: Place, depth: int, found: list[tuple[Place, str]]) -> None:
    if isinstance(value, str):
        if "{{" in value:
            found.append((place, value))
    elif isinstance(value, dict | list | tuple | Mapping):
        if depth > _MAX_DEPTH:
            path = spelled_path(place)
            raise ReferenceSyntaxError(
                "nested too deeply", column=1, hint=f"At most {_MAX_DEPTH} levels", path=path[:80]
            )
        if isinstance(value, list | tuple):
            for index, item in enumerate(value):
                _walk(item, (place, index), depth + 1, found)
            return
        for key, item in value.items():
            if (
                isinstance(key, str)
                and "{{" in key
                and (match := _OPENING.search(key))
                and match[0][0] != "\\"
            ):
                raise ReferenceSyntaxError(
                    "a reference cannot stand in a key",
                    column=1,
                    hint="Put it into the value",
                    path=spelled_path(place) or None,
                )
            _walk(item, (place, key), depth + 1, found)


def spelled_path(place: Place) -> str:
    """Return the path as it is shown: ``headers.X-Key``, ``items[0].name``."""
    if isinstance(place, str):
        return place
    above, key = spelled_path(place[0]), place[1]
    return f"{above}[{key}]" if isinstance(key, int) and not isinstance(key, bool) else key_path(above, key)


def key_path(path: str, key: Any) -> str:
    """Return the path of ``key`` below ``path``."""
    spelled = str(key) if isinstance(key, str) and key and "." not in key else json.dumps(str(key))
    return f"{path}.{spelled}" if path else spelled


def find_references(config: Any, path: str = "") -> list[FoundReference]:
    """Return every reference in ``config`` (mappings and lists, any depth), in the order it is written.

    Raises ReferenceSyntaxError, with path, column and hint, for the first malformed one.
    """
    return [
        FoundReference(spelled_path(place), reference) for place, reference in references_in(config, path)
    ]


def parsed_at(text: str, place: Place) -> Template:
    """Parse ``text``, adding the path to an error."""
    try:
        return parse(text)
    except ReferenceSyntaxError as error:
        path = spelled_path(place)
        raise ReferenceSyntaxError(
            error.message, column=error.column, hint=error.hint or FORM, path=path or None
        ) from None


def substituted(config: Any, value_of: Callable[[Reference, Place], Any], path: str = "") -> Any:
    """Return a copy of ``config`` with every reference replaced by ``value_of(reference, place)``.

    A text that is exactly one reference becomes that value with its type; in a longer text ``value_of`` gives
    what to insert (a str). Keys, other values and the config itself stay as they are.
    """
    return _substituted(config, value_of, path)


def _substituted(config: Any, value_of: Callable[[Reference, Place], Any], place: Place) -> Any:
    if isinstance(config, str):
        return _substituted_text(config, value_of, place) if "{{" in config else config
    if isinstance(config, dict):
        return {key: _substituted(item, value_of, (place, key)) for key, item in config.items()}
    if isinstance(config, list | tuple):
        return [_substituted(item, value_of, (place, index)) for index, item in enumerate(config)]
    if isinstance(config, Mapping):
        return _substituted(dict(config), value_of, place)
    return config


def _substituted_text(text: str, value_of: Callable[[Reference, Place], Any], place: Place) -> Any:
    template = parsed_at(text, place)
    if template.single is not None:
        return value_of(template.single, place)
    return "".join(
        part if isinstance(part, str) else inserted(part, value_of(part, place), place)
        for part in template.parts
    )


def inserted(reference: Reference, value: Any, place: Place) -> str:
    """Return the text of a value that stands inside a longer text: numbers and booleans as in JSON."""
    from sealflow.errors import SecretValidationError

    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    kind = "list" if isinstance(value, list) else "mapping"
    raise SecretValidationError(
        f"{reference} is a {kind} and cannot stand inside a text",
        hint="Let the reference stand alone, or name a field below it",
        secret=reference.name,
        field=reference.dotted,
        path=spelled_path(place) or None,
    )
