"""A secret's policy: where it may go, who may use it, until when. Its hash is bound into the encryption."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from sealflow.errors import SecretExpiredError, SecretValidationError, TrustError, WorkflowNotAllowedError
from sealflow.model import times
from sealflow.model.hosts import HOST_RULE, HostPattern, address_of
from sealflow.model.json_value import canonical
from sealflow.model.names import refuse_keys
from sealflow.wording import shown

EXPIRY_NOTICE = timedelta(days=14)


class Policy(NamedTuple):
    """None means no restriction; an empty tuple of hosts or workflows allows none.

    ``allowed_workflows`` are names or shell patterns (``nightly-*``), matched with case.
    """

    allowed_hosts: tuple[str, ...] | None = None
    allowed_workflows: tuple[str, ...] | None = None
    expires_at: datetime | None = None

    @classmethod
    def build(
        cls,
        allowed_hosts: Iterable[str] | None,
        allowed_workflows: Iterable[str] | None,
        expires_at: datetime | str | None,
    ) -> Policy:
        """Check what a user gave; raise SecretValidationError naming the field."""
        hosts = _strings(allowed_hosts, "allowed_hosts")
        for host in hosts or ():
            try:
                HostPattern.parse(host)
            except ValueError as error:
                raise SecretValidationError(
                    f"allowed_hosts: {shown(host)} cannot be used: {error}",
                    hint=HOST_RULE,
                    field="allowed_hosts",
                ) from None
        return cls(
            hosts,
            _strings(allowed_workflows, "allowed_workflows"),
            None if expires_at is None else times.read_time(expires_at, "expires_at"),
        )

    def to_text(self) -> str:
        """Return the canonical JSON, byte for byte what stores keep and the encryption binds."""
        return canonical(
            {
                "allowed_hosts": None if self.allowed_hosts is None else list(self.allowed_hosts),
                "allowed_workflows": None if self.allowed_workflows is None else list(self.allowed_workflows),
                "expires_at": None if self.expires_at is None else times.to_text(self.expires_at),
            }
        )

    @staticmethod
    @lru_cache(maxsize=256)
    def from_text(text: str) -> Policy:
        """Read canonical JSON; raise ValueError for anything else. Cached, because most secrets share one policy."""
        found = json.loads(text)
        if not isinstance(found, dict) or set(found) != {"allowed_hosts", "allowed_workflows", "expires_at"}:
            raise ValueError("not a policy")
        hosts, workflows, expires = found["allowed_hosts"], found["allowed_workflows"], found["expires_at"]
        return Policy(
            None if hosts is None else tuple(hosts),
            None if workflows is None else tuple(workflows),
            None if expires is None else times.from_text(expires),
        )

    def allows_host(self, host: str, port: int, *, plain_http: bool = False) -> bool:
        """Whether the secret may be sent to this normalised host; with ``plain_http``, whether an entry allows that without TLS."""
        if self.allowed_hosts is None:
            return not plain_http
        return any(
            pattern.matches(host, port) and (pattern.plain_http or not plain_http)
            for pattern in map(HostPattern.parse, self.allowed_hosts)
        )

    def named_addresses(self, port: int) -> frozenset[str]:
        """Return the IP addresses that ``allowed_hosts`` names itself, for this port."""
        patterns = map(HostPattern.parse, self.allowed_hosts or ())
        return frozenset(
            pattern.host
            for pattern in patterns
            if pattern.port in (None, port) and address_of(pattern.host) is not None
        )

    def allows_workflow(self, name: str | None) -> bool:
        """Whether a workflow of this name (None: code without a workflow) may use the secret."""
        if self.allowed_workflows is None:
            return True
        return name is not None and any(fnmatch.fnmatchcase(name, item) for item in self.allowed_workflows)

    def untrusted_problem(self, name: str) -> TrustError | None:
        """Return why a workflow in a folder without trust may not use the secret ``name``; None when it may.

        Its owner must have said where it may go. ``allowed_workflows`` protects nothing there: a file names itself.
        """
        command = "trust the folder of the workflow file: sealflow trust FOLDER"
        if self.allowed_hosts is None:
            reason, hint = "it has no allowed_hosts", f"Set its allowed_hosts, or {command}"
        elif self.allowed_workflows is not None:
            reason, hint = (
                "it has allowed_workflows, and a file names itself",
                f"Read the file, then {command}",
            )
        else:
            return None
        return TrustError(
            f"the secret {name!r} needs a folder that you trust: {reason}", hint=hint, secret=name
        )

    def expired(self, moment: datetime) -> bool:
        """Whether ``expires_at`` has passed at ``moment``."""
        return self.expires_at is not None and self.expires_at <= moment

    def check_use(self, name: str, workflow: str | None, moment: datetime) -> None:
        """Raise SecretExpiredError or WorkflowNotAllowedError where the secret ``name`` may not be used now.

        ``workflow``: the name of the workflow that uses it, None for code without one.
        """
        if self.expires_at is not None and self.expired(moment):
            raise SecretExpiredError(
                f"the secret {name!r} expired at {times.to_text(self.expires_at)}",
                hint="Update it with a new value, a later expires_at, or both",
                secret=name,
            )
        if not self.allows_workflow(workflow):
            used_by = f"the workflow {shown(workflow)}" if workflow else "code outside a workflow"
            raise WorkflowNotAllowedError(
                f"the secret {name!r} may not be used by {used_by}",
                hint="Add the workflow to its allowed_workflows, if its owner agrees",
                secret=name,
            )

    def expiry_warning(self, name: str, moment: datetime) -> str | None:
        """Return a warning about the secret ``name`` in the last two weeks before it expires, or None."""
        if self.expires_at is None or not timedelta() < self.expires_at - moment <= EXPIRY_NOTICE:
            return None
        days = (self.expires_at - moment).days
        left = "today" if days == 0 else f"in {days} day{'s' * (days != 1)}"
        return (
            f"the secret {name!r} expires {left}, at {times.to_text(self.expires_at)}: update it before then"
        )


def _strings(value: Iterable[str] | None, field: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    items = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else None
    if items is None or not all(isinstance(item, str) and item and item.isprintable() for item in items):
        raise SecretValidationError(
            f"{field} must be a list of strings", hint="Give a list of names", field=field
        )
    return tuple(dict.fromkeys(refuse_keys(item, field) for item in items))
