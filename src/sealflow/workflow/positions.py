"""Line and column of a place in the data of a workflow file."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from typing import Any

from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sealflow.errors import WorkflowError
from sealflow.model.places import Place
from sealflow.workflow.reader import compose

_BRACES = re.compile(r"\\?\{\{")


class Positions:
    """Line and column, counted from 1, of places in YAML or JSON text (JSON is read as YAML, which allows other white space)."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\t", " ")
        try:
            self._root: Node | None = compose(self._text)
        except (YAMLError, RecursionError, ValueError, WorkflowError):
            self._root = None
        self._lines = [0, *(match.end() for match in re.finditer("\n", self._text))]
        self._braces: dict[int, list[int]] = {}
        self._value_braces: tuple[str, list[int]] = ("", [])

    def of(self, place: Place, offset: int | None = None, value: str = "") -> tuple[int, int]:
        """Return line and column of ``place``; with ``offset``, of the ``{{`` at that offset in its ``value``."""
        node = self._node(place)
        if node is None:
            return 1, 1
        index = node.start_mark.index
        if offset is not None and isinstance(node, ScalarNode):
            if self._value_braces[0] is not value:
                self._value_braces = value, _starts(value)
            nth = bisect_left(self._value_braces[1], offset)
            if id(node) not in self._braces:
                self._braces[id(node)] = _starts(self._text[index : node.end_mark.index])
            written = self._braces[id(node)]
            if nth < len(written):
                index += written[nth]
        line = bisect_right(self._lines, index)
        return line, index - self._lines[line - 1] + 1

    def _node(self, place: Place) -> Node | None:
        """Return the node at ``place``, or the nearest one above it that is there."""
        if isinstance(place, str):
            return self._root
        above = self._node(place[0])
        return _child(above, place[1]) or above


def _starts(text: str) -> list[int]:
    return [match.start() for match in _BRACES.finditer(text)]


def _child(node: Node | None, key: Any) -> Node | None:
    if isinstance(node, MappingNode):
        return next((value for name, value in node.value if name.value == str(key)), None)
    if isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
        item: Node = node.value[key]
        return item
    return None
