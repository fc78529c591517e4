"""Functions as node types: ``@sealflow.node``, and what the ``function`` node shares with it."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict, create_model

from sealflow.errors import WorkflowError
from sealflow.workflow.flow import Flow
from sealflow.workflow.node import DEFAULT_INPUT, DEFAULT_OUTPUT, BaseNode, NodeContext, RetryPolicy
from sealflow.workflow.node_types import register_node

Function = Callable[..., Any]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def signature_model(function: Function, name: str) -> type[BaseModel]:
    """Return a config model with one field for each parameter of ``function`` other than ``context`` and ``input``."""
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


class NodeFunction(Generic[_Parameters, _Result]):
    """A function that is a node type too: call it to test it, ``node()`` makes a node of it.

    ::

        @sealflow.node("greet")
        def greet(name: str, token: str) -> str:
            return f"Hello {name}"

        greet("Ada", "any token")                                              # the function
        greet.node("first", {"name": "Ada", "token": "{{secrets.github.token}}"})  # a node of a workflow
    """

    def __init__(self, function: Callable[_Parameters, _Result], node_class: type[BaseNode]) -> None:
        """``node_class``: the node type that was made of ``function``."""
        functools.update_wrapper(self, function)
        self.__name__: str = getattr(function, "__name__", node_class.type_name)
        self.function = function
        self.node_class = node_class

    def __call__(self, *args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        """Call the function itself: no reference is resolved, nothing is validated."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"NodeFunction({self.node_class.type_name!r})"

    def node(
        self,
        name: str,
        config: Mapping[str, Any] | None = None,
        *,
        retry: RetryPolicy | Mapping[str, Any] | None = None,
        timeout: float | None = None,
        flow: Flow | Mapping[str, Any] | None = None,
    ) -> BaseNode:
        """Return a node named ``name``. Raises what BaseNode raises: ReferenceSyntaxError, NodeConfigError."""
        return self.node_class(name, config, retry=retry, timeout=timeout, flow=flow)


def node(
    name: str, *, inputs: tuple[str, ...] = (DEFAULT_INPUT,), outputs: tuple[str, ...] = (DEFAULT_OUTPUT,)
) -> Callable[[Callable[_Parameters, _Result]], NodeFunction[_Parameters, _Result]]:
    """Make a function a node type, registered under ``name``; its parameters are the fields of the config.

    A parameter ``input`` gets the data on the port of that name, ``context`` the NodeContext. The function can
    still be called: see NodeFunction. Raises WorkflowError for a name that is not valid, or is sealflow's own.
    """

    def decorate(function: Callable[_Parameters, _Result]) -> NodeFunction[_Parameters, _Result]:
        async def process(self: BaseNode, context: NodeContext, config: BaseModel) -> Any:  # noqa: ARG001
            return await call(function, context, {key: getattr(config, key) for key in _fields(config)})

        function_name = getattr(function, "__name__", name)
        if next(iter(inspect.signature(function).parameters), "") in ("self", "cls"):
            raise WorkflowError(
                f"{function_name} is a method, and a node type is made of a function",
                hint="Write a class with BaseNode and @register_node",
            )
        attributes = {
            "type_name": name,
            "inputs": inputs,
            "outputs": outputs,
            "Config": signature_model(function, f"{function_name}_config"),
            "process": process,
            "__doc__": function.__doc__,
            "__module__": function.__module__,
        }
        return NodeFunction(function, register_node(type(function_name, (BaseNode,), attributes)))

    return decorate


def _fields(config: BaseModel) -> list[str]:
    return [*type(config).model_fields, *(config.model_extra or {})]
