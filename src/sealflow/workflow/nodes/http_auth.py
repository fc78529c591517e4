"""The HTTP node's ``auth``: six forms, and the headers that each of them sends."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, SecretStr, Tag, field_validator

from sealflow.errors import NodeConfigError, ReferenceSyntaxError
from sealflow.model.references import parse
from sealflow.workflow.node_config import NodeConfig


def as_text(value: Any) -> Any:
    """Write numbers and booleans as JSON does, so that a secret's field or a YAML value need not be quoted."""
    return json.dumps(value) if isinstance(value, bool | int | float) else value


MaskedText = Annotated[SecretStr, BeforeValidator(as_text)]


class NoAuth(NodeConfig):
    type: Literal["none"]


class BasicAuth(NodeConfig):
    type: Literal["basic"]
    username: SecretStr
    password: SecretStr


class DigestAuth(NodeConfig):
    """RFC 7616: the password is not sent, only an answer to the server's challenge (see http_digest)."""

    type: Literal["digest"]
    username: SecretStr
    password: SecretStr


class BearerAuth(NodeConfig):
    type: Literal["bearer"]
    token: SecretStr


class HeadersAuth(NodeConfig):
    type: Literal["headers"]
    headers: dict[str, MaskedText]


class SecretAuth(NodeConfig):
    """``{secret: NAME}``: the secret's fields decide what is sent. Inline credentials beside it are ignored."""

    model_config = ConfigDict(extra="ignore")

    secret: dict[str, SecretStr]
    header: str = "X-API-Key"

    @field_validator("secret", mode="before")
    @classmethod
    def _masked_strings(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: SecretStr(item) for key, item in value.items() if isinstance(item, str)}
        return value


def _form(value: Any) -> str:
    """Return the tag of the form that ``auth`` has, before or after validation."""
    if isinstance(value, Mapping):
        return "secret" if "secret" in value else str(value.get("type"))
    forms: dict[type[Any], str] = {
        BasicAuth: "basic",
        DigestAuth: "digest",
        BearerAuth: "bearer",
        HeadersAuth: "headers",
        SecretAuth: "secret",
    }
    return forms.get(type(value), "none")


Auth = Annotated[
    Annotated[NoAuth, Tag("none")]
    | Annotated[BasicAuth, Tag("basic")]
    | Annotated[DigestAuth, Tag("digest")]
    | Annotated[BearerAuth, Tag("bearer")]
    | Annotated[HeadersAuth, Tag("headers")]
    | Annotated[SecretAuth, Tag("secret")],
    Discriminator(
        _form,
        custom_error_type="auth_form",
        custom_error_message="auth is one of {type: none}, {type: basic, username, password}, "
        "{type: digest, username, password}, {type: bearer, token}, "
        "{type: headers, headers: {...}}, {secret: NAME}",
    ),
]


def spelled_out(auth: Any) -> Any:
    """Return ``auth`` with the name in ``{secret: NAME}`` (or ``PROVIDER:NAME``) written as a reference."""
    name = auth.get("secret") if isinstance(auth, Mapping) else None
    if not isinstance(name, str) or name.lstrip().startswith("{{"):
        return auth
    text = "{{secrets." + name.strip() + "}}"
    try:
        single = parse(text).single
    except ReferenceSyntaxError:
        single = None
    if single is None or single.field:
        raise NodeConfigError(
            "auth.secret is not the name of a secret",
            hint="Write {secret: NAME} or {secret: 'PROVIDER:NAME'}",
            path="auth.secret",
        )
    return {**auth, "secret": text}


def auth_headers(
    auth: NoAuth | BasicAuth | DigestAuth | BearerAuth | HeadersAuth | SecretAuth,
) -> dict[str, str]:
    """Return the headers to send, revealed."""
    if isinstance(auth, BasicAuth):
        return {"Authorization": basic(auth.username, auth.password)}
    if isinstance(auth, BearerAuth):
        return {"Authorization": f"Bearer {auth.token.get_secret_value()}"}
    if isinstance(auth, HeadersAuth):
        return {name: value.get_secret_value() for name, value in auth.headers.items()}
    if isinstance(auth, SecretAuth):
        return _by_fields(auth)
    return {}


def basic(username: SecretStr, password: SecretStr) -> str:
    """Return the value of a Basic header (RFC 7617, UTF-8)."""
    pair = f"{checked_username(username)}:{password.get_secret_value()}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def checked_username(username: SecretStr) -> str:
    """Return the name, revealed. Raises NodeConfigError for one that no server could read."""
    if ":" in username.get_secret_value():
        raise NodeConfigError(
            "a username for Basic and Digest auth must not contain a colon (RFC 7617)",
            hint="Correct the username",
            path="auth.username",
        )
    return username.get_secret_value()


def _by_fields(auth: SecretAuth) -> dict[str, str]:
    """Decide by the fields and not by the type, because a secret from a provider has only fields."""
    fields = auth.secret
    if "username" in fields and "password" in fields:
        return {"Authorization": basic(fields["username"], fields["password"])}
    for field in ("access_token", "token"):
        if field in fields:
            return {"Authorization": f"Bearer {fields[field].get_secret_value()}"}
    if "value" in fields:
        return {auth.header: fields["value"].get_secret_value()}
    missing = (
        "it has no access_token yet"
        if "client_secret" in fields
        else f"its fields are: {', '.join(sorted(fields))}"
    )
    raise NodeConfigError(
        f"the secret in auth has nothing that can be sent; {missing}",
        hint="It needs username and password, token, access_token or value; or use type: headers with references",
        path="auth.secret",
    )
