"""What is wrong with data, by a pydantic model: copied without the input, so that no error can repeat a value."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

_Model = TypeVar("_Model", bound=BaseModel)


class Problem(NamedTuple):
    """``loc`` and ``kind`` are pydantic's own; ``message`` is a clause without a capital or a full stop, and never holds input."""

    loc: tuple[str | int, ...]
    kind: str
    message: str

    @property
    def path(self) -> str:
        """The place as it is shown: ``auth.token``, ``items[0].name``; empty for the whole."""
        path = ""
        for part in self.loc:
            path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
        return path


def validate(model: type[_Model], data: Any) -> tuple[_Model, list[Problem]] | tuple[None, list[Problem]]:
    """Return the validated model, or None and every problem. pydantic's exception, which holds the data, ends here."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        found = error.errors(include_input=False, include_context=False, include_url=False)
    return None, [Problem(tuple(item["loc"]), item["type"], _clause(item["msg"])) for item in found]


def _clause(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
    return message[:1].lower() + message[1:]
