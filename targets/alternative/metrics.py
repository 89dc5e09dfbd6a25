"""Counters and durations in memory, told to the scraper and to the log under the same names."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict

from targets.alternative import log

_counters: Counter[tuple[str, str]] = Counter()
_durations: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0])


def count(name: str, **labels: str) -> None:
    _counters[name, _written(labels)] += 1


def observe(name: str, duration_ms: float, **labels: str) -> None:
    so_far = _durations[name, _written(labels)]
    so_far[0] += 1
    so_far[1] += duration_ms / 1000


def _written(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""


def exposition() -> str:
    """The text format of Prometheus, version 0.0.4."""
    lines = []
    for name in sorted({name for name, _ in _counters}):
        lines.append(f"# TYPE {name} counter")
        lines += [f"{name}{labels} {value}" for (of, labels), value in _counters.items() if of == name]
    for name in sorted({name for name, _ in _durations}):
        lines.append(f"# TYPE {name} summary")
        for (of, labels), (number, total_s) in _durations.items():
            if of == name:
                lines += [f"{name}_count{labels} {int(number)}", f"{name}_sum{labels} {total_s:.6f}"]
    return "\n".join(lines) + "\n"


def snapshot() -> None:
    counters = {name + labels: value for (name, labels), value in _counters.items()}
    durations = {
        name + labels: {"count": int(number), "sum": round(total_s, 6)}
        for (name, labels), (number, total_s) in _durations.items()
    }
    log.line("metrics.snapshot", "ok", counters=counters, histograms=durations)


async def snapshots(every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        snapshot()
