"""Counts and sums in memory: one process is one service, so this module is the registry."""

from __future__ import annotations

import asyncio
from collections import Counter

from system_under_test.service_kit import logs

_counters: Counter[str] = Counter()
_counts: Counter[str] = Counter()
_sums: dict[str, float] = {}


def count(name: str, by: int = 1) -> None:
    _counters[name] += by


def observe(name: str, value: float) -> None:
    _counts[name] += 1
    _sums[name] = _sums.get(name, 0.0) + value


def write_snapshot() -> None:
    histograms = {name: {"count": _counts[name], "sum": round(_sums[name], 3)} for name in sorted(_sums)}
    logs.line("metrics.snapshot", "ok", counters=dict(sorted(_counters.items())), histograms=histograms)


async def write_snapshots(interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        write_snapshot()
