"""Public names that are imported when they are first used, so that a command pays only for what it needs (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any


def load_name(package: str, modules: Mapping[str, str], name: str) -> Any:
    """Return the public ``name`` of ``package``, for its ``__getattr__``; ``modules``: names to the modules they are in.

    Raises AttributeError for another name. What a module raises when it is imported passes as it is.
    """
    if name not in modules:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(modules[name]), name)
    setattr(sys.modules[package], name, value)  # the next access does not come here
    return value
