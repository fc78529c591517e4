"""Views of a text: the text as it reads when one encoding is undone, with the way back to the original positions.

Undoing encodings finds what spelling them out does not: each platform escapes other characters, in upper or lower
case, and any mixture of them reads the same once it is decoded. Each kind of view is made only where a search at C
speed finds something to decode.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Protocol

_UTF8 = r"(?:{p}[0-7]{x}|{p}[cCdD]{x}{p}[89abAB]{x}|{p}[eE]{x}(?:{p}[89abAB]{x}){{2}}|{p}[fF][0-7](?:{p}[89abAB]{x}){{3}}|{p}{x}{x})"
"""One character of UTF-8, or one byte that is not UTF-8, in hex behind a prefix."""

_PERCENT = re.compile(
    _UTF8.format(p="%", x="[0-9a-fA-F]") + r"|%u[0-9a-fA-F]{4}(?:(?<=%u[dD][89abAB]..)%u[dD][c-fC-F]..)?"
)
_BACKSLASH = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\u\{[0-9a-fA-F]{1,6}\}|\\U[0-9a-fA-F]{8}|"
    + _UTF8.format(p=r"\\x", x="[0-9a-fA-F]")
    + r"|\\[2-3][0-7]{2}(?:\\2[0-7]{2}){1,3}|\\[0-3][0-7]{2}|\\[\s\S]"
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,7})(?:;| (?=&#))?|&[A-Za-z][A-Za-z0-9]{1,31};?")
"""A numeric one may end with a space that is not part of it, as browsers read it."""
_CP1252 = {
    char: bytes([code])
    for code in range(0x80, 0xA0)
    for char in [bytes([code]).decode("cp1252", "ignore")]
    if char
}
_HIGH = "\u0080-\u00ff" + "".join(_CP1252)
_CONTINUED = "\u0080-\u00bf" + "".join(_CP1252)
_MOJIBAKE = re.compile(
    f"[\u00c2-\u00df][{_CONTINUED}]|[\u00e0-\u00ef][{_CONTINUED}]{{2}}|[\u00f0-\u00f4][{_CONTINUED}]{{3}}"
)
_NAMED = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "a": "\a",
    "0": "\0",
    "e": "\x1b",
    "E": "\x1b",
}

_BASE64_RUN = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:\r?\n[ \t]*[A-Za-z0-9+/_-]+)*")
_HEX_RUN = re.compile(r"[0-9a-fA-F]{16,}(?:\r?\n[ \t]*[0-9a-fA-F]{2,})*")
_HEX_PAIRS = re.compile(r"[0-9a-fA-F]{2}(?:[:, -][0-9a-fA-F]{2}){7,}")
_HEX_GROUPS = re.compile(r"(?:[0-9a-fA-F]{2}){2,8}(?:[:, -](?:[0-9a-fA-F]{2}){1,8}){2,}")
_STANDARD = str.maketrans("-_", "+/", "\r\n\t ")
_BARE = str.maketrans("", "", "\r\n\t :,-")
_BASE64_CLASS = bytes(
    ord("a") if re.match(rb"[A-Za-z0-9+/_-]", bytes([byte])) else 0x20 for byte in range(256)
)
_HEX_CLASS = bytes(
    ord("h") if byte in b"0123456789abcdefABCDEF" else ord("s") if byte in b":, -" else 0x20
    for byte in range(256)
)


class View(Protocol):
    """A decoded text. ``source(start, end)`` returns where its characters come from in the text that was decoded."""

    text: str

    def source(self, start: int, end: int) -> tuple[int, int]: ...


def views(text: str) -> Iterator[View]:
    """Yield the text with each encoding undone that occurs in it; most texts have none."""
    if "%" in text:
        yield from _replaced(text, _PERCENT, _percent)
    if "\\" in text:
        yield from _replaced(text, _BACKSLASH, _backslash)
    if "&" in text:
        yield from _replaced(text, _ENTITY, lambda token: html.unescape(token.rstrip(" ")))
    if "\0" in text:
        yield from _replaced(text, re.compile("\0"), lambda _: "")
    if not text.isascii():
        yield from _replaced(text, _MOJIBAKE, _mojibake)
    classes = text.encode("latin-1", "replace")
    base64_runs = _find_runs(text, classes.translate(_BASE64_CLASS), b"a" * 16, _BASE64_RUN)
    for phase in range(4) if base64_runs else ():
        yield from _decoded_runs(base64_runs, _base64, 6, phase)
    hexes = classes.translate(_HEX_CLASS)
    hex_runs = _find_runs(text, hexes, b"h" * 16, _HEX_RUN) + _find_runs(text, hexes, b"hhs" * 7, _HEX_PAIRS)
    for group in (b"hhhhs" * 3, b"hhhhhhhhs" * 2):  # as xxd and od write it
        hex_runs += _find_runs(text, hexes, group, _HEX_GROUPS)
    for phase in range(2) if hex_runs else ():
        yield from _decoded_runs(hex_runs, _hex, 4, phase)


def _find_runs(text: str, classes: bytes, least: bytes, run: re.Pattern[str]) -> list[re.Match[str]]:
    """Return the runs in a text. ``classes`` has one byte a character: a search in it is many times as fast as a pattern."""
    found = []
    at = classes.find(least)
    while at >= 0:
        match = run.match(text, at)
        if match is not None:
            found.append(match)
        at = classes.find(least, match.end() if match is not None else at + 1)
    return found


def _decoded_runs(
    runs: list[re.Match[str]], decode: Callable[[str, int], bytes], bits: int, phase: int
) -> Iterator[_Runs]:
    decoded = [(run, decode(run[0], phase)) for run in runs]
    legible = [(run, _as_text(raw)) for run, raw in decoded if _is_legible(raw)]
    if legible:
        yield _Runs(legible, bits, phase)


def _is_legible(raw: bytes) -> bool:
    """Whether bytes may be a text: they are UTF-8, or at least half of them are printable ASCII or zero (UTF-16).

    Most runs are identifiers and decode to noise. A value among other bytes is found by its own base64 and hex.
    """
    if len(raw.translate(None, _LEGIBLE)) * 2 <= len(raw):
        return True
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


_LEGIBLE = bytes(range(0x20, 0x7F)) + b"\0\t\r\n"


class _Replaced:
    """A text in which escapes are replaced; ``marks`` are positions at both ends of each, here and in the source."""

    def __init__(self, text: str, marks: list[int], places: list[int]) -> None:
        self.text = text
        self._marks = marks
        self._places = places

    def source(self, start: int, end: int) -> tuple[int, int]:
        return self._place(start), self._place(end)

    def _place(self, position: int) -> int:
        index = bisect_right(self._marks, position) - 1
        return position if index < 0 else self._places[index] + position - self._marks[index]


def _replaced(text: str, escape: re.Pattern[str], decode: Callable[[str], str]) -> Iterator[_Replaced]:
    pieces: list[str] = []
    marks: list[int] = []
    places: list[int] = []
    at = length = 0
    for match in escape.finditer(text):
        start, end = match.span()
        char = decode(match[0])
        pieces += (text[at:start], char)
        length += start - at
        marks += (length, length + len(char))
        places += (start, end)
        length, at = length + len(char), end
    if pieces:
        pieces.append(text[at:])
        yield _Replaced("".join(pieces), marks, places)


class _Runs:
    """The runs of one encoding in a text, decoded and joined by line breaks."""

    def __init__(self, found: list[tuple[re.Match[str], str]], digits: int, phase: int) -> None:
        self.text = "\n".join(decoded for _, decoded in found)
        self._found = found
        self._bits, self._phase = digits, phase
        self._starts: list[int] = []
        at = 0
        for _, decoded in found:
            self._starts.append(at)
            at += len(decoded) + 1

    def source(self, start: int, end: int) -> tuple[int, int]:
        first = bisect_right(self._starts, start) - 1
        last = max(bisect_right(self._starts, end - 1) - 1, first)
        return self._place(first, start, ends=False), self._place(last, end, ends=True)

    def _place(self, index: int, position: int, *, ends: bool) -> int:
        match, decoded = self._found[index]
        size = len(_as_bytes(decoded[: position - self._starts[index]]))
        bits = size * 8
        digit = self._phase + (-(-bits // self._bits) if ends else bits // self._bits)
        coded = match[0]
        if len(coded) == len(coded.translate(_STANDARD if self._bits == 6 else _BARE)):
            return match.start() + min(digit, len(coded))
        skipped = "\r\n\t " if self._bits == 6 else "\r\n\t :,-"
        places = [place for place, char in enumerate(coded) if char not in skipped]
        if ends:
            return match.start() + (places[min(digit, len(places)) - 1] + 1 if digit else 0)
        return match.start() + places[min(digit, len(places) - 1)]


def _base64(run: str, phase: int) -> bytes:
    digits = run.translate(_STANDARD)[phase:]
    digits = digits[: len(digits) - (len(digits) % 4 == 1)]
    return base64.b64decode(digits + "=" * (-len(digits) % 4))


def _hex(run: str, phase: int) -> bytes:
    digits = run.translate(_BARE)[phase:]
    return binascii.unhexlify(digits[: len(digits) // 2 * 2])


def _as_text(raw: bytes) -> str:
    """Decode UTF-8, each byte that is not UTF-8 as a lone surrogate, so that the way back is exact."""
    return raw.decode("utf-8", "surrogateescape")


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def readable(text: str) -> str:
    """Return ``text`` with bytes that are not UTF-8 read as Latin-1, and other lone surrogates replaced, one for one."""
    if text.isascii():
        return text
    return text.translate(_READABLE) if _SURROGATE.search(text) else text


_SURROGATE = re.compile("[\ud800-\udfff]")
_READABLE = {code: code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else 0xFFFD for code in range(0xD800, 0xE000)}


def _from_bytes(raw: bytes) -> str:
    return readable(_as_text(raw))


def _percent(token: str) -> str:
    if token[1] == "u":
        return _utf16(token.replace("%u", ""))
    return _from_bytes(bytes.fromhex(token.replace("%", "")))


def _backslash(token: str) -> str:
    kind = token[1]
    if kind == "u" and len(token) > 2:
        return _utf16(token.replace("\\u", "")) if token[2] != "{" else _char(int(token[3:-1], 16))
    if kind == "U" and len(token) > 2:
        return _char(int(token.removeprefix("\\U"), 16))
    if kind == "x" and len(token) > 2:
        return _from_bytes(bytes.fromhex(token.replace("\\x", "")))
    if kind.isdigit() and len(token) > 2:
        return _from_bytes(bytes(int(code, 8) for code in token.split("\\")[1:]))
    return "" if kind == "\n" else _NAMED.get(kind, kind)


def _char(code: int) -> str:
    return readable(chr(code)) if code < 0x110000 else "\ufffd"


def _utf16(digits: str) -> str:
    return readable(bytes.fromhex(digits).decode("utf-16-be", "surrogatepass"))


def _mojibake(token: str) -> str:
    return _from_bytes(b"".join(_CP1252.get(char) or char.encode("latin-1") for char in token))
