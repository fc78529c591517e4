"""Times: aware datetimes in UTC inside, RFC 3339 strings outside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from sealflow.errors import SecretValidationError
from sealflow.wording import shown

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SPAN = re.compile(r"([0-9]{1,5})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}


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
    """Take an aware datetime, an RFC 3339 string, or a date, whose day begins in UTC; SecretValidationError names ``field``."""
    hint = "Give a date, such as 2027-01-31, or a time with its zone, such as 2027-01-31T00:00:00Z"
    if isinstance(value, str):
        try:
            return from_text(f"{value}T00:00:00Z" if _DATE.fullmatch(value) else value).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    elif isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    raise SecretValidationError(f"{field} is not a valid time", hint=hint, field=field)


def read_span(text: str, option: str) -> timedelta:
    """Read a time span such as ``12h``, ``14d`` or ``2w``; SecretValidationError naming ``option``."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise SecretValidationError(f"{option} {shown(text)} is not a time span", hint="Give 14d, 12h or 2w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def read_moment(text: str, option: str, *, past: bool = False) -> datetime:
    """Read what a person types for a time: a span from now (``past``: before now), a word such as yesterday, or a time."""
    word = text.strip().lower()
    moment = None
    if word in _DAYS:
        moment = now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=_DAYS[word])
    elif _SPAN.fullmatch(word):
        span = read_span(word, option)
        moment = now() - span if past else now() + span
    if moment is not None:
        return moment
    try:
        return read_time(text.strip(), option)
    except SecretValidationError as error:
        problem = error
    raise problem.placed(hint="Give 90d, 1h, yesterday, 2027-01-31 or 2027-01-31T00:00:00Z")
