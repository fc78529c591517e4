"""The HTTP node's ``expect``: which statuses of an answer count as success."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

DEFAULT_EXPECT: tuple[int | str, ...] = ("2xx", "3xx")

_STATUS = re.compile(r"any|[1-5](?:xx|[0-9][0-9])")


def _checked(value: int | str | list[int | str]) -> int | str | list[int | str]:
    for item in _items(value):
        if not _STATUS.fullmatch(item):
            raise ValueError("must be a status such as 200, a class such as 2xx, any, or a list of these")
    if value == []:
        raise ValueError("must not be empty; any accepts every status")
    return value


Expect = Annotated[int | str | list[int | str], AfterValidator(_checked)]


def is_expected(status: int, expect: Expect) -> bool:
    """Whether an answer with this status goes to the port ``output``."""
    return any(item in ("any", str(status), f"{status // 100}xx") for item in _items(expect))


def spelled(expect: Expect) -> str:
    """Return ``expect`` for a message: ``2xx, 3xx``."""
    return ", ".join(_items(expect))


def _items(expect: Expect) -> list[str]:
    return [str(item).lower() for item in (expect if isinstance(expect, list) else [expect])]
