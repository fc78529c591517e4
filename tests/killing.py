"""Real processes killed with SIGKILL at points that no clock decides: after so many calls of built-in functions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CHILD = """
import os, signal, sys
from sealflow.cli.main import run
import sealflow.service.open_service, sealflow.operations.keys, sealflow.operations.backup, sealflow.operations.migrate, sealflow.operations.restore
import sealflow.stores.sqlite, sealflow.stores.file, sealflow.model.types

at, count = int(sys.argv[1]), 0

def counted(frame, event, argument):
    global count
    if event == "c_call":
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.setprofile(counted)
code = run(sys.argv[2:])
sys.setprofile(None)
print(f"calls={count}")
sys.exit(code)
"""


def without_coverage() -> dict[str, str]:
    """Return an environment in which coverage does not slow the process down, nor add its own calls."""
    return {**os.environ, "COVERAGE_PROCESS_CONFIG": ""}


def _run(at: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(at), *arguments],
        capture_output=True,
        text=True,
        env=without_coverage(),
        timeout=100,
        check=False,
    )


def calls_of(*arguments: str) -> int:
    """How many calls a command makes when nobody kills it."""
    done = _run(0, *arguments)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.rsplit("calls=", 1)[1])


def killed_at(at: int, *arguments: str) -> bool:
    """Run a command and kill it at a call; False when it ended before."""
    done = _run(at, *arguments)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def points(total: int, number: int) -> Iterator[int]:
    """Yield calls spread over all of a command, more of them towards its end, where things go live."""
    for index in range(number):
        yield max(1, round(total * (index + 1) ** 0.5 / (number + 1) ** 0.5))


def strays(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if ".tmp-" in path.name]
