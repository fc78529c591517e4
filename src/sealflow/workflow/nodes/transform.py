"""transform: picks and reshapes data with a JMESPath expression (https://jmespath.org)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel

from sealflow.errors import NodeConfigError
from sealflow.model.places import data_in, references_in, spelled_path
from sealflow.workflow.expressions import check_expression, search
from sealflow.workflow.node import BaseNode, NodeContext
from sealflow.workflow.node_config import NodeConfig


class TransformConfig(NodeConfig):
    expression: Annotated[str, AfterValidator(check_expression)]


class TransformNode(BaseNode):
    """Gives what ``expression`` finds in the data on the port ``input``. Its config takes no references.

    An expression is code over data: with a value of a secret in it, its functions could spell the value in a form
    that nobody recognises.
    """

    type_name: ClassVar[str] = "transform"
    Config: ClassVar[type[BaseModel]] = TransformConfig

    @classmethod
    def prepare(cls, config: dict[str, Any]) -> dict[str, Any]:
        found = [*references_in(config), *data_in(config)]
        if found:
            raise NodeConfigError(
                "an expression cannot contain references or data templates",
                hint="Use a secret in the node that needs it, such as http-request; link the data to this node's input",
                path=spelled_path(found[0][0]),
            )
        return config

    async def process(self, context: NodeContext, config: TransformConfig) -> Any:
        return search(
            config.expression,
            context.input,
            what=f"the expression of the node {self.name!r}",
            path="expression",
        )
