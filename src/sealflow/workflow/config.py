"""Node configs: checked when the node is made, with references taken as valid, and whole once they are resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sealflow.errors import NodeConfigError
from sealflow.model.json_value import copied
from sealflow.model.places import FoundReference, find_references


class NodeConfig(BaseModel):
    """Base of a node's ``Config``: unknown fields are refused, and no value is in its ``repr`` or its errors."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    __str__ = __repr__


Problem = tuple[tuple[str | int, ...], str, str]
"""Where (pydantic's loc), pydantic's error type, and a message that holds no input."""


def _problems(model: type[BaseModel], data: Any) -> tuple[BaseModel | None, list[Problem]]:
    """Validate; what pydantic found is copied without its input, and its exception ends here."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        found = error.errors(include_input=False, include_context=False, include_url=False)
    return None, [(tuple(item["loc"]), item["type"], item["msg"]) for item in found]


def check_written(model: type[BaseModel], written: Any, node: str) -> None:
    """Check a config as it is written. Raises NodeConfigError for the first problem that no reference can mend."""
    for loc, kind, message in _problems(model, copied(written))[1]:
        if not _a_reference_decides(written, loc, kind):
            raise NodeConfigError(
                f"the config of the node {node!r} does not fit: {_lower(message)}",
                hint=_hint(model, kind),
                path=_dotted(loc),
            )


def validated(
    model: type[BaseModel], resolved: Any, references: Iterable[FoundReference], node: str
) -> BaseModel:
    """Return the model of a resolved config. The error names field and reference, never what stood there."""
    config, problems = _problems(model, resolved)
    if config is not None:
        return config
    loc, kind, message = problems[0]
    path = _dotted(loc)
    here = [str(item.reference) for item in references if _overlap(item.path, path)]
    # A validator's own message may repeat what it was given.
    said = "it is not valid" if here and kind in ("value_error", "assertion_error") else _lower(message)
    source = f" (the value of {', '.join(here)})" if here else ""
    raise NodeConfigError(
        f"the resolved config of the node {node!r} does not fit{source}: {said}",
        hint="Correct the secret or the config",
        path=path,
    )


def _a_reference_decides(written: Any, loc: tuple[str | int, ...], kind: str) -> bool:
    """Whether what stands at ``loc`` holds a reference, so that its value is not known yet."""
    value = written
    for index, part in enumerate(loc):
        below = _below(value, part)
        if below is not _NOTHING:
            value = below
        elif isinstance(value, str):
            break
        elif index == len(loc) - 1:
            return False  # a field that is missing
        # Otherwise the part is no key but the name of one form of a union.
    if isinstance(value, str):
        return bool(find_references(value))
    return kind in ("value_error", "assertion_error") and bool(find_references(value))


_NOTHING = object()


def _below(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(part, _NOTHING)
    if isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
        return value[part]
    return _NOTHING


def _dotted(loc: tuple[str | int, ...]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "config"


def _overlap(one: str, other: str) -> bool:
    """Whether one path is the other or lies below it; union names in between do not count."""
    first, second = one.replace("[", ".").split("."), other.replace("[", ".").split(".")
    return first[0] == second[0] and (set(first) <= set(second) or set(second) <= set(first))


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:].rstrip(".")


def _hint(model: type[BaseModel], kind: str) -> str:
    fields = ", ".join(model.model_fields)
    return (
        f"Its fields are: {fields}"
        if kind in ("extra_forbidden", "missing") and fields
        else "Correct the config"
    )
