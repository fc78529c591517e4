"""From a reference to the value in a secret's fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sealflow.errors import FieldNotFoundError
from sealflow.model.places import Place, spelled_path
from sealflow.model.references import Reference
from sealflow.wording import closest


def field_of(fields: Mapping[str, Any], reference: Reference, place: Place = "") -> Any:
    """Return what the reference's field path leads to, list items by their number from 0; all fields for an empty path.

    Raises FieldNotFoundError, with the names of the secret's fields. Names further down are not offered: a nested
    mapping may have secrets for keys.
    """
    value: Any = fields
    for index, segment in enumerate(reference.field):
        if isinstance(value, Mapping) and segment in value:
            value = value[segment]
        elif isinstance(value, list | tuple) and _is_index(segment) and int(segment) < len(value):
            value = value[int(segment)]
        else:
            raise _missing(value, reference, index, spelled_path(place))
    return value


def _is_index(segment: str) -> bool:
    return segment.isascii() and segment.isdigit() and len(segment) <= 9


def _missing(value: Any, reference: Reference, index: int, path: str) -> FieldNotFoundError:
    segment, above = reference.field[index], ".".join(reference.field[:index])
    if index == 0:
        hint = closest(segment, (str(key) for key in value), what="fields")
    elif isinstance(value, Mapping):
        hint = f"{above} has no such field below it"
    elif isinstance(value, list | tuple):
        hint = f"{above} is a list of {len(value)} items, numbered from 0"
    else:
        hint = f"{above} has no fields below it"
    return FieldNotFoundError(
        f"the secret {reference.name!r} has no field {reference.dotted!r}",
        hint=hint,
        secret=reference.name,
        field=reference.dotted,
        path=path or None,
    )
