"""Node types by name: ours, registered ones, and those of installed packages (entry points ``sealflow.nodes``)."""

from __future__ import annotations

import importlib
from typing import TypeVar

from sealflow.errors import WorkflowError
from sealflow.model.names import NAME_RULE, is_name
from sealflow.model.wording import closest, shown
from sealflow.workflow.node import BaseNode

_BUILT_IN = {
    "http-request": "sealflow.workflow.nodes.http_request:HttpRequestNode",
    "transform": "sealflow.workflow.nodes.transform:TransformNode",
    "function": "sealflow.workflow.nodes.function:FunctionNode",
}
_registered: dict[str, type[BaseNode]] = {}

_Node = TypeVar("_Node", bound=type[BaseNode])


def register_node(node_class: _Node) -> _Node:
    """Make a node class known by its ``type_name``; works as a class decorator. A later one takes the name over."""
    if not is_name(node_class.type_name):
        raise WorkflowError(f"{node_class.__name__} has no usable type_name", hint=NAME_RULE)
    if node_class.type_name in _BUILT_IN:
        raise WorkflowError(
            f"the node type {node_class.type_name!r} is sealflow's own", hint="Choose another name"
        )
    _registered[node_class.type_name] = node_class
    return node_class


def node_class(name: object) -> type[BaseNode]:
    """Return the class of a node type; WorkflowError with the closest names when there is none."""
    if isinstance(name, str):
        if name in _registered:
            return _registered[name]
        target = _BUILT_IN.get(name) or _entry_points().get(name)
        if target is not None:
            module, _, attribute = target.partition(":")
            found = getattr(importlib.import_module(module), attribute)
            if not (isinstance(found, type) and issubclass(found, BaseNode)):
                raise WorkflowError(
                    f"the node type {name!r} is no BaseNode", hint=f"Correct the entry point {target}"
                )
            _registered[name] = found
            return found
    known = {*_BUILT_IN, *_registered, *_entry_points()}
    raise WorkflowError(
        f"there is no node type {shown(name)}", hint=closest(str(name), known, what="node types")
    )


def _entry_points() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {entry.name: entry.value for entry in entry_points(group="sealflow.nodes")}
