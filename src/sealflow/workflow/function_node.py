"""Functions as node types: ``@sealflow.node``, and what the ``function`` node shares with it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from sealflow.workflow.node import DEFAULT_INPUT, DEFAULT_OUTPUT, BaseNode, NodeContext
from sealflow.workflow.node_types import register_node

Function = Callable[..., Any]


def signature_model(function: Function, name: str) -> type[BaseModel]:
    """Return a config model with one field for each parameter of ``function`` but ``context`` and ``input``."""
    fields: dict[str, Any] = {}
    open_ended = False
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.kind is not parameter.VAR_POSITIONAL and parameter.name not in ("context", "input"):
            kind = Any if parameter.annotation is parameter.empty else parameter.annotation
            fields[parameter.name] = (
                kind,
                ... if parameter.default is parameter.empty else parameter.default,
            )
    config = ConfigDict(
        extra="allow" if open_ended else "forbid", hide_input_in_errors=True, arbitrary_types_allowed=True
    )
    return create_model(name, __config__=config, **fields)


async def call(function: Function, context: NodeContext, arguments: Mapping[str, Any]) -> Any:
    """Call a function with its arguments, and with ``context`` and ``input`` where it has parameters of these names.

    A plain function runs in a thread, so that it holds up no other node.
    """
    parameters = inspect.signature(function).parameters
    extra = {"context": context, "input": context.input}
    given = {
        **arguments,
        **{key: value for key, value in extra.items() if key in parameters and key not in arguments},
    }
    if inspect.iscoroutinefunction(function):
        return await function(**given)
    result = await asyncio.to_thread(function, **given)
    return await result if isinstance(result, Awaitable) else result


def node(
    name: str, *, inputs: tuple[str, ...] = (DEFAULT_INPUT,), outputs: tuple[str, ...] = (DEFAULT_OUTPUT,)
) -> Callable[[Function], type[BaseNode]]:
    """Make a function a node type, registered under ``name``; its parameters are the fields of the config.

    A parameter ``input`` gets the data on the port of that name, ``context`` the NodeContext.
    """

    def decorate(function: Function) -> type[BaseNode]:
        async def process(self: BaseNode, context: NodeContext, config: BaseModel) -> Any:  # noqa: ARG001
            return await call(function, context, {key: getattr(config, key) for key in _fields(config)})

        attributes = {
            "type_name": name,
            "inputs": inputs,
            "outputs": outputs,
            "Config": signature_model(function, f"{function.__name__}_config"),
            "process": process,
            "__doc__": function.__doc__,
            "__module__": function.__module__,
        }
        return register_node(type(function.__name__, (BaseNode,), attributes))

    return decorate


def _fields(config: BaseModel) -> list[str]:
    return [*type(config).model_fields, *(config.model_extra or {})]
