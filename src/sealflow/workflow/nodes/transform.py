"""transform: picks and reshapes data with a JMESPath expression (https://jmespath.org)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, field_validator

from sealflow.errors import WorkflowError
from sealflow.workflow.node import BaseNode, NodeConfig, NodeContext


class TransformConfig(NodeConfig):
    expression: str

    @field_validator("expression")
    @classmethod
    def _compiles(cls, expression: str) -> str:
        import jmespath
        from jmespath.exceptions import JMESPathError

        try:
            jmespath.compile(expression)
        except JMESPathError as error:
            problem = str(error).split("\n", maxsplit=1)[0]
        else:
            return expression
        raise ValueError(f"it is no JMESPath expression ({problem})")


class TransformNode(BaseNode):
    """Gives what ``expression`` finds in the data on the port ``input``."""

    type_name: ClassVar[str] = "transform"
    Config: ClassVar[type[BaseModel]] = TransformConfig

    async def process(self, context: NodeContext, config: TransformConfig) -> Any:
        import jmespath
        from jmespath.exceptions import JMESPathError

        problem = None
        try:
            return jmespath.search(config.expression, context.input)
        except JMESPathError as error:
            problem = type(error).__name__
        raise WorkflowError(
            f"the expression of the node {self.name!r} does not fit its input ({problem})",
            hint="Look at the input's shape",
            path="expression",
        )
