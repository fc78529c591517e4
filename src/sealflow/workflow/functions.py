"""The functions that a ``function`` node may call: registered ones, and those of modules beside the workflow file.

A workflow file names code by a string, so the string must not reach code that nobody offered to workflows: not the
standard library, not an installed package, not what a module has imported for itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from sealflow.errors import WorkflowError
from sealflow.model.names import NAME_RULE, is_name
from sealflow.owners import find_writer
from sealflow.plugins import Plugins
from sealflow.wording import shown

FUNCTIONS: Plugins[Callable[..., Any]] = Plugins(
    "sealflow.functions", {}, what="function", error=WorkflowError
)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def function(name: str) -> Callable[[_Function], _Function]:
    """Offer a function to ``function`` nodes under ``name``; the function stays what it is.

    ::

        @sealflow.function("sign")
        def sign(text: str, key: str) -> str: ...

    A workflow file then has ``type: function`` with ``config: {call: sign, ...}``. An installed package offers its
    functions by entry points in the group ``sealflow.functions``. Raises WorkflowError for a name that is not valid.
    """
    if not is_name(name):
        raise WorkflowError(f"{name!r} is not a valid function name", hint=NAME_RULE)

    def register(function: _Function) -> _Function:
        FUNCTIONS.register(name, function, replace=True)
        return function

    return register


def find_function(call: str, folder: Path | None) -> Callable[..., Any]:
    """Return what ``call`` names: a registered function, or ``module:function`` in ``folder``.

    ``folder``: the resolved folder of the workflow file, or None. Raises WorkflowError, which says what is missing.
    """
    module_name, separator, names = call.partition(":")
    if not separator:
        return FUNCTIONS.get(call)
    return _attribute(import_module(module_name, folder), names)


def import_module(name: str, folder: Path | None) -> Any:
    """Import a module that is a file below ``folder``, and return it.

    ``folder``: the resolved folder of the workflow file, which the owner trusts, or None. Raises WorkflowError.
    """
    if folder is None:
        raise _error(
            f"{shown(name)} names a module, and this workflow does not come from a file",
            "Register what it offers in your program (@sealflow.function, @sealflow.node)",
        )
    if not all(part.isidentifier() for part in name.split(".")):
        raise _error(f"{shown(name)} is not the name of a module", "Write it as in an import statement")
    _check_file(name, folder)
    return _imported(name, folder)


def _check_file(module_name: str, folder: Path) -> None:
    """Refuse, before any of its code runs, a module that is not a file below ``folder``."""
    path = folder
    for part in module_name.split("."):
        package = path / part
        file = next((file for file in (package / "__init__.py", path / f"{part}.py") if file.is_file()), None)
        if file is None and not package.is_dir():
            raise _error(
                f"there is no module {module_name!r} in {folder}",
                "Put it beside the workflow file, or register the function with @sealflow.function",
            )
        for place in (place for place in (package, file) if place is not None and place.exists()):
            if not place.resolve().is_relative_to(folder):
                raise _error(f"the module {module_name!r} is a link that leads out of {folder}", "Copy it")
            writer = find_writer(place)
            if writer is not None:
                raise _error(f"the module {module_name!r} is not imported: {writer[0]}", writer[1])
        path = package
    top = module_name.partition(".")[0]
    if top in sys.stdlib_module_names or top == "sealflow" or _is_elsewhere(top, folder):
        raise _error(
            f"the name of the module {top!r} is taken by Python or an installed package", "Rename the file"
        )


def _is_elsewhere(top: str, folder: Path) -> bool:
    """Whether Python would find the name, without ``folder``, somewhere else. Nothing is imported."""
    if top in sys.modules:
        return not _is_below(sys.modules[top], folder)
    spec = importlib.util.find_spec(top)
    return spec is not None and not all(
        place.resolve().is_relative_to(folder)
        for place in _places(spec.origin, spec.submodule_search_locations)
    )


def _is_below(module: Any, folder: Path) -> bool:
    places = list(_places(getattr(module, "__file__", None), getattr(module, "__path__", None)))
    return bool(places) and all(place.resolve().is_relative_to(folder) for place in places)


def _places(file: str | None, search: Any) -> Iterator[Path]:
    if file is not None:
        yield Path(file)
    yield from (Path(place) for place in search or ())


def _imported(module_name: str, folder: Path) -> Any:
    """Import the module; ``folder`` is then the last place where Python looks for modules."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()
    module = importlib.import_module(module_name)
    if not _is_below(module, folder):
        raise _error(f"the module {module_name!r} was imported from somewhere else", "Rename the file")
    return module


def _attribute(module: Any, names: str) -> Callable[..., Any]:
    """Return a function that the module itself defines, or that a class of it defines."""
    found = module
    for name in names.split("."):
        found = None if name.startswith("__") else getattr(found, name, None)
        if getattr(found, "__module__", None) != module.__name__:
            found = None
            break
    if not callable(found):
        raise _error(
            f"the module {module.__name__!r} does not define a function {names!r}",
            "Correct the name; what a module imports from elsewhere cannot be called",
        )
    return found  # type: ignore[no-any-return] # it is callable, whatever else it is


def _error(problem: str, hint: str) -> WorkflowError:
    return WorkflowError(problem, hint=hint, path="call")
