"""function: calls Python code that the owner offers to workflows: ``call: NAME`` or ``call: "module:function"``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, StringConstraints

from sealflow.workflow.function_node import call, signature_model
from sealflow.workflow.functions import find_function
from sealflow.workflow.node import BaseNode, NodeContext
from sealflow.workflow.node_config import NodeConfig, validated

_NAME_OR_PATH = (
    r"^([A-Za-z0-9_][A-Za-z0-9_-]{0,127}|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)$"
)


class FunctionConfig(NodeConfig):
    model_config = ConfigDict(extra="allow")

    call: Annotated[str, StringConstraints(pattern=_NAME_OR_PATH)]


class FunctionNode(BaseNode):
    """Calls the function with the config's other fields; ``input`` and ``context`` are given where it asks for them."""

    type_name: ClassVar[str] = "function"
    Config: ClassVar[type[BaseModel]] = FunctionConfig
    no_data: ClassVar[tuple[str, ...]] = ("call",)

    async def process(self, context: NodeContext, config: FunctionConfig) -> Any:
        function = find_function(config.call, self.folder)
        model = signature_model(function, "arguments")
        arguments = validated(model, config.model_extra or {}, self.references, self.name)
        given = {
            key: getattr(arguments, key) for key in (*model.model_fields, *(arguments.model_extra or {}))
        }
        return await call(function, context, given)
