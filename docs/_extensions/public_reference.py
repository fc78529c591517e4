"""The API reference and the table of errors, written from `__all__` and the docstrings when the pages are built.

`public-module` documents every name in a module's `__all__`, so a name that becomes public appears by itself.
`error-table` reads the docstrings of `sealflow.errors`, so that the table cannot say anything else than they do.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Protocol

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

import sealflow
from sealflow import errors

log = logging.getLogger(__name__)

_ERROR_NAME = re.compile(r"(?<![\w`.~])\w+Error\b(?!`)")
_WHAT_TO_DO, _RETRIED = "What to do: ", "Retried: "


def public_modules() -> list[str]:
    """Return the modules of the package that have an `__all__`, and last of all the package itself.

    A name that several of them export is described on the page of the first one, and linked from the others.
    """
    children = [
        item.name for item in pkgutil.iter_modules(sealflow.__path__) if not item.name.startswith("_")
    ]
    return [*(f"sealflow.{name}" for name in children if public_names(f"sealflow.{name}")), "sealflow"]


def public_names(module: str) -> list[str]:
    """Return a module's `__all__`; a module without one exports nothing."""
    return list(getattr(importlib.import_module(module), "__all__", ()))


@cache
def _homes() -> dict[str, str]:
    """Return for each public object the name it is documented under, by every name that leads to it.

    Those names are the public ones and the one in the module that defines it, which signatures show.
    """
    found: dict[str, str] = {}
    by_object: dict[int, str] = {}
    for module in public_modules():
        for name in public_names(module):
            thing = getattr(importlib.import_module(module), name)
            home = by_object.setdefault(id(thing), f"{module}.{name}")
            found[f"{module}.{name}"] = home
            if inspect.isclass(thing) or inspect.isfunction(thing):
                found.setdefault(f"{thing.__module__}.{thing.__qualname__}", home)
    return found


class PublicModule(SphinxDirective):
    """Lists every public name of a module, and documents those that no earlier module documents."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module = self.arguments[0]
        known = _homes()
        names = public_names(module)
        lines = [".. list-table::", "   :widths: 1 2", ""] if names else []
        for name in names:
            home = known[f"{module}.{name}"]
            lines += [f"   * - :py:obj:`~{home}`", f"     - {_summary(_value(home))}"]
        lines.append("")
        for name in names:
            if known[f"{module}.{name}"] == f"{module}.{name}":
                lines += _documented(f"{module}.{name}")
        return self.parse_text_to_nodes("\n".join(lines))


def _value(full_name: str) -> Any:
    module, _, name = full_name.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _is_described(thing: object) -> bool:
    """Whether a thing has a docstring of its own; a type alias and a string have that of their class."""
    return inspect.isclass(thing) or inspect.isroutine(thing)


def _summary(thing: object) -> str:
    """Return the first sentence of a docstring, or how a value is written."""
    if not _is_described(thing):
        return f"``{_written(thing)}``"
    first = (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
    return _linked(re.split(r"(?<=\.)\s", first, maxsplit=1)[0])


def _written(value: object) -> str:
    """Return a value as its source has it: a union of classes by their bare names."""
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", repr(value)) if not isinstance(value, str) else repr(value)


def _documented(full_name: str) -> list[str]:
    """Return the directive that documents one object in full."""
    thing = _value(full_name)
    if not _is_described(thing):
        return [f".. py:data:: {full_name}", f"   :value: {_written(thing)}", ""]
    if not inspect.isclass(thing):
        return [f".. autofunction:: {full_name}", ""]
    kind = "autoexception" if issubclass(thing, BaseException) else "autoclass"
    options = ["   :members:", "   :undoc-members:"]
    if any(map(_is_shown, thing.__bases__)):
        options.append("   :show-inheritance:")
    if not all(map(_is_shown, thing.__mro__[1:-1])):  # what a base that is not public gives is said here
        options.append(
            f"   :inherited-members: {', '.join(base.__name__ for base in thing.__mro__ if _is_shown(base))}"
        )
    return [f".. {kind}:: {full_name}", *options, ""]


def _is_shown(base: type) -> bool:
    """Whether a base class says something to a reader: a public one of ours, or one of another project."""
    name = f"{base.__module__}.{base.__qualname__}"
    return base is not object and (not name.startswith("sealflow.") or name in _homes())


class ErrorTable(SphinxDirective):
    """A table of `sealflow.errors`: the error, when it is raised, what to do, and whether it is retried."""

    def run(self) -> list[nodes.Node]:
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 22 34 30 14", ""]
        lines += ["   * - Error", "     - When", "     - What to do", "     - Retried"]
        for name, when, what_to_do, retried in error_rows():
            cell = f":py:exc:`~{_homes()[f'sealflow.errors.{name}']}`"
            lines += [f"   * - {cell}", f"     - {when}", f"     - {what_to_do}", f"     - {retried}"]
        return self.parse_text_to_nodes("\n".join(lines))


def error_rows() -> Iterator[tuple[str, str, str, str]]:
    """Yield name, when, what to do and retried of each error, in the order of the module."""
    for name, thing in vars(errors).items():
        if inspect.isclass(thing) and issubclass(thing, errors.SealflowError):
            text = inspect.getdoc(thing) or ""
            when = text.partition("\n\n")[0].replace("\n", " ")
            yield name, _linked(when), *(_linked(_said(text, mark)) for mark in (_WHAT_TO_DO, _RETRIED))


def _said(text: str, mark: str) -> str:
    """Return what a docstring says after a mark, to the next mark or the end of the paragraph."""
    rest = text.partition(mark)[2].partition("\n\n")[0].partition(f"\n{_RETRIED}")[0]
    if not rest:
        log.warning("a docstring in sealflow.errors does not say %r: %s", mark, text.partition("\n")[0])
    rest = rest.replace("\n", " ")
    return rest[:1].upper() + rest[1:]


def _linked(text: str) -> str:
    """Return text in which the names of errors are links."""
    return _ERROR_NAME.sub(
        lambda found: f":py:exc:`~sealflow.errors.{found[0]}`" if hasattr(errors, found[0]) else found[0],
        text,
    )


def link_errors(
    _app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Make the errors that a docstring names links to their descriptions."""
    lines[:] = [_linked(line) for line in lines]


