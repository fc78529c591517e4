"""What messages say of what a user typed: shortened, on one line, with the closest names, and without keys."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote

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
