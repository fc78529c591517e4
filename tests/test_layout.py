"""The shape of the code, where a linter cannot hold it: imports inside functions, and the prose of messages and pages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "sealflow"

LAZY = {
    "sealflow.model.types": "pydantic takes 100 ms to import: reading and listing do without it",
    "sealflow.workflow.interpreter": "it subclasses jmespath's, which workflows without expressions do without",
    "sealflow.workflow.nodes.http_session": "it is the one module that imports aiohttp, when a request is sent",
}
"""Our own modules that may be imported inside a function, outside the command line, and why."""


def imports_inside_functions(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "sealflow":
                    yield str(node.module)
                elif isinstance(node, ast.Import):
                    yield from (item.name for item in node.names if item.name.startswith("sealflow"))


def test_outside_the_command_line_our_own_modules_are_imported_at_the_top():
    found = {
        f"{path.relative_to(SOURCE)}: {module}"
        for path in SOURCE.rglob("*.py")
        if "cli" not in path.relative_to(SOURCE).parts
        for module in imports_inside_functions(path)
        if module not in LAZY
    }
    assert found == set()


PROSE = re.compile(
    r"(?<!there )\b(?:is|are|was|be) no (?!longer\b|more\b|less\b|later\b|exception\b)[a-z]+"
    r"|\bbut for\b|\banew\b|\bbe it\b|\bstands? in\b|\bmistake in sealflow\b",
    re.IGNORECASE,
)
PAGES = [*SOURCE.rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sentences_are_plain_english(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [f"{number}: {line.strip()}" for number, line in enumerate(lines, 1) if PROSE.search(line)] == []


PRINTS = re.compile(r"\b(?:click\.(?:echo|secho|echo_via_pager)|print|sys\.std(?:out|err)\.write)\(")


def test_commands_print_through_one_file():
    found = {
        f"{path.name}: {line.strip()}"
        for path in (SOURCE / "cli").glob("*.py")
        if path.name != "terminal.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if PRINTS.search(line)
    }
    # A page of the documentation, laid out by rich.
    assert found == {"help.py: Console().print(Markdown(text))"}
