"""The fixtures for users' tests, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

WORKFLOW = """
sealflow: 1
name: w
nodes:
  size: {type: function, config: {call: "mine:size", token: "{{secrets.github.token}}"}}
"""

TESTS = """
import sealflow

def test_a_run(sealflow_store, sealflow_run):
    sealflow_store.create_secret("github", "bearer_token", {"token": "a-test-token"})
    execution = sealflow_run("w.yaml")
    assert execution.nodes["size"].outputs["output"] == 12

def test_each_test_has_a_store_of_its_own(sealflow_store):
    assert sealflow_store.list_secrets() == []

def test_open_service_leads_to_it(sealflow_store):
    with sealflow.open_service() as service:
        assert service.store_id == sealflow_store.store_id

def test_a_document(sealflow_run):
    nodes = {"t": {"type": "transform", "config": {"expression": "a"}}}
    assert sealflow_run({"sealflow": 1, "name": "d", "nodes": nodes}, {"a": 5}).nodes["t"].outputs["output"] == 5
"""


def run_pytest(folder, *options):
    plugins = ["-p", "no:cacheprovider", "-p", "sealflow.pytest_plugin"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *options],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.value_files("test_mine.py")
def test_the_fixtures_give_a_store_and_run_workflows(own_world):
    (own_world / "w.yaml").write_text(WORKFLOW)
    (own_world / "mine.py").write_text("def size(token): return len(token)\n")
    (own_world / "test_mine.py").write_text(TESTS)
    done = run_pytest(own_world)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_imports_nothing_heavy_until_a_test_asks(own_world):
    (own_world / "test_mine.py").write_text(
        "import sys\n"
        "def test_light():\n"
        "    heavy = {'aiohttp', 'pydantic', 'cryptography', 'sealflow.errors'} & set(sys.modules)\n"
        "    assert heavy == set()\n"
    )
    done = run_pytest(own_world)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_pytest_finds_the_plugin_by_its_entry_point():
    from importlib.metadata import distribution

    points = distribution("sealflow").entry_points.select(group="pytest11")
    assert [point.value for point in points] == ["sealflow.pytest_plugin"]
