from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.register_assert_rewrite(
    "sealflow.testing.store_contract", "sealflow.testing.provider_contract", "servers"
)
sys.path.insert(0, str(Path(__file__).parent))

import sealflow
from sealflow.crypto.master_key import MasterKey
from servers import HttpServer


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has a directory, a config directory and an environment of its own."""
    for name in list(os.environ):
        if (
            name.startswith(("WORKFLOW_SECRETS_", "SEALFLOW_", "AWS_", "VAULT_", "BAO_"))
            and name != "SEALFLOW_TORTURE"
        ):
            monkeypatch.delenv(name)
    work = tmp_path / "work"
    work.mkdir(mode=0o700)
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return work


@pytest.fixture
def key() -> MasterKey:
    return MasterKey.generate()


@pytest.fixture(params=["sqlite", "file"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def service(tmp_path: Path, key: MasterKey) -> Iterator[sealflow.SecretService]:
    with sealflow.open_service(tmp_path / "service", "sqlite", key) as opened:
        yield opened


@pytest.fixture
def any_service(tmp_path: Path, key: MasterKey, backend: str) -> Iterator[sealflow.SecretService]:
    with sealflow.open_service(tmp_path / "service", backend, key) as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as running:
        yield running


@pytest.fixture
def second_server() -> Iterator[HttpServer]:
    with HttpServer() as running:
        yield running


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Cli:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, stdin: str | bytes = b"") -> Result:
        from sealflow.cli.main import run

        content = stdin.encode() if isinstance(stdin, str) else stdin
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
            patch.setattr(sys, "path", list(sys.path))
            self._capsys.readouterr()
            code = run(arguments)
        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err
        return Result(code, out, err)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(monkeypatch, capsys)


@pytest.fixture
def store_key(monkeypatch: pytest.MonkeyPatch, key: MasterKey) -> MasterKey:
    """A master key in the environment, for the command line."""
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    return key
