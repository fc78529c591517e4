"""Node configs: checked when the node is made, with references taken as valid, and whole once they are resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from sealflow.errors import NodeConfigError
from sealflow.model.json_value import copied
from sealflow.model.places import FoundReference, data_in, find_references
from sealflow.model.validation import validate


class NodeConfig(BaseModel):
    """Base of a node's ``Config``: unknown fields are refused, and no value is in its ``repr`` or its errors."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    __str__ = __repr__


def check_written(model: type[BaseModel], written: Any, node: str) -> None:
    """Check a config as it is written. Raises NodeConfigError for the first problem that resolving references cannot fix."""
    for problem in validate(model, copied(written))[1]:
        if not _a_reference_decides(written, problem.loc, problem.kind):
            raise NodeConfigError(
                f"the config of the node {node!r} does not fit: {problem.message}",
                hint=problem.hint or "Correct the config",
                path=problem.path or "config",
            )


def validated(
    model: type[BaseModel], resolved: Any, references: Iterable[FoundReference], node: str
) -> BaseModel:
    """Return the model of a resolved config. The error names field and reference, never what stood there."""
    config, problems = validate(model, resolved)
    if config is not None:
        return config
    problem = problems[0]
    path = problem.path or "config"
    here = [str(item.reference) for item in references if _overlap(item.path, path)]
    # A validator's own message may repeat what it was given.
    own = problem.kind in ("value_error", "assertion_error")
    said = "it is not valid" if here and own else problem.message
    source = f" (the value of {', '.join(here)})" if here else ""
    raise NodeConfigError(
        f"the resolved config of the node {node!r} does not fit{source}: {said}",
        hint=problem.hint or "Correct the secret or the config",
        path=path,
    )


def _a_reference_decides(written: Any, loc: tuple[str | int, ...], kind: str) -> bool:
    """Whether a reference or a piece of data is at ``loc``, so that the value there is not known yet."""
    value = written
    for index, part in enumerate(loc):
        below = _below(value, part)
        if below is not _MISSING:
            value = below
        elif isinstance(value, str):
            break
        elif index == len(loc) - 1:
            return False  # a field that is missing
        # Otherwise the part is not a key but the name of one form of a union.
    if isinstance(value, str):
        return _is_filled_in(value)
    return kind in ("value_error", "assertion_error") and _is_filled_in(value)


def _is_filled_in(value: Any) -> bool:
    return bool(find_references(value) or data_in(value))


_MISSING = object()


def _below(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(part, _MISSING)
    if isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
        return value[part]
    return _MISSING


def _overlap(one: str, other: str) -> bool:
    """Whether one path is the other or lies below it; union names in between do not count."""
    first, second = one.replace("[", ".").split("."), other.replace("[", ".").split(".")
    return first[0] == second[0] and (set(first) <= set(second) or set(second) <= set(first))
