"""A secret through sealflow against the bare SDK, cold and cached, in the same run: needs the development requirements.

Run: ``python benchmarks/providers.py``. Starts a real OpenBao and moto's server on loopback. Prints, for hvac and boto3,
how many times the bare call's time a cold resolve takes, and how many times faster a cached one is.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import boto3
import hvac

import sealflow
from real_servers import Moto, OpenBao
from sealflow.providers.kinds import make_provider
from sealflow.providers.options import ProviderSettings
from sealflow.resolver.provider_source import ProviderSource

ROUNDS = 101


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


async def compare(name: str, settings: ProviderSettings, bare: Callable[[], object]) -> None:
    cold_source = ProviderSource(make_provider(settings, None, name), settings.model_copy(update={"ttl": 0}))
    warm_source = ProviderSource(
        make_provider(settings, None, name), settings.model_copy(update={"ttl": 3600})
    )

    async def bare_call() -> None:
        bare()

    async with sealflow.Resolver(None, [cold_source]) as cold, sealflow.Resolver(None, [warm_source]) as warm:
        for resolver in (cold, warm):
            await resolver.resolve("bench", "value")
        cold_ratios, warm_ratios = [], []
        for _ in range(ROUNDS):
            base = await seconds(bare_call)
            cold_ratios.append(await seconds(lambda: cold.resolve("bench", "value")) / base)
            warm_ratios.append(base / await seconds(lambda: warm.resolve("bench", "value")))
    print(
        f"{name}: cold {statistics.median(cold_ratios):.2f} times the bare call, cached {statistics.median(warm_ratios):.0f} times faster (at least 50)"
    )


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as two,
        OpenBao(Path(one)) as bao,
        Moto(Path(two)) as moto,
    ):
        bao.put("bench", {"value": "v" * 40})
        os.environ |= {
            "BENCH_TOKEN": bao.client.token,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }
        client = hvac.Client(bao.url, token=bao.client.token)
        vault = ProviderSettings(
            name="vault",
            kind="vault",
            address=bao.url,
            login={"method": "token", "token": {"env": "BENCH_TOKEN"}},
        )
        asyncio.run(
            compare(
                "hvac",
                vault,
                lambda: client.secrets.kv.v2.read_secret_version("bench", raise_on_deleted_version=True),
            )
        )
        manager = boto3.client("secretsmanager", region_name="eu-west-1", endpoint_url=moto.url)
        manager.create_secret(Name="bench", SecretString=json.dumps({"value": "v" * 40}))
        aws = ProviderSettings(name="aws", kind="aws", region="eu-west-1", endpoint=moto.url)
        asyncio.run(compare("boto3", aws, lambda: manager.get_secret_value(SecretId="bench")))


if __name__ == "__main__":
    main()
