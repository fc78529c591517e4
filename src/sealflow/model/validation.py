"""What is wrong with data, by a pydantic model: in our own words, and without the input, so that no error can repeat a value."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core.core_schema import ErrorType

from sealflow.wording import closest, shown

_Model = TypeVar("_Model", bound=BaseModel)

_ITS_OWN = ("value_error", "assertion_error")
"""Errors that a validator of ours, or of the model's author, raised: the message is the author's."""

_PYDANTICS = frozenset(get_args(ErrorType)) - set(_ITS_OWN)

_PYDANTICS_TYPES = ("ip_", "path_", "import_", "color_", "mac_", "ulid", "payment_")
"""Errors of the types that pydantic brings, which its core does not list."""

_CLAUSES = {
    "string_type": "it must be a string",
    "string_too_short": "it must have at least {min_length} characters",
    "string_too_long": "it must have at most {max_length} characters",
    "string_pattern_mismatch": "it does not have the right form",
    "bool_type": "it must be true or false",
    "bool_parsing": "it must be true or false",
    "int_type": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_type": "it must be a number",
    "float_parsing": "it must be a number",
    "finite_number": "it must be a finite number",
    "bytes_type": "it must be bytes",
    "none_required": "it must be null",
    "list_type": "it must be a list",
    "tuple_type": "it must be a list",
    "set_type": "it must be a list",
    "dict_type": "it must be a mapping",
    "mapping_type": "it must be a mapping",
    "model_type": "it must be a mapping",
    "model_attributes_type": "it must be a mapping",
    "too_short": "it must have at least {min_length} items",
    "too_long": "it must have at most {max_length} items",
    "greater_than": "it must be greater than {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be at most {le}",
    "literal_error": "it must be {expected}",
    "enum": "it must be {expected}",
    "union_tag_not_found": "it does not say which form it has",
    "union_tag_invalid": "it must be one of {expected_tags}",
}


class Problem(NamedTuple):
    """``loc`` and ``kind`` are pydantic's own; ``message`` is a clause without a capital or a full stop, and never holds input.

    ``hint`` names the fields of the mapping in which one is unknown or missing; empty for other problems.
    """

    loc: tuple[str | int, ...]
    kind: str
    message: str
    hint: str = ""

    @property
    def path(self) -> str:
        """The place as it is shown: ``auth.token``, ``items[0].name``; empty for the whole."""
        return _path(self.loc)


def validate(
    model: type[_Model], data: Any, context: Any = None
) -> tuple[_Model, list[Problem]] | tuple[None, list[Problem]]:
    """Return the validated model, or None and every problem. pydantic's exception, which holds the data, ends here.

    ``context``: what the model's validators find in ``info.context``.
    """
    try:
        return model.model_validate(data, context=context), []
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
    return None, [_problem(model, item) for item in found]


def _problem(model: type[BaseModel], item: Mapping[str, Any]) -> Problem:
    loc, kind = tuple(item["loc"]), item["type"]
    if kind == "extra_forbidden":
        fields = _fields_at(model, loc[:-1])
        return Problem(loc, kind, f"there is no field {shown(loc[-1])}", _unknown_hint(str(loc[-1]), fields))
    if kind == "missing":
        listed = ", ".join(_fields_at(model, loc[:-1]))
        return Problem(loc, kind, f"{loc[-1]} is missing", f"The fields are: {listed}" if listed else "")
    return Problem(loc, kind, _clause(kind, item["msg"], item.get("ctx", {})))


def _clause(kind: str, message: str, limits: Mapping[str, Any]) -> str:
    """Return our words for an error; a model's author has the word where pydantic does not know the kind."""
    if kind in _CLAUSES:
        return _CLAUSES[kind].format_map(limits)
    if kind in _PYDANTICS or kind.startswith(_PYDANTICS_TYPES):
        return "it is not valid"
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
    return message[:1].lower() + message[1:]


def _unknown_hint(name: str, fields: list[str]) -> str:
    if not fields:
        return "It takes no fields"
    hint = closest(name, fields, what="fields")
    return hint if hint.startswith("The fields") else f"{hint} The fields are: {', '.join(fields)}"


def _fields_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Return the names of the fields of the mapping at ``loc``."""
    kinds: list[Any] = [model]
    for part in loc:
        kinds = [below for kind in kinds for below in _below(kind, part)]
    return list(dict.fromkeys(name for kind in kinds for name in getattr(kind, "model_fields", {})))


def _below(kind: Any, part: str | int) -> list[Any]:
    """Return the types that ``kind`` has for the part of a place: a field, an item, or the name of a union's form."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        if any(isinstance(item, Tag) and item.tag == part for item in parts[1:]):
            return _members(parts[0])
        return _below(parts[0], part)
    if origin in (Union, UnionType):
        return [below for member in parts for below in _below(member, part)]
    if origin in (list, tuple) and isinstance(part, int):
        return _members(parts[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _members(parts[1])
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if part == kind.__name__:
            return [kind]
        return _members(kind.model_fields[part].annotation) if part in kind.model_fields else []
    return []


def _members(kind: Any) -> list[Any]:
    """Return the forms of a union, with their tags, or the type itself."""
    return list(get_args(kind)) if get_origin(kind) in (Union, UnionType) else [kind]


def _path(loc: tuple[str | int, ...]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
