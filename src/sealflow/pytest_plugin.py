"""Fixtures for the tests of workflows: ``sealflow_store`` and ``sealflow_run``. pytest finds them by itself.

Importing ``sealflow`` brings none of its parts: they come when a test asks for a fixture. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import sealflow

if TYPE_CHECKING:
    from sealflow import Execution, SecretService, Workflow

    Run = Callable[..., Execution]


@pytest.fixture
def sealflow_store(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SecretService]:
    """Give an empty store of its own to a test, with a key of its own: the secrets of this machine are out of reach.

    The environment leads to it too, so that ``sealflow.open_service()`` and the command line in the test use it.
    """
    for name in [*os.environ]:
        if name.startswith(("WORKFLOW_SECRETS_", "SEALFLOW_")):
            monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("sealflow", numbered=True)
    monkeypatch.setenv("WORKFLOW_SECRETS_STORAGE_PATH", str(folder / "store"))
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", secrets.token_hex(32))
    with sealflow.open_service() as service:
        yield service


@pytest.fixture
def sealflow_run(sealflow_store: SecretService) -> Run:
    """Return a function that runs a workflow with the secrets of ``sealflow_store`` and returns its Execution.

    It takes a workflow file, a document or a Workflow, the input, and the options of ``sealflow.run_workflow``. It may
    do all that its files say, as ``Workflow.load`` does. From a test that is a coroutine, call it by ``asyncio.to_thread``.
    """

    def run(
        workflow: str | os.PathLike[str] | Mapping[str, Any] | Workflow, inputs: Any = None, **options: Any
    ) -> Execution:
        import asyncio

        if isinstance(workflow, Mapping):
            workflow = sealflow.Workflow.from_dict(workflow, folder=Path.cwd())
        elif not isinstance(workflow, sealflow.Workflow):
            workflow = sealflow.Workflow.load(workflow)
        return asyncio.run(sealflow.run_workflow(workflow, inputs, service=sealflow_store, **options))

    return run
