"""The API reference is whole: pages for the public modules, docstrings for the public names, a row for each error."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import sealflow
from sealflow import BaseNode, ReferenceSyntaxError, SealflowError, Workflow, errors, run_workflow

PAGES = Path(__file__).parent.parent / "docs" / "reference" / "api"
CHILDREN = [
    f"sealflow.{item.name}"
    for item in pkgutil.iter_modules(sealflow.__path__)
    if not item.name.startswith("_") and hasattr(importlib.import_module(f"sealflow.{item.name}"), "__all__")
]
PUBLIC = ["sealflow", *CHILDREN]
THINGS = {
    f"{module}.{name}": thing
    for module in PUBLIC
    for name in importlib.import_module(module).__all__
    if inspect.isclass(thing := getattr(importlib.import_module(module), name)) or inspect.isroutine(thing)
}
ERRORS = {
    name: thing
    for name, thing in vars(errors).items()
    if inspect.isclass(thing) and issubclass(thing, SealflowError)
}


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_module_has_a_page(module):
    directives = [
        re.findall(r"^\.\. public-module:: (\S+)$", page.read_text(), re.MULTILINE)
        for page in PAGES.iterdir()
    ]
    assert [module] in directives


@pytest.mark.parametrize("name", THINGS)
def test_every_public_class_and_function_says_what_it_is(name):
    text = vars(THINGS[name]).get("__doc__") if inspect.isclass(THINGS[name]) else THINGS[name].__doc__
    assert text
    # What Python writes for a named tuple or a dataclass is its signature, and that is no description.
    assert not text.startswith(f"{THINGS[name].__name__}(")


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_public(name):
    assert name in errors.__all__
    assert name in sealflow.__all__


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_says_what_to_do_and_whether_it_is_retried(name):
    assert re.search(r"\n *What to do: .+\n(.+\n)* *Retried: (yes|no)\b", ERRORS[name].__doc__)


async def test_the_engine_retries_the_errors_that_say_so_and_no_others():
    class Raising(BaseNode):
        type_name = "raising"

        async def process(self, context, config):
            kind = ERRORS[self.name]
            raise kind("x", column=1, hint="y") if kind is ReferenceSyntaxError else kind("x")

    nodes = [Raising(name, retry={"attempts": 2, "delay": 0}) for name in ERRORS]
    execution = await run_workflow(Workflow("w", nodes))
    retried = {name for name, run in execution.nodes.items() if run.attempts == 2}
    assert retried == {name for name, kind in ERRORS.items() if "Retried: yes" in kind.__doc__}
