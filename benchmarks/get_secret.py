"""One ``get_secret`` against its floor: a bare SELECT, one AES-GCM decryption, one json.loads, in the same run.

Run: ``python benchmarks/get_secret.py``. Prints the ratio of the rates (1 would be no overhead at all) and the
cost of a cold config of 100 references against 100 floors.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import sealflow
from sealflow.crypto.master_key import MasterKey

COUNT = 100
ROUNDS = 41


def rate_of(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def floor(database: Path) -> Callable[[], None]:
    key, nonce, aad = AESGCM.generate_key(256), os.urandom(12), b"a" * 200
    blob = AESGCM(key).encrypt(nonce, json.dumps({"value": "v" * 40}).encode().ljust(64), aad)
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE bare (name TEXT PRIMARY KEY, record BLOB)")
    connection.executemany("INSERT INTO bare VALUES (?, ?)", [(f"key{i}", blob) for i in range(COUNT)])

    def once() -> None:
        for i in range(COUNT):
            row = connection.execute("SELECT record FROM bare WHERE name = ?", (f"key{i}",)).fetchone()
            json.loads(AESGCM(key).decrypt(nonce, row[0], aad))

    return once


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bare = floor(Path(folder) / "bare.db")
        with sealflow.open_service(Path(folder) / "store", "sqlite", MasterKey.generate()) as service:
            for i in range(COUNT):
                service.create_secret(f"key{i}", "api_key", {"value": "v" * 40})

            def ours() -> None:
                for i in range(COUNT):
                    service.get_secret(f"key{i}")

            config = {
                "items": [{"n": i, "token": "Bearer {{secrets.key%d.value}}" % i} for i in range(COUNT)]
            }

            async def resolve() -> float:
                async with sealflow.Resolver(service) as resolver:
                    start = time.perf_counter()
                    await resolver.resolve_config(config)
                    return time.perf_counter() - start

            gets, resolves = [], []
            with asyncio.Runner() as runner:
                for _ in range(ROUNDS):
                    base = rate_of(bare)
                    gets.append(base / rate_of(ours))
                    resolves.append(runner.run(resolve()) / base)
    print(f"get_secret: {statistics.median(gets):.2f} of the floor's rate (at least 0.35)")
    print(f"cold config of {COUNT} references: {statistics.median(resolves):.2f} floors (at most 3)")


if __name__ == "__main__":
    main()
