"""What messages say of what somebody else wrote: shortened, on one line, with the closest names, and without keys."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable
from urllib.parse import unquote

KEY_IN_NAME = "Names are printed and saved: choose another, and replace the key if it is real"
"""What to do where a name holds a key."""

WITHHELD = "***"
"""What a message shows where a key or a token was typed."""

_KEY = re.compile(
    # A master key, even one cut short or with other letters around it.
    r"sfk1_[A-Za-z0-9_-]{16,}|[0-9a-f]{64,}"
    # The tokens of GitHub, GitLab, Slack, Vault and OpenAI, and JSON Web Tokens, by their published prefixes.
    r"|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}|hvs\.[\w-]{20,}"
    r"|sk-[\w-]{20,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*",
    re.IGNORECASE,
)
_ENCODED = re.compile(r"[^\s'\"]*%[^\s'\"]*")
_MAX_DECODINGS = 3


def holds_key(text: str) -> bool:
    """Whether a master key or a token, as it is or percent-encoded, is in ``text``."""
    for _ in range(_MAX_DECODINGS):
        if _KEY.search(text):
            return True
        text = unquote(text)
    return _KEY.search(text) is not None


def without_keys(text: str) -> str:
    """Return ``text`` with whatever looks like a master key or a token replaced by ``***``."""
    clean = _KEY.sub(WITHHELD, text)
    if "%" not in clean:
        return clean
    return _ENCODED.sub(lambda found: WITHHELD if holds_key(found[0]) else found[0], clean)


def shown(text: object) -> str:
    """Return what an error message says of a *name* that a user typed: quoted, shortened, without keys."""
    if not isinstance(text, str):
        return f"a {type(text).__name__}"
    representation = repr(without_keys(text))
    return representation if len(representation) <= 60 else representation[:56] + "...'"


_UNUSUAL = re.compile(r"[^ -~]")
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of what a terminal obeys or hides: controls, formats (bidi), surrogates, line separators."""


def printable(text: str, spelled: Callable[[str], str] | None = None) -> str:
    r"""Return ``text`` with each character that a terminal obeys or hides spelled out: ``\x1b``, ``\n``, ``\u202e``.

    ``spelled`` returns another spelling of one such character.
    """
    spell = spelled or (lambda char: char.encode("unicode_escape").decode("ascii"))
    return _UNUSUAL.sub(lambda found: spell(found[0]) if _is_obeyed(found[0]) else found[0], text)


def _is_obeyed(char: str) -> bool:
    return unicodedata.category(char) in _OBEYED


def quoted(text: str | os.PathLike[str]) -> str:
    """Return a name or a path as a word of a shell command, whatever is in it, on one line.

    What a terminal obeys is written as ``$'…'``, which bash, zsh and POSIX 2024 read.
    """
    word = os.fspath(text)
    if not any(map(_is_obeyed, word)):
        return shlex.quote(word)
    return "$'" + "".join(map(_shell_escape, word)) + "'"


def _shell_escape(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if not _is_obeyed(char):
        return char
    raw = os.fsencode(char) if "\udc80" <= char <= "\udcff" else char.encode("utf-8", "surrogatepass")
    return "".join(f"\\{byte:03o}" for byte in raw)


def shown_path(path: str | os.PathLike[str]) -> str:
    """Return a path for a message; one that would change what a terminal shows is spelled out in quotes."""
    text = os.fspath(path)
    return repr(text) if any(map(_is_obeyed, text)) else text


_ALIKE = 0.65
"""Of 1: how alike a name must be for "did you mean"."""


def _alike(wanted: str, name: str) -> float:
    return difflib.SequenceMatcher(None, name, wanted.casefold()).ratio()


def closest(wanted: str, known: Iterable[str], *, what: str = "names") -> str:
    """Return a hint with the closest known names, for an error message."""
    names = sorted(set(known))
    if not names:
        return f"There are no {what} yet"
    by_fold = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(wanted.casefold(), by_fold, n=3, cutoff=_ALIKE)
    if near:
        # What is much less alike than the best is not what was meant.
        best = _alike(wanted, near[0])
        near = [name for name in near if _alike(wanted, name) > best - 0.1]
        return "Did you mean " + " or ".join(repr(by_fold[name]) for name in near) + "?"
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"The {what} are: {listed}"


UNPRINTABLE = "(cannot be printed: "


def printed(value: object, how: Callable[[object], str] = repr) -> str:
    """Return ``repr(value)`` or ``str(value)``; where that raises, a description that begins with UNPRINTABLE."""
    try:
        return how(value)
    except Exception as error:  # noqa: BLE001 - somebody else's code; its message may contain a value
        return f"{UNPRINTABLE}{how.__name__}() of {type(value).__name__} raises {type(error).__name__})"
