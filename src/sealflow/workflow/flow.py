"""What a node's ``when``, ``for_each`` and ``learn`` say: JMESPath over its inputs and outputs, by the workflow's author."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sealflow.errors import WorkflowError
from sealflow.workflow.expressions import check_expression, is_true, search

ELSE_PORT = "else"
MAX_ITEMS = 10_000


class ForEach(BaseModel):
    """Run a node once for each item of a list, with the item on its port ``input``.

    ``items``: finds the list in the node's inputs, by port: ``input.body.items``. ``concurrency``: items at a time.
    ``on_error``: ``fail`` ends the node at the first item that fails; ``continue`` goes on, gives null for that item,
    and a list of ``{item, type, message}`` on the port ``error``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    items: str
    concurrency: int = Field(default=5, ge=1, le=100)
    on_error: Literal["fail", "continue"] = "fail"

    _checked = field_validator("items")(check_expression)

    @model_validator(mode="before")
    @classmethod
    def _from_expression(cls, value: Any) -> Any:
        return {"items": value} if isinstance(value, str) else value

    def find_items(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Return the list; WorkflowError where the expression finds something else, or more than 10,000 items."""
        found = search(self.items, dict(inputs), what="for_each", path="for_each")
        if not isinstance(found, list):
            kind = "nothing" if found is None else "something that is not a list"
            raise WorkflowError(
                f"for_each finds {kind}", hint="Begin with the port: input.body.items", path="for_each"
            )
        if len(found) > MAX_ITEMS:
            raise WorkflowError(
                f"for_each finds {len(found)} items", hint=f"At most {MAX_ITEMS}", path="for_each"
            )
        return found


class Flow(BaseModel):
    """Whether and how often a node runs, and what is learned from its output.

    ``when``: an expression over its inputs, by port; where it is false, the node is skipped and its input goes to the
    port ``else``. ``for_each``: see ForEach. ``learn``: expressions over its output that find values to be masked
    from then on, such as a token that a login answered.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    when: str | None = None
    for_each: ForEach | None = None
    learn: tuple[str, ...] = ()

    @field_validator("when", "learn")
    @classmethod
    def _checked(cls, value: Any) -> Any:
        for expression in (value,) if isinstance(value, str) else value or ():
            check_expression(expression)
        return value

    def is_wanted(self, inputs: Mapping[str, Any]) -> bool:
        """Whether ``when`` is true for these inputs. Raises WorkflowError where it does not fit them."""
        return self.when is None or is_true(search(self.when, dict(inputs), what="when", path="when"))

    def find_learned(self, output: Any) -> list[Any]:
        """Return the values to be masked; WorkflowError where an expression finds nothing."""
        found = []
        for expression in self.learn:
            value = search(expression, output, what="learn", path="learn")
            if value is None:
                raise WorkflowError(
                    f"learn finds nothing at {expression}", hint="Look at the node's output", path="learn"
                )
            found.append(value)
        return found
