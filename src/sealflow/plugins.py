"""A name and the class that it means: our own table, what was registered, and installed packages (entry points)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Generic, TypeVar

from sealflow.errors import SealflowError
from sealflow.wording import closest, shown

_T = TypeVar("_T")


class Plugins(Generic[_T]):
    """Named classes of one kind, each imported when it is asked for.

    An installed package that cannot be imported breaks nothing but its own name. Our own names cannot be taken.
    """

    def __init__(
        self,
        group: str,
        built_in: Mapping[str, str],
        *,
        what: str,
        error: type[SealflowError],
        unusable: type[SealflowError] | None = None,
        extras: Mapping[str, str] | None = None,
    ) -> None:
        """``group``: of the entry points. ``built_in``: names to ``module:attribute``.

        ``what``: one of them in messages, such as "node type"; ``error``: what is raised for an unknown name;
        ``unusable``: what is raised for one that cannot be imported, if not the same; ``extras``: names to the extra of sealflow that installs their library.
        """
        self._group = group
        self._built_in = dict(built_in)
        self._what = what
        self._error = error
        self._unusable = unusable or error
        self._extras = dict(extras or {})
        self._known: dict[str, _T] = {}
        self._registered: set[str] = set()
        self._targets: dict[str, str] | None = None

    def register(self, name: str, thing: _T, *, replace: bool = False) -> None:
        """Make ``thing`` known under ``name``; the error of this kind for a name that is taken."""
        if name in self._built_in or (not replace and self._known.get(name, thing) is not thing):
            raise self._error(f"the {self._what} {name!r} exists already", hint="Choose another name")
        self._known[name] = thing
        self._registered.add(name)

    def is_registered(self, name: object) -> bool:
        """Whether the program itself registered ``name``: nothing is imported."""
        return name in self._registered

    def names(self) -> tuple[str, ...]:
        """Return every name, sorted, without importing anything."""
        return tuple(sorted({*self._built_in, *self._known, *self._installed()}))

    def check(self, name: object) -> str:
        """Return ``name`` where it is known; the error of this kind, with the closest names, where it is not."""
        if isinstance(name, str) and (
            name in self._built_in or name in self._known or name in self._installed()
        ):
            return name
        raise self._error(
            f"there is no {self._what} {shown(name)}",
            hint=closest(str(name), self.names(), what=f"{self._what}s"),
        )

    def get(self, name: object) -> _T:
        """Return what ``name`` means; the error of this kind where it is unknown or cannot be imported."""
        known = self.check(name)
        if known not in self._known:
            self._known[known] = self._imported(known)
        return self._known[known]

    def _imported(self, name: str) -> _T:
        target = self._built_in.get(name) or self._installed()[name]
        module, _, attribute = target.partition(":")
        try:
            found: _T = importlib.import_module(module)  # type: ignore[assignment] # an attribute follows
            for part in attribute.split(".") if attribute else ():
                found = getattr(found, part)
        except ImportError as error:
            missing = error.name or type(error).__name__
        except Exception as error:  # noqa: BLE001 - whatever a package of somebody else's raises when it is imported
            missing = f"{target}, which raised {type(error).__name__}"
        else:
            return found
        extra = self._extras.get(name)
        raise self._unusable(
            f"the {self._what} {name!r} needs {missing}",
            hint=f"Run: pip install 'sealflow[{extra}]'"
            if extra
            else "Install or repair the package it comes from",
        )

    def _installed(self) -> dict[str, str]:
        if self._targets is None:
            from importlib.metadata import entry_points

            self._targets = {entry.name: entry.value for entry in entry_points(group=self._group)}
        return self._targets
