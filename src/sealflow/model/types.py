"""Secret types: which fields a secret of a type has. Each type is a pydantic model.

This module is imported only when a secret is created or updated, because pydantic takes 120 ms to import: reading and
listing secrets do not need it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, TypeVar, overload

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    RootModel,
    StringConstraints,
)

from sealflow.errors import SecretValidationError, attempt, without_locals
from sealflow.model import times
from sealflow.model.contents import Contents
from sealflow.model.json_value import canonical
from sealflow.model.maskable import MIN_LENGTH, unmaskable_fields
from sealflow.model.names import NAME_RULE, canonical_type, is_name
from sealflow.model.validation import validate
from sealflow.plugins import Plugins
from sealflow.wording import shown

MAX_DATA_BYTES = 1 << 20  # a mebibyte of canonical JSON, as much as Vault takes by default
_MAX_DEPTH = 32


_Model = TypeVar("_Model", bound=type[BaseModel])


def _encodable(text: str) -> str:
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("it is not valid Unicode")
    return text


def _time_text(value: object) -> object:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return times.to_text(value)
    if isinstance(value, str):
        times.from_text(value)  # kept as it was written
    return value


Text = Annotated[str, StringConstraints(min_length=1), AfterValidator(_encodable)]
TimeText = Annotated[str, BeforeValidator(_time_text)]


class SecretFields(BaseModel):
    """Base of a secret type's model: strict types, no unknown fields, no input in messages.

    ``public_fields`` names the fields that are not confidential, such as a user's name: they are not masked, and may be short.
    """

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    public_fields: ClassVar[tuple[str, ...]] = ()


class ApiKey(SecretFields):
    value: Text


class BasicAuth(SecretFields):
    public_fields = ("username",)

    username: Text
    password: Text


class BearerToken(SecretFields):
    public_fields = ("expires_at",)

    token: Text
    expires_at: TimeText | None = None


class OAuth(SecretFields):
    public_fields = ("client_id", "token_url", "scopes", "expires_at")

    client_id: Text
    client_secret: Text
    access_token: Text | None = None
    refresh_token: Text | None = None
    token_url: Text | None = None
    scopes: list[Text] | Text | None = None
    expires_at: TimeText | None = None


class Custom(RootModel[dict[str, Any]]):
    """One or more fields of the author's choosing; what they may hold is checked as for every type."""

    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


TYPES: Plugins[type[BaseModel]] = Plugins(
    "sealflow.secret_types",
    {
        "api_key": "sealflow.model.types:ApiKey",
        "basic_auth": "sealflow.model.types:BasicAuth",
        "bearer_token": "sealflow.model.types:BearerToken",
        "oauth": "sealflow.model.types:OAuth",
        "custom": "sealflow.model.types:Custom",
    },
    what="secret type",
    error=SecretValidationError,
)


@overload
def register_secret_type(name: str, model: _Model) -> _Model: ...
@overload
def register_secret_type(name: str) -> Callable[[_Model], _Model]: ...
def register_secret_type(name: str, model: _Model | None = None) -> _Model | Callable[[_Model], _Model]:
    """Make ``name`` a secret type with the fields of ``model`` (subclass SecretFields for the usual strictness).

    Without ``model`` it is a class decorator: ``@register_secret_type("webhook")``. Packages do the same with an entry
    point in the group ``sealflow.secret_types`` whose value is the model. Raises SecretValidationError when the name
    is taken by another model or breaks the name grammar.
    """

    def register(model: _Model) -> _Model:
        TYPES.register(canonical_type(name), model)
        return model

    return register if model is None else register(model)


def secret_type_names() -> tuple[str, ...]:
    """Return the names of all types that can be created, those of installed packages included."""
    return TYPES.names()


def type_model(name: str) -> type[BaseModel]:
    """Return a type's model, or raise SecretValidationError with the closest names."""
    try:
        return TYPES.get(canonical_type(name))
    except SecretValidationError as error:
        raise error.placed(field="type") from None


def public_choice(type_name: str, fields: Iterable[str]) -> frozenset[str]:
    """Return the names of the fields that an owner can make public: any of a custom secret, else those that the type names."""
    model = type_model(type_name)
    return frozenset(fields if model is Custom else getattr(model, "public_fields", ()))


def _check_public(
    type_name: str, fields: Iterable[str], public_fields: Iterable[str] | None
) -> frozenset[str]:
    """Return the names of the fields that are public: those that the owner names, or else those of the type."""
    choice = public_choice(type_name, fields)
    if public_fields is None:
        return choice if type_model(type_name) is not Custom else frozenset()
    named = None if isinstance(public_fields, str | bytes) else list(public_fields)
    if named is None or not all(map(is_name, named)):
        raise SecretValidationError(
            "public_fields must be a list of field names", hint=NAME_RULE, field="public_fields"
        )
    wrong = next((name for name in named if name not in choice), None)
    if wrong is not None:
        raise SecretValidationError(
            f"the field {wrong} of this {type_name} secret cannot be public",
            hint=f"These can: {', '.join(sorted(choice))}" if choice else "Use the type custom",
            field="public_fields",
        )
    return frozenset(named)


