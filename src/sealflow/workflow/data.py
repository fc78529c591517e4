"""Data in configs: ``{{input.PATH}}``, ``{{nodes.NAME.PATH}}`` and ``{{env.NAME}}``, by path only.

They are replaced in the same single pass as references, so a value is never parsed again. In a url a value is
percent-encoded and cannot change scheme, host, port or the number of path segments.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from sealflow.errors import NodeConfigError
from sealflow.model.json_value import copied
from sealflow.model.places import Place, data_in, inserted_data, parsed_at, spelled_path
from sealflow.model.references import DataPath

_AUTHORITY = re.compile(r"https?://[^/?#]+[/?#]", re.IGNORECASE)
_PARTIAL_ESCAPE = re.compile(r"%[0-9A-Fa-f]?$")
_OURS = ("WORKFLOW_SECRETS_", "SEALFLOW_")


class FoundData(NamedTuple):
    """A piece of data in a config. ``path``: its place, such as ``body.city``; ``whole``: it is the whole string there."""

    path: str
    data: DataPath
    whole: bool


class DataSource(NamedTuple):
    """What a node's data is taken from: the data on its port ``input``, and the outputs of the nodes that it names."""

    input: Any = None
    nodes: Mapping[str, Any] = {}


def find_data(config: Any) -> tuple[FoundData, ...]:
    """Return every piece of data in a config, in the order it is written."""
    return tuple(
        FoundData(spelled_path(place), data, _is_whole(config, place)) for place, data in data_in(config)
    )


def check_data_places(
    config: Mapping[str, Any],
    found: Collection[FoundData],
    url_fields: Collection[str],
    refused: Collection[str],
) -> None:
    """Refuse data where it could decide where a secret goes. Raises NodeConfigError with the place.

    ``url_fields``: fields that are urls. ``refused``: config paths at, above and below which no data may be.
    """
    for item in found:
        if any(_is_at_or_below(item.path, path) or _is_at_or_below(path, item.path) for path in refused):
            raise NodeConfigError(
                f"{item.data} cannot be used here", hint="Write the value into the config", path=item.path
            )
        if item.path in url_fields and not item.whole:
            _check_url(str(config[item.path]), item)


def data_reader(
    source: DataSource, found: Collection[FoundData], url_fields: Collection[str]
) -> Callable[[DataPath, Place], Any]:
    """Return the function that gives the value of a piece of data at its place, for ``substituted``."""
    segments = {item.path for item in found if item.path in url_fields and not item.whole}

    def data_of(data: DataPath, place: Place) -> Any:
        value, path = _value_of(data, source, place), spelled_path(place)
        return _encode(data, value, place) if path in segments else copied(value)

    return data_of


def _encode(data: DataPath, value: Any, place: Place) -> str:
    """Return a piece of data for a url, percent-encoded. An empty one and dots would lead to another path."""
    text = inserted_data(data, value, place)
    if text in ("", ".", ".."):
        raise NodeConfigError(
            f"{data} is empty, or a dot, and would lead to another path of the url",
            hint="Check the input; an optional parameter goes into query",
            path=spelled_path(place) or None,
        )
    return quote(text, safe="")


def _is_whole(config: Any, place: Place) -> bool:
    value = config
    keys: list[Any] = []
    while not isinstance(place, str):
        place, key = place
        keys.append(key)
    for key in reversed(keys):
        value = value[key]
    return len(parsed_at(value, "").parts) == 1


def _is_at_or_below(path: str, above: str) -> bool:
    return path == above or path.startswith((above + ".", above + "["))


def _check_url(text: str, item: FoundData) -> None:
    """Refuse data that is not behind the whole of scheme, host and port."""
    before = ""
    for part in parsed_at(text, item.path).parts:
        if isinstance(part, DataPath):
            break
        before += part if isinstance(part, str) else "x"
    if _PARTIAL_ESCAPE.search(before):
        raise NodeConfigError(
            f"{item.data} would complete a percent sign in the url",
            hint="Write the escape out",
            path=item.path,
        )
    if not _AUTHORITY.match(before):
        raise NodeConfigError(
            f"{item.data} would choose the scheme, host or port of the url",
            hint="Write https://host/ in front of it; a url that comes from data as a whole goes to the port url",
            path=item.path,
        )


def _value_of(data: DataPath, source: DataSource, place: Place) -> Any:
    if data.source == "env":
        return _variable(data, place)
    value, keys = source.input, data.path
    if data.source == "nodes":
        value, keys = source.nodes[data.path[0]], data.path[1:]
    for key in keys:
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes) and _index(key) < len(value):
            value = value[_index(key)]
        else:
            raise NodeConfigError(
                f"the data has nothing at {data}",
                hint="Look at what the node before gave, and correct the path",
                path=spelled_path(place) or None,
            )
    return value


def _index(key: str) -> int:
    return int(key) if key.isascii() and key.isdigit() and len(key) < 10 else 1 << 62


def _variable(data: DataPath, place: Place) -> str:
    name = data.path[0]
    value = None if name.upper().startswith(_OURS) else os.environ.get(name)
    if value is None:
        raise NodeConfigError(
            f"the environment variable of {data} is not set, or is one of sealflow's own",
            hint="Set it, or correct its name",
            path=spelled_path(place) or None,
        )
    return value
