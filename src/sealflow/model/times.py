"""Times: aware datetimes in UTC inside, RFC 3339 strings outside."""

from __future__ import annotations

from datetime import UTC, datetime

from sealflow.errors import SecretValidationError


def now() -> datetime:
    """Return the present time, in UTC."""
    return datetime.now(UTC)


def to_text(moment: datetime) -> str:
    """RFC 3339 in UTC, with ``Z``: ``2026-11-24T10:00:00.123456Z``."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def from_text(text: str) -> datetime:
    """Read an RFC 3339 string; raise ValueError where the zone is missing."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("the time zone is missing")
    return moment


def read_time(value: object, field: str) -> datetime:
    """Take an aware datetime or an RFC 3339 string; raise SecretValidationError naming ``field``."""
    hint = "Give a time with its zone, such as 2027-01-31T00:00:00Z"
    if isinstance(value, str):
        try:
            return from_text(value).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    elif isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    raise SecretValidationError(f"{field} is not a valid time", hint=hint, field=field)