@without_locals
def validated(
    type_name: str, data: object, *, allow_short: bool = True, public_fields: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the fields of ``validated_contents``."""
    return validated_contents(type_name, data, allow_short=allow_short, public_fields=public_fields).fields


@without_locals
def validated_contents(
    type_name: str, data: object, *, allow_short: bool = True, public_fields: Iterable[str] | None = None
) -> Contents:
    """Return the fields as they will be stored (optional fields that are None left out), and which of them are public.

    ``public_fields``: names given by the owner; None leaves it to the type.

    Without ``allow_short`` a string of one to three characters is refused: it cannot be masked in a log without
    destroying the text around it. The public fields, such as a username, may be short.

    Raises SecretValidationError naming the first field that is missing, empty, unknown or of a wrong type;
    the message never holds what the field was given.
    """
    model = type_model(type_name)
    if not isinstance(data, Mapping):
        raise SecretValidationError(
            "a secret's data must be a mapping of fields", hint="Give {field: value}", field="data"
        )
    validation, failure = attempt(Exception, validate, model, dict(data))
    if validation is None:
        raise SecretValidationError(
            f"the secret type {type_name} cannot check the data ({type(failure).__name__})",
            hint="Correct the validators of the type",
            field="data",
        )
    checked, problems = validation
    if checked is None:
        first = problems[0]
        raise _field_error(type_name, model, str(first.loc[0]) if first.loc else "data", first.kind)
    dumped = checked.model_dump()
    fields = {key: value for key, value in dumped.items() if value is not None or model is Custom}
    if not fields:
        raise SecretValidationError(
            f"a {type_name} secret needs at least one field", hint="Give a field", field="data"
        )
    for key, value in fields.items():
        if not is_name(key):
            raise SecretValidationError(
                f"{shown(key)} is not a valid field name", hint=NAME_RULE, field=shown(key)
            )
        _check_json(key, value, 1)
    public = _check_public(type_name, fields, public_fields)
    short = None if allow_short else next(unmaskable_fields(fields, public), None)
    if short is not None:
        raise SecretValidationError(
            f"the field {short} holds a value of fewer than {MIN_LENGTH} characters, which cannot be masked",
            hint="Use a longer value; if it is not confidential, --public (public_fields=); else --allow-short (allow_short=True)",
            field=short,
        )
    if len(canonical(fields).encode()) > MAX_DATA_BYTES:
        raise SecretValidationError(
            "the data is larger than 1 MiB",
            hint="Store large data elsewhere, encrypted, and its key here",
            field="data",
        )
    return Contents(fields, public)


_REASONS = {
    "missing": "is missing",
    "string_too_short": "is empty",
    "extra_forbidden": "is not a field of this type",
    "string_type": "must be a string",
}


def _field_error(type_name: str, model: type[BaseModel], field: str, reason: str) -> SecretValidationError:
    known = list(model.model_fields) if model is not Custom else []
    required = [name for name, info in model.model_fields.items() if info.is_required()] if known else []
    said = _REASONS.get(reason, "has the wrong type or form")
    hint = (
        f"Fields of {type_name}: {', '.join(known)}; required: {', '.join(required)}"
        if known
        else "Correct it"
    )
    field = field if is_name(field) else shown(field)
    return SecretValidationError(f"the field {field} of a {type_name} secret {said}", hint=hint, field=field)


def _check_json(field: str, value: Any, depth: int) -> None:
    """Raise SecretValidationError for what JSON cannot hold, or cannot hold exactly."""
    if depth > _MAX_DEPTH:
        raise SecretValidationError(
            f"the field {field} is nested too deeply", hint=f"At most {_MAX_DEPTH} levels", field=field
        )
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return
    if isinstance(value, str):
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise SecretValidationError(
                f"the field {field} is not valid Unicode", hint="Give a valid Unicode string", field=field
            )
    elif isinstance(value, list):
        for item in value:
            _check_json(field, item, depth + 1)
    elif isinstance(value, dict) and all(isinstance(key, str) and key for key in value):
        for key, item in value.items():
            _check_json(field, key, depth + 1)
            _check_json(field, item, depth + 1)
    else:
        raise SecretValidationError(
            f"the field {field} must hold only strings, numbers, booleans, lists, and mappings whose keys are strings",
            hint="Leave out what is empty; give bytes as a base64 string",
            field=field,
        )
