"""function: calls Python code by its import path, ``call: "package.module:function"``; the rest are its arguments."""

from __future__ import annotations

import importlib
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, StringConstraints

from sealflow.errors import WorkflowError
from sealflow.workflow.function_node import Function, call, signature_model
from sealflow.workflow.node import BaseNode, NodeContext
from sealflow.workflow.node_config import NodeConfig, validated

_IMPORT_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"


class FunctionConfig(NodeConfig):
    model_config = ConfigDict(extra="allow")

    call: Annotated[str, StringConstraints(pattern=_IMPORT_PATH)]


class FunctionNode(BaseNode):
    """Calls the function with the config's other fields; ``input`` and ``context`` are given where it asks for them."""

    type_name: ClassVar[str] = "function"
    Config: ClassVar[type[BaseModel]] = FunctionConfig

    async def process(self, context: NodeContext, config: FunctionConfig) -> Any:
        function = imported(config.call)
        model = signature_model(function, "arguments")
        arguments = validated(model, config.model_extra or {}, self.references, self.name)
        given = {
            key: getattr(arguments, key) for key in (*model.model_fields, *(arguments.model_extra or {}))
        }
        return await call(function, context, given)


def imported(path: str) -> Function:
    """Return the callable at ``package.module:name``; WorkflowError says which part is missing."""
    module_name, _, names = path.partition(":")
    found: Any = None
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # the module is there, and misses something of its own
    if found is None:
        raise WorkflowError(
            f"there is no module {module_name!r}",
            hint="Put it beside the workflow file, or install it",
            path="call",
        )
    for name in names.split("."):
        found = getattr(found, name, None)
    if not callable(found):
        raise WorkflowError(
            f"the module {module_name!r} has no function {names!r}", hint="Correct the name", path="call"
        )
    return found  # type: ignore[no-any-return] # it is callable, whatever else it is
