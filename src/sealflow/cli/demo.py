"""``sealflow demo``: the main job, for real, and a search that shows that no value is left anywhere."""

from __future__ import annotations

import asyncio
import base64
import hmac
import io
import json
import logging
import secrets
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealflow.cli.terminal import echo

if TYPE_CHECKING:
    from aiohttp import web

    from sealflow.service.secret_service import SecretService
    from sealflow.workflow.execution import Execution

_EXAMPLE_HOST = "127.0.0.1:8765"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Random values, made for this one run."""

    password: str
    token: str
    key: str

    @classmethod
    def random(cls) -> Credentials:
        return cls(*(secrets.token_urlsafe(24) for _ in range(3)))


class Transcript(io.StringIO):
    """Keeps what the demo prints, so that it can be searched like everything else."""

    def say(self, text: str = "") -> None:
        echo(text)
        self.write(text + "\n")


@click.command()
def demo() -> None:
    """Make a store, use three secrets in a workflow, and show that their values are left nowhere."""
    credentials, out = Credentials.random(), Transcript()
    with tempfile.TemporaryDirectory(prefix="sealflow-demo-") as folder:
        found, execution = _demonstrate(Path(folder), credentials, out)
    passed = not found and execution.status == "completed"
    echo()
    if passed:
        echo("Do the same with your own API:")
        echo("  sealflow init")
        echo("  sealflow secret create github --type bearer_token")
        echo("  sealflow run my-workflow.yaml      # in it: {{secrets.github.token}}")
    click.get_current_context().exit(0 if passed else 1)


def _demonstrate(folder: Path, credentials: Credentials, out: Transcript) -> tuple[list[str], Execution]:
    from sealflow.crypto.master_key import MasterKey
    from sealflow.service.open_service import open_service

    log_file = folder / "demo.log"
    with _logging_to(log_file), open_service(folder / "store", None, MasterKey.generate()) as service:
        out.say(f"1. A store: {service.backend}, encrypted with AES-256-GCM, in a temporary directory")
        _create(service, credentials)
        out.say("2. Three secrets in it:")
        for info in service.list_secrets():
            out.say(
                f"     {info.name:14} {info.type:14} may go to {', '.join(info.metadata.allowed_hosts or ())}"
            )
        workflow_text = files("sealflow").joinpath("examples", "demo.yaml").read_text(encoding="utf-8")
        execution = asyncio.run(_run(folder / "workflow.yaml", workflow_text, service, credentials))
        out.say("3. The workflow examples/demo.yaml, against a server that checks every credential:")
        for name, run in execution.nodes.items():
            output = run.outputs.get("output", run.error)
            shown = output["body"] if isinstance(output, dict) and "body" in output else output
            out.say(f"     {name:10} {run.state:10} {json.dumps(shown)}")
        (folder / "execution.json").write_text(execution.to_json(), encoding="utf-8")
    made = sorted(path for path in folder.rglob("*") if path.is_file())
    found = _search(made, out.getvalue(), credentials)
    size = sum(path.stat().st_size for path in made)
    out.say(
        f"4. Searched {len(made)} files ({size:,} bytes: store, workflow, saved run, debug log) and this output for the values,"
    )
    out.say(f"   raw and encoded: {'FOUND in ' + ', '.join(found) if found else 'none found'}")
    return found, execution


def _create(service: SecretService, credentials: Credentials) -> None:
    host = ["127.0.0.1"]
    account = {"username": "demo-user", "password": credentials.password}
    service.create_secret("demo_account", "basic_auth", account, allowed_hosts=host)
    service.create_secret("demo_reports", "bearer_token", {"token": credentials.token}, allowed_hosts=host)
    service.create_secret("demo_search", "api_key", {"value": credentials.key}, allowed_hosts=host)


async def _run(file: Path, text: str, service: SecretService, credentials: Credentials) -> Execution:
    from aiohttp import web

    from sealflow.workflow.engine import run_workflow
    from sealflow.workflow.workflow import Workflow

    runner = web.AppRunner(_server(credentials), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        file.write_text(text.replace(_EXAMPLE_HOST, f"{host}:{port}"), encoding="utf-8")  # noqa: ASYNC240 - nothing else waits
        return await run_workflow(Workflow.load(file), service=service)
    finally:
        await runner.cleanup()


def _server(credentials: Credentials) -> web.Application:
    """Return a server that demands another credential on each of three paths."""
    from aiohttp import web

    pair = base64.b64encode(f"demo-user:{credentials.password}".encode()).decode()
    demanded = {
        "/basic": ("Authorization", f"Basic {pair}", "hello demo-user"),
        "/bearer": ("Authorization", f"Bearer {credentials.token}", "three reports"),
        "/key": ("X-API-Key", credentials.key, "no results"),
    }

    async def answer(request: web.Request) -> web.Response:
        header, wanted, message = demanded[request.path]
        if not hmac.compare_digest(request.headers.get(header, "").encode(), wanted.encode()):
            return web.json_response({"message": "wrong credential"}, status=401)
        # It sends back what it got, as careless servers do.
        return web.json_response({"message": message, "you_sent": request.headers[header]})

    app = web.Application()
    for path in demanded:
        app.router.add_get(path, answer)
    return app


def _search(paths: list[Path], printed: str, credentials: Credentials) -> list[str]:
    """Return the files that hold a value, in any of the encodings that the redactor knows."""
    from sealflow.resolver.redactor import Redactor

    redactor = Redactor()
    redactor.add([credentials.password, credentials.token, credentials.key])
    found = [path.name for path in paths if redactor.holds(path.read_bytes().decode("latin-1"))]
    return [*found, *(["the output"] if redactor.holds(printed) else [])]


class _logging_to:  # noqa: N801 - used as a context manager
    """Log everything at DEBUG to a file while it is entered."""

    def __init__(self, path: Path) -> None:
        self._handler = logging.FileHandler(path)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._level = logging.getLogger().level

    def __enter__(self) -> None:
        logging.getLogger().addHandler(self._handler)
        logging.getLogger().setLevel(logging.DEBUG)

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self._handler)
        logging.getLogger().setLevel(self._level)
        self._handler.close()
