"""What a record encrypts: a secret's fields, and which of them its owner or its type calls public.

The names of the public fields are in the encrypted JSON under ``$public``, which is not a valid field name. They are left
out where they are those of the built-in type, so a record without them is as format 1 always was
(docs/decisions/0015-public-fields.md).
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Self

from sealflow.model.json_value import canonical
from sealflow.model.maskable import public_by_type

PUBLIC_KEY = "$public"

_decode = json.JSONDecoder().decode


class Contents(NamedTuple):
    """``public``: names of fields that are not confidential; some of them may be absent from ``fields``."""

    fields: dict[str, Any]
    public: frozenset[str]

    def __repr__(self) -> str:
        return f"Contents(fields=***, public={sorted(self.public)})"

    def to_text(self, type_name: str) -> str:
        """Return the canonical JSON that is encrypted for a secret of this type."""
        if self.public == public_by_type(type_name):
            return canonical(self.fields)
        return canonical({**self.fields, PUBLIC_KEY: sorted(self.public)})

    @classmethod
    def from_text(cls, text: str, type_name: str) -> Self:
        """Read what ``to_text`` wrote. The record was authenticated, so this is JSON that we wrote."""
        fields: dict[str, Any] = _decode(text)
        named = fields.pop(PUBLIC_KEY, None)
        return cls(fields, public_by_type(type_name) if named is None else frozenset(named))
