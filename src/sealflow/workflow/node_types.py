"""Node types by name: our own, registered ones, and those of installed packages (entry points ``sealflow.nodes``)."""

from __future__ import annotations

from typing import TypeVar

from sealflow.errors import WorkflowError
from sealflow.model.names import NAME_RULE, is_name
from sealflow.plugins import Plugins
from sealflow.workflow.node import BaseNode

NODE_TYPES: Plugins[type[BaseNode]] = Plugins(
    "sealflow.nodes",
    {
        "http-request": "sealflow.workflow.nodes.http_request:HttpRequestNode",
        "transform": "sealflow.workflow.nodes.transform:TransformNode",
        "function": "sealflow.workflow.nodes.function:FunctionNode",
        "workflow": "sealflow.workflow.nodes.subworkflow:SubworkflowNode",
    },
    what="node type",
    error=WorkflowError,
)

_SAFE = ("http-request", "transform")

_Node = TypeVar("_Node", bound=type[BaseNode])


def register_node(node_class: _Node) -> _Node:
    """Make a node class known by its ``type_name``; works as a class decorator. A later one takes the name over.

    Raises WorkflowError for a ``type_name`` outside the name grammar, or one of sealflow's own.
    """
    if not is_name(node_class.type_name):
        raise WorkflowError(f"{node_class.__name__} has no usable type_name", hint=NAME_RULE)
    NODE_TYPES.register(node_class.type_name, node_class, replace=True)
    return node_class


def needs_trust(name: object) -> bool:
    """Whether a folder needs trust to use a node type: all but our own that run no code, and those registered in code."""
    return name not in _SAFE and not NODE_TYPES.is_registered(name)


def node_class(name: object) -> type[BaseNode]:
    """Return the class of a node type; WorkflowError with the closest names when there is none."""
    found = NODE_TYPES.get(name)
    if not (isinstance(found, type) and issubclass(found, BaseNode)):
        raise WorkflowError(f"the node type {name!r} is not a BaseNode", hint="Correct its entry point")
    return found
