"""A secret as callers see it: described (SecretInfo), or revealed (Secret)."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, NoReturn

from sealflow.model import times
from sealflow.model.contents import Contents
from sealflow.model.json_value import canonical, copied
from sealflow.model.policy import Policy


class SecretMetadata(NamedTuple):
    """The part of a secret that is stored in clear text. Times are aware datetimes in UTC."""

    description: str | None
    tags: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    policy: Policy

    @property
    def expires_at(self) -> datetime | None:
        return self.policy.expires_at

    @property
    def allowed_hosts(self) -> tuple[str, ...] | None:
        return self.policy.allowed_hosts

    @property
    def allowed_workflows(self) -> tuple[str, ...] | None:
        return self.policy.allowed_workflows


class SecretInfo(NamedTuple):
    """A secret without its data: what ``list_secrets`` returns, and create and update."""

    id: str
    name: str
    type: str
    version: int
    metadata: SecretMetadata

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON shape that ``sealflow secret list --json`` prints (docs/reference/json-output.md)."""
        policy = self.metadata.policy
        return {
            "name": self.name,
            "type": self.type,
            "version": self.version,
            "description": self.metadata.description,
            "tags": list(self.metadata.tags),
            "created_at": times.to_text(self.metadata.created_at),
            "updated_at": times.to_text(self.metadata.updated_at),
            "expires_at": None if policy.expires_at is None else times.to_text(policy.expires_at),
            "allowed_hosts": None if policy.allowed_hosts is None else list(policy.allowed_hosts),
            "allowed_workflows": None if policy.allowed_workflows is None else list(policy.allowed_workflows),
        }


class SecretVersion(NamedTuple):
    """One version of a secret, without its data. ``current``: the one that is handed out."""

    version: int
    type: str
    created_at: datetime
    policy: Policy
    destroyed: bool
    current: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON shape that ``sealflow secret history --json`` prints."""
        expires = self.policy.expires_at
        return {
            "version": self.version,
            "type": self.type,
            "created_at": times.to_text(self.created_at),
            "expires_at": None if expires is None else times.to_text(expires),
            "destroyed": self.destroyed,
            "current": self.current,
        }


class Secret:
    """A secret with its data decrypted.

    Whatever prints, copies or pickles objects gets no value from it: ``repr``, ``str`` and ``format`` are
    masked, pickling and copying raise TypeError, and ``==`` takes the same time wherever two values differ.
    ``data`` gives a fresh copy of the fields each time; ask for it as late as you can.
    """

    __slots__ = ("_data", "_describe", "_info", "_public", "_record", "id", "name", "type", "version")

    def __init__(self, describe: Callable[[Any], SecretInfo], record: Any, contents: Contents) -> None:
        """``describe(record)`` gives the info when somebody asks: most readers want the data alone."""
        self.id: str = record.id
        self.name: str = record.name
        self.type: str = record.type
        self.version: int = record.version
        self._describe = describe
        self._record = record
        self._info: SecretInfo | None = None
        self._data, self._public = contents

    @property
    def info(self) -> SecretInfo:
        """The secret without its data."""
        if self._info is None:
            self._info = self._describe(self._record)
        return self._info

    @property
    def metadata(self) -> SecretMetadata:
        return self.info.metadata

    @property
    def policy(self) -> Policy:
        """What its owner allows: part of the metadata, without the cost of all of it."""
        return Policy.from_text(self._record.policy)

    @property
    def data(self) -> dict[str, Any]:
        """The fields and their values: plain strings, numbers, booleans, lists and mappings."""
        copy: dict[str, Any] = copied(self._data)
        return copy

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields' names, sorted."""
        return tuple(sorted(self._data))

    @property
    def public_fields(self) -> tuple[str, ...]:
        """The names of the fields that are not confidential, sorted: they are not masked."""
        return tuple(sorted(self._public & self._data.keys()))

    def __repr__(self) -> str:
        return f"Secret(name={self.name!r}, type={self.type!r}, version={self.version}, data=***)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        same = hmac.compare_digest(canonical(self._data).encode(), canonical(other._data).encode())
        return same and self.info == other.info

    def __hash__(self) -> int:
        return hash(self.info)

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError(
            "a revealed secret is not copied or pickled; pass its name, and get it where it is used"
        )

    __reduce__ = _refuse
    __reduce_ex__ = _refuse
    __copy__ = _refuse
    __deepcopy__ = _refuse


SecretData = Mapping[str, Any]
"""A secret's fields: names to strings, numbers, booleans, lists or nested mappings."""
