"""What the documentation shows is run: commands, Python, and workflow files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from needs import needs
from sealflow import Workflow
from sealflow.config import load_config
from sealflow.providers.kinds import KINDS
from sealflow.providers.options import provider_settings

ROOT = Path(__file__).parent.parent
NEEDED = {"vault": ["hvac"], "aws": ["boto3"]}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def blocks(page: Path) -> list[tuple[str, str, str]]:
    return FENCE.findall(page.read_text(encoding="utf-8"))


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        page
        for page in PAGES
        if any(kind in ("console", "python", "toml", "yaml") for kind, _, _ in blocks(page))
    ],
    ids=name,
)
def test_what_a_page_shows_works(page, own_world):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for number, (kind, file, text) in enumerate(blocks(page)):
        if kind == "python":
            folder = own_world / f"python{number}"
            folder.mkdir()
            programs = [[sys.executable, "-W", "error", "-c", text]] * 2  # what works once must work again
            if "open_service()" in text:
                programs.insert(0, ["sealflow", "init"])
            for program in programs:
                done = subprocess.run(
                    program, cwd=folder, env=environment, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr
        elif kind == "console":
            for line in text.splitlines():
                assert line.startswith("$ "), line
                done = subprocess.run(
                    ["bash", "-c", line[2:]],
                    cwd=own_world,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        elif kind == "toml":
            path = own_world / f"config{number}.toml"
            path.write_text(text, encoding="utf-8")
            for settings in provider_settings(load_config(path)):
                needs(*NEEDED.get(settings.kind, ()))
                KINDS.get(settings.kind).Options.model_validate(settings.options)
        elif kind == "yaml" and "sealflow:" in text:
            path = own_world / (file or f"example{number}.yaml")
            path.write_text(text, encoding="utf-8")
            Workflow.load(path)


WITH_A_STORE = [
    page
    for page in PAGES
    if any(kind == "console" and "sealflow init" in text for kind, _, text in blocks(page))
]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_A_STORE, ids=name)
def test_what_a_page_shows_works_from_a_folder_inside_the_project(page, own_world):
    """From the line after ``sealflow init`` on; a file of the project's folder is then named ``../FILE``."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    inside = own_world / "inside"
    inside.mkdir()
    folder = own_world
    for kind, file, text in blocks(page):
        if kind == "yaml" and "sealflow:" in text:
            (own_world / (file or "example.yaml")).write_text(text, encoding="utf-8")
        for line in text.splitlines() if kind == "console" else ():
            command = line[2:]
            for item in own_world.iterdir() if folder == inside else ():
                command = re.sub(rf"(?<![\w./-]){re.escape(item.name)}(?![\w.-])", f"../{item.name}", command)
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            folder = inside if "sealflow init" in command else folder
    assert folder == inside
    assert not (inside / ".workflow").exists()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        if page.parent.name != "decisions" and page.name != "index.md":
            assert str(page.relative_to(ROOT / "docs")) in index


def test_every_variable_has_its_line():
    from sealflow import settings

    environment = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    for value in vars(settings).values():
        if isinstance(value, str) and value.startswith("WORKFLOW_SECRETS_"):
            assert f"`{value}`" in environment


def test_no_example_makes_a_key_that_it_does_not_keep():
    for page in PAGES:
        for kind, _, text in blocks(page):
            assert kind != "python" or "MasterKey.generate" not in text, name(page)


def test_the_readme_has_no_relative_links():
    """PyPI shows it without the files that they would lead to."""
    targets = LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert [target for target in targets if "://" not in target] == []


def test_every_file_that_the_readme_names_is_there():
    for file in re.findall(r"`([\w/]+\.md)`", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / file).exists(), file


def test_every_module_that_the_architecture_names_is_there():
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    for module in re.findall(r"`([\w/]+\.py)`", text):
        assert (ROOT / "src" / "sealflow" / module).exists(), module


def test_every_test_that_the_security_model_names_is_there():
    text = (ROOT / "docs" / "explanation" / "security-model.md").read_text(encoding="utf-8")
    for file, test in re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", text):
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in source, test


def test_every_public_name_can_be_imported():
    import sealflow

    for public in sealflow.__all__:
        assert getattr(sealflow, public) is not None
    assert "open_service" in dir(sealflow)
    with pytest.raises(AttributeError):
        sealflow.nonsense  # noqa: B018
