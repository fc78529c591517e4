"""The forms of a value that are searched for as they stand; sealflow.resolver.views decodes everything else.

Only what cannot be decoded without knowing the value is spelled out here: base64 and hex inside longer strings,
doubled quotes, ``+`` for a space, UTF-16, and the spellings of numbers.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from sealflow.model.maskable import MIN_LENGTH

CUT_FROM = 16
"""Characters of the shortest value that is found when it is cut short; parts of shorter ones occur by chance."""

_CUT = 8
"""A value is found when up to one in so many characters is missing at either end."""

_THOUSANDS = (",", ".", "_", " ", "\u00a0", "\u202f", "'", "\u2019")

_SHORT_HEX = 8
"""Bytes below which hex with separators is spelled out; longer runs are decoded."""


def texts(value: Any) -> Iterator[str]:
    """Yield every string and number (in all its spellings) in a value; mappings and lists all the way down."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, int | float) and not isinstance(item, bool):
            yield from number_spellings(item)
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def forms(text: str) -> set[str]:
    """Return the strings to search for, each at least MIN_LENGTH characters long."""
    found = {text, *_rewritten(text)}
    for line in text.splitlines():
        found.update({line, line.strip()})
    for form in (text, text.replace("\n", "\r\n")) if "\n" in text else (text,):
        found.update(_coded(form.encode("utf-8", "surrogatepass")))
    for kind in ("utf-16-le", "utf-16-be") if not text.isascii() else ():
        wide = text.encode(kind, "surrogatepass")
        found.update({wide.decode("latin-1"), *_coded(wide)})
    return {form for form in found if len(form) >= MIN_LENGTH}


def core(form: str) -> tuple[int, int]:
    """Return the part of a form that is left when it is cut short at both ends, as start and end."""
    cut = len(form) // _CUT if len(form) >= CUT_FROM else 0
    return cut, len(form) - cut


def number_spellings(number: float) -> set[str]:
    """Return how a number may be written: without its sign, with an exponent, a fraction or separators of thousands."""
    if isinstance(number, float) and not math.isfinite(number):
        return set()
    exact = abs(Decimal(repr(number)) if isinstance(number, float) else Decimal(number))
    whole, _, fraction = f"{exact:f}".partition(".")
    fraction = fraction.rstrip("0")
    found = {f"{exact:f}", whole if not fraction else f"{whole}.{fraction}", *_scientific(exact)}
    found.update(_grouped(whole, fraction))
    if fraction:
        found.add(f"{whole},{fraction}")
    elif len(whole) > 6:
        found |= {f"{int(exact):x}", f"{int(exact):X}"}
    return found


def _grouped(whole: str, fraction: str) -> Iterator[str]:
    """Yield a number with separators of thousands, and the decimal point that goes with each."""
    first = len(whole) % 3 or 3
    groups = [whole[:first], *(whole[at : at + 3] for at in range(first, len(whole), 3))]
    if len(groups) > 1:
        for separator in _THOUSANDS:
            for point in ".,":
                yield separator.join(groups) + (point + fraction if fraction else "")


def _scientific(exact: Decimal) -> Iterator[str]:
    """Yield a number with an exponent, as Python, JavaScript, Java and C write it."""
    digits = "".join(map(str, exact.as_tuple().digits)).rstrip("0")
    if not digits:
        return
    exponent = exact.adjusted()
    for mantissa in {
        f"{digits[0]}.{digits[1:] or '0'}",
        digits[0] + (f".{digits[1:]}" if digits[1:] else ""),
    }:
        for sign in ("+", "") if exponent >= 0 else ("-",):
            for width in (1, 2, 3):
                yield f"{mantissa}e{sign}{abs(exponent):0{width}d}"
                yield f"{mantissa}E{sign}{abs(exponent):0{width}d}"


def _rewritten(text: str) -> Iterator[str]:
    """Yield the value as forms, shells, SQL and CSV write it where a decoder cannot know that they did."""
    if " " in text:
        yield text.replace(" ", "+")
    if "'" in text:
        yield text.replace("'", "''")
        yield text.replace("'", "'\\''")
        yield text.replace("'", "'\"'\"'")
    for quote in '"`':
        if quote in text:
            yield text.replace(quote, quote * 2)


def _coded(raw: bytes) -> Iterator[str]:
    yield raw.hex()
    yield raw.hex().upper()
    if len(raw) < _SHORT_HEX:
        for separator in ":- ":
            yield raw.hex(separator)
            yield raw.hex(separator).upper()
    for altchars in (b"+/", b"-_"):
        yield from _base64_shifts(raw, altchars)


def _base64_shifts(raw: bytes, altchars: bytes) -> Iterator[str]:
    """Yield base64 of ``raw`` behind 0, 1 or 2 other bytes: the characters that only ``raw`` decides."""
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw, altchars=altchars).decode()
        yield encoded[(0, 2, 3)[shift] : (shift + len(raw)) * 8 // 6]