def keep_shown_bases(_app: Sphinx, _name: str, _obj: object, _options: object, bases: list[type]) -> None:
    """Leave out base classes that are not public."""
    bases[:] = [base for base in bases if not inspect.isclass(base) or _is_shown(base)]


def skip_noise(
    _app: Sphinx, _what: str, name: str, member: object, _skip: bool, _options: object
) -> bool | None:
    """Leave out the fields of named tuples, which the signature shows, pydantic's own attributes, and tests."""
    return (
        True
        if type(member).__name__ == "_tuplegetter" or name.startswith(("model_config", "test_"))
        else None
    )


def hide_inherited_signature(
    _app: Sphinx, what: str, _name: str, thing: Any, _options: object, arguments: str, returned: str
) -> tuple[str, str] | None:
    """Leave out the arguments of exceptions that take those of SealflowError, and those that Python gives protocols."""
    inherited = what == "exception" and "__init__" not in vars(thing)
    protocol = what == "class" and Protocol in thing.__bases__
    return ("", returned) if arguments and (inherited or protocol) else None


def list_promises(
    _app: Sphinx, what: str, _name: str, thing: object, _options: object, lines: list[str]
) -> None:
    """List what a contract tests: the name of each test is a sentence."""
    tests = [name for name in vars(thing) if name.startswith("test_")] if what == "class" else []
    if tests:
        lines += [
            "",
            "It tests that:",
            "",
            *(f"- {name.removeprefix('test_').replace('_', ' ')}" for name in tests),
            "",
        ]


def resolve_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, child: nodes.TextElement
) -> nodes.reference | None:
    """Lead a name that Python spells by the module that defines it to the public name that is documented."""
    if node.get("refdomain") != "py":
        return None
    known = _homes()
    owner, _, attribute = node["reftarget"].rpartition(".")
    target = known.get(node["reftarget"]) or (f"{known[owner]}.{attribute}" if owner in known else None)
    if target is None or target == node["reftarget"]:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, child)


def check_complete(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of public names that no page documents, and of those that are still ignored as not public."""
    for _, name in app.config.nitpick_ignore:
        if name in _homes():
            log.warning("%s is public now: remove it from nitpick_ignore", name)
    documented = {name for name, *_ in env.get_domain("py").get_objects()}
    for home in sorted(set(_homes().values()) - documented):
        log.warning("no page documents %s", home)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("public-module", PublicModule)
    app.add_directive("error-table", ErrorTable)
    app.connect("autodoc-process-docstring", link_errors)
    app.connect("autodoc-process-bases", keep_shown_bases)
    app.connect("autodoc-process-docstring", list_promises)
    app.connect("autodoc-process-signature", hide_inherited_signature)
    app.connect("autodoc-skip-member", skip_noise)
    app.connect("missing-reference", resolve_public_name)
    app.connect("env-check-consistency", check_complete)
    return {"parallel_read_safe": True}
