from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

pytest.register_assert_rewrite(
    "sealflow.testing.store_contract", "sealflow.testing.provider_contract", "servers"
)
sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["canary"]

import sealflow
from real_servers import Moto, OpenBao
from sealflow.crypto.master_key import MasterKey
from sealflow.logs import withheld_sdk_logs
from servers import HttpServer

if TYPE_CHECKING:
    from canary import Canary


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests of the outside servers as slow: OpenBao and moto take seconds to start."""
    for item in items:
        if {"bao", "own_bao", "moto"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


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
    # Tests about other things work in folders that their owner trusts; test_trust takes this away.
    monkeypatch.setenv("SEALFLOW_TRUSTED_FOLDERS", str(tmp_path))
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
    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], canary: Canary
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self._canary = canary

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
        if not {"--reveal", "--recovery"} & set(arguments) and arguments[:2] != ("key", "generate"):
            self._canary.saw(f"what sealflow {' '.join(arguments[:2])} printed", out + err)
        return Result(code, out, err)


@pytest.fixture
def one_secret(cli: Cli, store_key: MasterKey) -> str:
    """A store made by the command line, with the secret ``a``; its value."""
    value = "value-one-of-a"
    create = ("secret", "create", "a", "--init", "--type", "api_key", "--from-json", "-")
    assert cli(*create, stdin=json.dumps({"value": value})).code == 0
    return value


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], canary: Canary) -> Cli:
    return Cli(monkeypatch, capsys, canary)


@pytest.fixture
def store_key(monkeypatch: pytest.MonkeyPatch, key: MasterKey) -> MasterKey:
    """A master key in the environment, for the command line."""
    monkeypatch.setenv("WORKFLOW_SECRETS_MASTER_KEY", key.to_text())
    return key


VAULT_VALUE = "hunter2-from-vault"
VAULT_READER = (
    'path "secret/data/apps/*" { capabilities = ["read"] }\npath "kv1/apps/*" { capabilities = ["read"] }'
)
AWS_VALUE = "hunter2-from-aws"


@pytest.fixture(scope="session")
def bao(tmp_path_factory):
    with OpenBao(tmp_path_factory.mktemp("bao")) as running:
        with withheld_sdk_logs():
            _fill_bao(running)
        yield running


def _fill_bao(running: OpenBao) -> None:
    running.policy("reader", VAULT_READER)
    running.put("apps/github", {"token": VAULT_VALUE, "deep": {"er": [1, {"x": True}]}})
    running.put("apps/team/app", {"value": "nested-path"})
    running.put("other/hidden", {"value": "hidden"})
    running.client.secrets.kv.v1.create_or_update_secret(
        "apps/github", {"token": "from-v1"}, mount_point="kv1"
    )


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    with Moto(tmp_path_factory.mktemp("moto")) as running:
        with withheld_sdk_logs():
            _fill_moto(running)
        yield running


def _fill_moto(running: Moto) -> None:
    import boto3

    running.client = boto3.client(
        "secretsmanager",
        region_name="eu-west-1",
        endpoint_url=running.url,
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    for name, text in {
        "github": json.dumps({"token": AWS_VALUE, "deep": {"er": [1, True]}}),
        "text": "just text",
        "list": "[1]",
        "empty": "{}",
        "prod/db": json.dumps({"p": "prod-db"}),
    }.items():
        running.client.create_secret(Name=name, SecretString=text)
    running.client.create_secret(Name="binary", SecretBinary=b"\x00\xff")
