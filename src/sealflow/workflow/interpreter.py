"""JMESPath with a limit on its work: an expression of a few characters can double a string or a list forty times.

The work is counted in steps. Visiting a part of the expression is one, and so is each item that an operation reads or
makes, with strings by their length. What is shared counts as often as it occurs, because that is how often it is
compared and written.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from jmespath.functions import Functions
from jmespath.visitor import Options, TreeInterpreter

MAX_STEPS = 500_000
_READ = 1024
"""Characters of a string that are read in one step."""
_WRITTEN = 32
"""Characters of a string that are made in one step: 16 million of them in all."""

_SIZE_DOES_NOT_MATTER = frozenset({"length", "not_null", "to_array", "type"})
_WRITERS = frozenset({"join", "reverse", "to_string"})


class TooMuchWorkError(Exception):
    """The expression needs more than ``MAX_STEPS`` steps."""


class BoundedInterpreter(TreeInterpreter):
    """Evaluates one expression once. Raises TooMuchWorkError before it makes or reads too much."""

    def __init__(self) -> None:
        super().__init__(Options(custom_functions=_BoundedFunctions(self)))
        self._left = MAX_STEPS

    def spend(self, steps: int) -> None:
        """Take steps from what is left."""
        self._left -= steps
        if self._left < 0:
            raise TooMuchWorkError

    def spend_on(self, value: Any, *, characters: int = _READ, whole: bool = False) -> None:
        """Take the steps of a value and of its items, or with ``whole`` of everything that is in it."""
        waiting = [iter((value,))]
        while waiting:
            for item in waiting[-1]:
                if isinstance(item, str):
                    self.spend(1 + len(item) // characters)
                elif isinstance(item, int):
                    self.spend(1 + item.bit_length() // 64)
                else:
                    self.spend(1)
                    if isinstance(item, list | dict) and (whole or len(waiting) == 1):
                        waiting.append(_parts(item))
                        break
            else:
                waiting.pop()

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise TooMuchWorkError
        return super().visit(node, *args, **kwargs)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        first, second = (self.visit(child, value) for child in node["children"])
        if type(first) is type(second) and isinstance(first, str | list | dict):
            self.spend_on(first, whole=True)
        literals: Any = [{"type": "literal", "value": side} for side in (first, second)]
        evaluated: Any = {**node, "children": literals}
        return super().visit_comparator(evaluated, value)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if isinstance(base, list):
            self.spend(sum(len(item) if isinstance(item, list) else 1 for item in base))
        evaluated: Any = {**node, "children": [{"type": "literal", "value": base}]}
        return super().visit_flatten(evaluated, value)

    def visit_slice(self, node: Any, value: Any) -> Any:
        found = super().visit_slice(node, value)
        self.spend(len(found or ()))
        return found


class _BoundedFunctions(Functions):
    def __init__(self, interpreter: BoundedInterpreter) -> None:
        self._interpreter = interpreter

    def call_function(self, function_name: str, resolved_args: Any) -> Any:
        if function_name not in _SIZE_DOES_NOT_MATTER:
            spend_on = self._interpreter.spend_on
            characters = _WRITTEN if function_name in _WRITERS else _READ
            whole = function_name == "to_string" or (
                function_name == "contains" and isinstance(resolved_args[-1], list | dict)
            )
            for argument in resolved_args:
                spend_on(argument, characters=characters, whole=whole)
            if function_name == "join" and all(map(_is_sized, resolved_args)):
                separator, *parts = resolved_args
                self._interpreter.spend(len(separator) * sum(map(len, parts)) // characters)
        return super().call_function(function_name, resolved_args)


def _is_sized(value: Any) -> bool:
    return isinstance(value, str | list)


def _parts(container: Any) -> Any:
    return iter(container) if isinstance(container, list) else chain(container, container.values())
