"""Masking a log of 1,000 known values, against a sorted ``re`` alternation of the same forms, in the same run.

Run: ``python benchmarks/redactor.py``. The alternation (longest first, as a careful author writes it) gets a part of the
text, as all of it would take minutes; the rates are per byte.
"""

from __future__ import annotations

import random
import re
import statistics
import string
import time

from sealflow.resolver.encodings import forms
from sealflow.resolver.redactor import Redactor

VALUES = 1_000
MIB = 1 << 20
ROUNDS = 7
PART = MIB // 64


def log_lines(chance: random.Random, values: list[str], size: int) -> str:
    """Text like a log, with a value in one line of a hundred."""
    words = ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 11))) for _ in range(2_000)]
    lines, length = [], 0
    while length < size:
        line = " ".join(chance.choices(words, k=12))
        if chance.random() < 0.01:
            line += f" token={chance.choice(values)}"
        lines.append(f"2026-11-24 12:00:00 INFO {line}")
        length += len(lines[-1]) + 1
    return "\n".join(lines)


def main() -> None:
    chance = random.Random(1)
    alphabet = string.ascii_letters + string.digits + "+/-_"
    values = ["".join(chance.choices(alphabet, k=40)) for _ in range(VALUES)]
    text = log_lines(chance, values, 4 * MIB)
    redactor = Redactor()
    redactor.add(values)
    start = time.process_time()
    redactor.clean("")
    built = time.process_time() - start
    known = sorted({form for value in values for form in forms(value)}, key=len, reverse=True)
    alternation = re.compile("|".join(map(re.escape, known)))
    ratios, rates = [], []
    for _ in range(ROUNDS):
        start = time.process_time()
        cleaned = redactor.clean(text)
        ours = len(text) / (time.process_time() - start)
        start = time.process_time()
        expected = alternation.sub("***", text[:PART])
        theirs = PART / (time.process_time() - start)
        assert cleaned[: len(expected) - 100] == expected[:-100]
        rates.append(ours)
        ratios.append(ours / theirs)
    print(
        f"redaction at {VALUES} values ({len(known)} forms): {statistics.median(rates) / 1e6:.0f} MB/s (at least 50)"
    )
    print(f"against a sorted re alternation: {statistics.median(ratios):.0f} times its rate (at least 40)")
    print(f"learning {VALUES} values: {built * 1000:.0f} ms")


if __name__ == "__main__":
    main()
