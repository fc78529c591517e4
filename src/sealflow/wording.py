"""How messages speak of names: shortened, on one line, with the closest names that exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def shown(text: object) -> str:
    """Text for an error message: what a user typed as a *name*, shortened, on one line."""
    representation = repr(text) if isinstance(text, str) else f"a {type(text).__name__}"
    return representation if len(representation) <= 60 else representation[:56] + "...'"


def closest(wanted: str, known: Iterable[str], *, what: str = "names") -> str:
    """Return a hint with the closest known names, for an error message."""
    names = sorted(set(known))
    if not names:
        return f"There are no {what} yet"
    by_fold = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(wanted.casefold(), by_fold, n=3, cutoff=0.5)
    if near:
        return "Did you mean " + " or ".join(repr(by_fold[name]) for name in near) + "?"
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"The {what} are: {listed}"
