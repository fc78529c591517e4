"""The audit trail as operators read it: by secret and time, and checked for lines that were changed or removed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sealflow.audit import FILE, AuditLog, Break, Event
from sealflow.errors import attempt
from sealflow.model import times
from sealflow.settings import Settings
from sealflow.stores.select import open_registry


class AuditCheck(NamedTuple):
    """What ``verify_audit`` found: the file, how many lines it has, and every place where the chain is broken."""

    path: Path
    lines: int
    breaks: tuple[Break, ...]


def read_audit(
    settings: Settings, secret: str | None = None, since: datetime | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the lines of the audit trail, oldest first: of one secret or of all, from the time ``since`` on.

    Each is a mapping: ``time`` (UTC, ISO 8601), ``actor``, ``action``, ``secret``, ``version``, ``source``, ``workflow``,
    ``execution``, ``node``, ``outcome``. No values. Needs no master key. Raises StoreUnavailableError where there is no store.
    """
    for item in _trail(settings).events():
        if secret in (None, item.get("secret")) and (since is None or _is_since(item, since)):
            yield {key: value for key, value in item.items() if key != "previous"}


def _is_since(line: dict[str, Any], since: datetime) -> bool:
    """Whether a line is that new. One whose time cannot be read is not ours, and is shown."""
    moment, _ = attempt((ValueError,), times.from_text, str(line.get("time")))
    return moment is None or moment >= since


def verify_audit(settings: Settings) -> AuditCheck:
    """Check that no line of the audit trail was changed, removed or moved. Needs no master key.

    Raises StoreUnavailableError where there is no store.
    """
    trail = _trail(settings)
    lines, breaks = trail.verify()
    return AuditCheck(trail.path, lines, tuple(breaks))


def record_event(settings: Settings, event: Event) -> None:
    """Write into the audit trail what was done without opening the service."""
    AuditLog(settings.path / FILE).record(event, now=True)


def _trail(settings: Settings) -> AuditLog:
    with open_registry(settings):
        return AuditLog(settings.path / FILE)
