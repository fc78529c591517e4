"""A secret that was checked and is not stored yet."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sealflow.errors import SecretValidationError
from sealflow.model.contents import Contents
from sealflow.model.names import canonical_type, check_secret_name, refuse_keys
from sealflow.model.policy import Policy
from sealflow.model.secret import SecretData


class Draft(NamedTuple):
    """A secret that was checked and is not stored yet."""

    name: str
    type: str
    contents: Contents
    policy: Policy
    description: str | None
    tags: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Draft(name={self.name!r}, type={self.type!r}, fields=***)"

    @classmethod
    def build(
        cls,
        name: str,
        type: str,  # noqa: A002 - the name of the thing
        data: SecretData,
        *,
        description: str | None = None,
        tags: Iterable[str] = (),
        expires_at: datetime | str | None = None,
        allowed_hosts: Iterable[str] | None = None,
        allowed_workflows: Iterable[str] | None = None,
        allow_short: bool = True,
        public_fields: Iterable[str] | None = None,
    ) -> Draft:
        """Check every part; SecretValidationError names the first that is wrong."""
        from sealflow.model.types import validated_contents

        check_secret_name(name)
        type_name = canonical_type(type)
        return cls(
            name,
            type_name,
            validated_contents(type_name, data, allow_short=allow_short, public_fields=public_fields),
            Policy.build(allowed_hosts, allowed_workflows, expires_at),
            checked_description(description),
            checked_tags(tags),
        )


def checked_description(text: str | None) -> str | None:
    """Return the description, or raise SecretValidationError."""
    if text is None:
        return None
    if not isinstance(text, str) or len(text) > 2000 or "\0" in text:
        raise SecretValidationError(
            "the description must be a string of up to 2,000 characters",
            hint="Give a shorter string",
            field="description",
        )
    return refuse_keys(text, "description")


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the tags sorted, each once, or raise SecretValidationError."""
    given = None if isinstance(tags, str | bytes) or not isinstance(tags, Iterable) else tuple(tags)
    if given is None or not all(
        isinstance(tag, str) and 0 < len(tag) <= 128 and tag.isprintable() for tag in given
    ):
        raise SecretValidationError(
            "tags must be a list of strings of 1 to 128 characters", hint="Give a list", field="tags"
        )
    return tuple(sorted({refuse_keys(tag, "tags") for tag in given}))
