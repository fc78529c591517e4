"""Where things stand in a workflow file: line and column of a place in its data."""

from __future__ import annotations

import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sealflow.model.places import Place

_BRACES = re.compile(r"\\?\{\{")


class Positions:
    """Line and column, counted from 1, of places in YAML or JSON text (JSON is read as YAML: only blanks differ)."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\t", " ")
        try:
            self._root: Node | None = YAML(typ="safe", pure=True).compose(self._text)
        except (YAMLError, RecursionError, ValueError):
            self._root = None

    def of(self, place: Place, offset: int | None = None, value: str = "") -> tuple[int, int]:
        """Return line and column of ``place``; with ``offset``, of the ``{{`` at that offset in its ``value``."""
        node = self._node(place)
        if node is None:
            return 1, 1
        index = node.start_mark.index
        if offset is not None and isinstance(node, ScalarNode):
            written = self._text[index : node.end_mark.index]
            nth = sum(1 for match in _BRACES.finditer(value) if match.start() < offset)
            found = [match.start() for match in _BRACES.finditer(written)]
            if nth < len(found):
                index += found[nth]
        before = self._text[:index]
        return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1

    def _node(self, place: Place) -> Node | None:
        """Return the node at ``place``, or the nearest one above it that is there."""
        if isinstance(place, str):
            return self._root
        above = self._node(place[0])
        return _child(above, place[1]) or above


def _child(node: Node | None, key: Any) -> Node | None:
    if isinstance(node, MappingNode):
        return next((value for name, value in node.value if name.value == str(key)), None)
    if isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
        item: Node = node.value[key]
        return item
    return None
