"""Places in a config: walking it, replacing the references in it, and the path that a message shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sealflow.errors import NodeConfigError, ReferenceSyntaxError, SecretValidationError
from sealflow.model.references import OPENING, DataPath, Reference, Template, parse

_MAX_DEPTH = 100


class FoundReference(NamedTuple):
    """A reference in a config; ``path`` as in ``headers.X-Key`` or ``items[0].name``."""

    path: str
    reference: Reference


Place = tuple[Any, Any] | str
"""A path while walking: the caller's string, or (place above, key or index). It is spelled out only for a message."""


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
                and (match := OPENING.search(key))
                and match[0][0] != "\\"
            ):
                raise ReferenceSyntaxError(
                    "a reference is not allowed in a key",
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


def data_in(config: Any) -> list[tuple[Place, DataPath]]:
    """Return every ``{{input…}}``, ``{{nodes…}}`` and ``{{env…}}`` of a config with its place."""
    found: list[tuple[Place, str]] = []
    _walk(config, "", 0, found)
    return [(place, part) for place, text in found for part in parsed_at(text, place).data]


def parsed_at(text: str, place: Place) -> Template:
    """Parse ``text``, adding the path to an error."""
    try:
        return parse(text)
    except ReferenceSyntaxError as error:
        raise error.placed(path=spelled_path(place) or None) from None


ValueOf = Callable[[Reference, Place], Any]
DataOf = Callable[[DataPath, Place], Any]


def substituted(config: Any, value_of: ValueOf, path: str = "", data_of: DataOf | None = None) -> Any:
    """Return a copy of ``config`` with every reference replaced by ``value_of(reference, place)``.

    ``data_of(data, place)`` does the same for ``{{input…}}``, ``{{nodes…}}`` and ``{{env…}}``, which stay as they are
    written without it. A string that is exactly one of them becomes that value with its type; in a longer string,
    strings, numbers and booleans are inserted. Keys, other values and the config itself stay as they are.
    """
    return _substituted(config, value_of, path, data_of)


def _substituted(config: Any, value_of: ValueOf, place: Place, data_of: DataOf | None) -> Any:
    if isinstance(config, str):
        return _substituted_text(config, value_of, place, data_of) if "{{" in config else config
    if isinstance(config, dict):
        return {key: _substituted(item, value_of, (place, key), data_of) for key, item in config.items()}
    if isinstance(config, list | tuple):
        return [_substituted(item, value_of, (place, index), data_of) for index, item in enumerate(config)]
    if isinstance(config, Mapping):
        return _substituted(dict(config), value_of, place, data_of)
    return config


def _substituted_text(text: str, value_of: ValueOf, place: Place, data_of: DataOf | None) -> Any:
    parts = parsed_at(text, place).parts
    alone = len(parts) == 1
    pieces: list[Any] = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(part)
        elif isinstance(part, Reference):
            value = value_of(part, place)
            pieces.append(value if alone else inserted(part, value, place))
        else:
            value = part.written if data_of is None else data_of(part, place)
            pieces.append(value if alone else inserted_data(part, value, place))
    return pieces[0] if alone else "".join(pieces)


def inserted_data(part: str | DataPath, value: Any, place: Place) -> str:
    """Return a piece of data as part of a longer string: numbers and booleans as in JSON."""
    text = _scalar_text(value)
    if text is not None:
        return text
    kind = "null" if value is None else "a list" if isinstance(value, list | tuple) else "a mapping"
    raise NodeConfigError(
        f"{part} is {kind}, and cannot be inserted into a longer string",
        hint="Let it be the whole value, or name something below it",
        path=spelled_path(place) or None,
    )


def inserted(reference: Reference, value: Any, place: Place) -> str:
    """Return a value as it appears inside a longer string: numbers and booleans as in JSON."""
    text = _scalar_text(value)
    if text is not None:
        return text
    kind = "list" if isinstance(value, list) else "mapping"
    raise SecretValidationError(
        f"{reference} is a {kind} and cannot be part of a longer string",
        hint="Use the reference alone, or name a field below it",
        secret=reference.name,
        field=reference.dotted,
        path=spelled_path(place) or None,
    )


def _scalar_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else None


def place_of(path: str) -> Place:
    """Return the place that a dotted path such as ``nodes.user.config.items[0].name`` means."""
    place: Place = ""
    for part in re.findall(r'"(?:[^"\\]|\\.)*"|[^.\[\]]+|\[\d+\]', path):
        key: Any = int(part[1:-1]) if re.fullmatch(r"\[\d+\]", part) else part.strip('"')
        place = (place, key)
    return place
