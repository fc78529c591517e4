"""transform: picks and reshapes data with a JMESPath expression (https://jmespath.org)."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pydantic import BaseModel, field_validator

from sealflow.errors import NodeConfigError, WorkflowError
from sealflow.model.places import references_in, spelled_path
from sealflow.workflow.node import BaseNode, NodeContext
from sealflow.workflow.node_config import NodeConfig

MAX_LENGTH = 8_000
MAX_BRACKETS = 400
MAX_LEVELS = 50

_BRACKET = re.compile(r"'(?:[^'\\]|\\.)*+'?|`(?:[^`\\]|\\.)*+`?|\"(?:[^\"\\]|\\.)*+\"?|[\[\](){}]", re.DOTALL)


class TransformConfig(NodeConfig):
    expression: str

    @field_validator("expression")
    @classmethod
    def _compiles(cls, expression: str) -> str:
        import jmespath
        from jmespath.exceptions import JMESPathError

        _check_size(expression)
        try:
            jmespath.compile(expression)
        except JMESPathError as error:
            problem = str(error).split("\n", maxsplit=1)[0]
        except RecursionError:
            problem = "it is nested too deeply"
        else:
            return expression
        raise ValueError(f"it is not a JMESPath expression ({problem})")


class TransformNode(BaseNode):
    """Gives what ``expression`` finds in the data on the port ``input``. Its config takes no references.

    An expression is code over data: with a value of a secret in it, its functions could spell the value in a form
    that nobody recognises.
    """

    type_name: ClassVar[str] = "transform"
    Config: ClassVar[type[BaseModel]] = TransformConfig

    @classmethod
    def prepare(cls, config: dict[str, Any]) -> dict[str, Any]:
        references = references_in(config)
        if references:
            raise NodeConfigError(
                "an expression takes no references",
                hint="Use the secret in the node that needs it, such as http-request",
                path=spelled_path(references[0][0]),
            )
        return config

    async def process(self, context: NodeContext, config: TransformConfig) -> Any:
        import jmespath
        from jmespath.exceptions import JMESPathError

        try:
            return jmespath.search(config.expression, context.input)
        except (JMESPathError, RecursionError) as error:
            problem = type(error).__name__
        raise WorkflowError(
            f"the expression of the node {self.name!r} does not fit its input ({problem})",
            hint="Look at the input's shape",
            path="expression",
        )


def _check_size(expression: str) -> None:
    """Refuse, by ValueError, what would take the parser long or make it recurse deeply."""
    if len(expression) > MAX_LENGTH:
        raise ValueError(f"it has more than {MAX_LENGTH} characters")
    level = 0
    brackets = [match[0] for match in _BRACKET.finditer(expression) if len(match[0]) == 1]
    if len(brackets) > MAX_BRACKETS:
        raise ValueError(f"it has more than {MAX_BRACKETS} brackets")
    for bracket in brackets:
        level += 1 if bracket in "[({" else -1
        if level > MAX_LEVELS:
            raise ValueError(f"it is nested more than {MAX_LEVELS} levels deep")
