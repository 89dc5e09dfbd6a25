"""The charts of a load run: throughput, latencies, what waited, and what it took."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from harness.load.metrics import written
from harness.load.result import LoadResult
from harness.load.series import Quantiles, Window
from reports.line_chart import Band, Chart, Line, svg

_MOST_PROCESSES = 6
_Value = Callable[[Window], float | None]


def charts_of(result: LoadResult, *, styled: bool = True) -> dict[str, str]:
    """Each chart by its name, as SVG. Without ``styled`` the page has to hold ``reports.line_chart.STYLE``, once."""
    windows, every_s = result.series, result.window_s

    def rate(count: Callable[[Window], int]) -> _Value:
        return lambda window: count(window) / every_s

    lines: dict[str, tuple[str, Sequence[Line], Callable[[float], str]]] = {
        "throughput": (
            "Throughput: requests a second",
            [
                _line("offered", windows, rate(lambda window: window.arrivals)),
                _line("answered as meant", windows, rate(lambda window: window.answered)),
                _line("failed", windows, rate(lambda window: window.failed)),
            ],
            _plain,
        ),
        "http": ("Latency of requests", _quantiles(windows, lambda window: window.http), _time),
        "e2e": ("PATCH → deal, end to end", _quantiles(windows, lambda window: window.e2e), _time),
        "depth": ("Messages waiting in queues", [_line("messages", windows, lambda one: one.depth)], _plain),
        "outbox": (
            "Age of the oldest row in the outbox",
            [_line("age", windows, lambda one: None if one.oldest_unsent_s is None else one.oldest_unsent_s * 1000)],
            _time,
        ),
        "cpu": ("CPU: cores in use", list(_by_process(windows, lambda window: window.cpu_cores)), _plain),
        "memory": ("Memory: resident", list(_by_process(windows, lambda window: window.rss_mb)), _megabytes),
    }
    moments = [window.at_s for window in windows]
    bands = [Band(f"{fault.kind} on {fault.place}", fault.since_s, fault.until_s) for fault in result.faults]
    return {
        name: svg(Chart(title, moments, drawn, written, bands, result.plan.warm_up_s), styled=styled)
        for name, (title, drawn, written) in lines.items()
        if any(value is not None for line in drawn for value in line.values)
    }


def _line(name: str, windows: Sequence[Window], value: _Value) -> Line:
    return Line(name, [value(window) for window in windows])


def _quantiles(windows: Sequence[Window], of: Callable[[Window], Quantiles | None]) -> list[Line]:
    """Where there were any, and one of them is told as None, it never came."""

    def value(window: Window, name: str) -> float | None:
        found = of(window)
        told: float | None = getattr(found, name) if found is not None else None
        return math.inf if found is not None and told is None else told

    return [Line(name, [value(window, name) for window in windows]) for name in ("p50", "p95", "p99")]


def _by_process(windows: Sequence[Window], of: Callable[[Window], dict[str, float]]) -> Iterator[Line]:
    """Those that ever took most, by their names: so each looks the same in all charts that show the same ones."""
    names = {name for window in windows for name in of(window)}
    most = {name: max(of(window).get(name, 0.0) for window in windows) for name in names}
    for name in sorted(sorted(names, key=lambda name: -most[name])[:_MOST_PROCESSES]):
        yield Line(name, [of(window).get(name) for window in windows])


def _plain(value: float) -> str:
    return written(value, "count")


def _time(took_ms: float) -> str:
    return written(took_ms, "time")


def _megabytes(size_mb: float) -> str:
    return f"{written(size_mb, 'count')} MB"
