"""What a gate can ask for: each metric is a track of values and what is made of those in a stretch of time."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from harness.load.flows import STAGES, Stage
from harness.load.measurements import Measurements
from harness.load.percentiles import NEVER, SHARES, percentile
from harness.load.requests import Requests
from harness.load.slope import slope
from harness.load.tracks import Track

Dimension = Literal["time", "share", "rate", "count", "MB/h"]
"""Values are milliseconds, shares of 1, numbers a second, numbers, and megabytes an hour."""
UNITS: dict[Dimension, dict[str, float]] = {
    "time": {"ms": 1.0, "s": 1000.0, "min": 60_000.0},
    "share": {"%": 0.01, "": 1.0},
    "rate": {"/s": 1.0, "/min": 1 / 60},
    "count": {"": 1.0},
    "MB/h": {"MB/h": 1.0},
}
"""How a value may be written in a gate, and what it has to be multiplied by."""


def written(value: float, dimension: Dimension) -> str:
    """A value as people write it: ``281 ms``, ``1.42 s``, ``99.8%``, ``120 /s``."""
    if not math.isfinite(value):
        return "without end" if dimension == "time" else "infinite"
    if dimension == "time":
        return f"{_digits(value / 1000)} s" if value >= 999.5 else f"{_digits(round(value, 3))} ms"
    if dimension == "share":
        return f"{value * 100:.4g}%"
    return _digits(value) + {"rate": " /s", "MB/h": " MB/h"}.get(dimension, "")


def _digits(value: float) -> str:
    """Three that count, and those before the point in any case."""
    return f"{value:,.0f}" if abs(value) >= 99.5 else f"{value:.3g}"


Scope = Literal["measured", "rest", "whole"]
"""``measured``: from the end of the warm-up to the end of the schedule. ``rest``: from there until all had come to
rest. ``whole``: from the beginning until then, for a lost deal is lost in the warm-up, too."""


@dataclass(frozen=True, slots=True)
class Span:
    """``since <= moment < until``, in nanoseconds since 1970."""

    since_ns: int
    until_ns: int

    @property
    def seconds(self) -> float:
        return (self.until_ns - self.since_ns) / 1e9


SECOND_NS = 1_000_000_000


def windows(span: Span, window_ns: int = SECOND_NS) -> Iterator[Span]:
    """A stretch of time cut into equal parts; the last one may be shorter."""
    for since_ns in range(span.since_ns, span.until_ns, window_ns):
        yield Span(since_ns, min(span.until_ns, since_ns + window_ns))


@dataclass(frozen=True, slots=True)
class Metric:
    """``of``: what the values are, for one endpoint where it is named. ``reduce``: what is made of some of them, within
    so many seconds. ``share``: of a percentile, which.

    ``late_explains``: a generator that is late makes it worse, or leaves out what would have been. ``once``: it has one
    value for the whole run, so it has no course. ``kind``: how sure it is, see ``harness.load.baseline``.
    """

    name: str
    of: Callable[[Measurements, str], Track]
    reduce: Callable[[array[float], float], float]
    dimension: Dimension
    scope: Scope
    kind: Literal["percentile", "rate", "ratio", "exact"] = "exact"
    share: float = 1.0
    late_explains: bool = True
    once: bool = False
    by_endpoint: bool = False

    def span(self, run: Measurements) -> Span:
        since_ns = run.plan.began_ns if self.scope == "whole" else run.warm_ns
        return Span(since_ns, run.scheduled_until_ns if self.scope == "measured" else run.over_ns)

    def values(self, run: Measurements, span: Span, endpoint: str = "") -> array[float]:
        return self.of(run, endpoint).between(span.since_ns, span.until_ns)

    def value(self, run: Measurements, span: Span, endpoint: str = "") -> float | None:
        """None where there is nothing to tell of; where nobody was answered, the rate is 0."""
        values = self.values(run, span, endpoint)
        return self.reduce(values, span.seconds) if values or self.kind == "rate" else None

    @property
    def fewest(self) -> int:
        """With fewer values a percentile is nothing but the largest of them."""
        return 1 if self.kind != "percentile" else max(10, round(1 / (1 - self.share)))


def _requests(run: Measurements, endpoint: str) -> Requests:
    return run.traffic.by_endpoint[endpoint] if endpoint else run.traffic.all


def _quantile(share: float, values: Sequence[float], _seconds: float) -> float:
    return percentile(sorted(values), share)


def _mean(values: Sequence[float], _seconds: float) -> float:
    return math.fsum(values) / len(values)


def _missing(values: Sequence[float], _seconds: float) -> float:
    return 1 - _mean(values, _seconds)


def _sum(values: Sequence[float], _seconds: float) -> float:
    return math.fsum(values)


def _a_second(values: Sequence[float], seconds: float) -> float:
    return math.fsum(values) / seconds if seconds else 0.0


def _largest(values: Sequence[float], _seconds: float) -> float:
    return max(values)


def _family(name: str, of: Callable[[Measurements, str], Track], *, by_endpoint: bool = False) -> list[Metric]:
    """The percentiles of some times. The largest has no interval: one more run may always have a larger one."""
    return [
        Metric(
            f"{name}.{which}", of, partial(_quantile, share), "time", "measured",
            kind="exact" if which == "max" else "percentile", share=share, by_endpoint=by_endpoint,
        )
        for which, share in SHARES.items()
    ]  # fmt: skip


def _wait(stage: Stage, run: Measurements, _endpoint: str) -> Track:
    return run.flows.waits_ms[stage]


def _drain(run: Measurements, _endpoint: str) -> Track:
    took_ms = NEVER if run.drain_s is None else run.drain_s * 1000
    return Track(array("q", [run.over_ns - 1]), array("d", [took_ms]))


def _oldest_ms(run: Measurements, _endpoint: str) -> Track:
    seen = run.observed.oldest_unsent_s
    return Track(seen.moments_ns, array("d", (age * 1000 for age in seen.values)))


def _steepest(run: Measurements, _endpoint: str) -> Track:
    """The service whose memory grows most, 0 where none does. Servers fill their caches, as they should."""
    found = [slope(track, run.warm_ns) for name, track in run.observed.rss_bytes.items() if name in run.services]
    told = [0.0 if one.flat else one.mb_per_hour for one in found if one is not None]
    return Track(array("q", [run.over_ns - 1] * bool(told)), array("d", [max(told)] if told else []))


_ALL = [
    *_family("http", lambda run, endpoint: _requests(run, endpoint).took_ms, by_endpoint=True),
    Metric("http.rate", lambda run, endpoint: _requests(run, endpoint).meant_at_end, _a_second, "rate", "measured",
           kind="rate", by_endpoint=True),
    Metric("http.error_ratio", lambda run, endpoint: _requests(run, endpoint).failed, _mean, "share", "measured",
           kind="ratio", by_endpoint=True),
    *_family("e2e", lambda run, _: run.flows.took_ms),
    Metric("e2e.rate", lambda run, _: run.flows.done_at_end, _a_second, "rate", "measured", kind="rate"),
    Metric("e2e.error_ratio", lambda run, _: run.flows.finished, _missing, "share", "measured", kind="ratio",
           late_explains=False),
    Metric("completeness", lambda run, _: run.flows.finished, _mean, "share", "whole", kind="ratio",
           late_explains=False),
    Metric("duplicate_deals", lambda run, _: run.flows.excess_deals, _sum, "count", "whole", late_explains=False),
    Metric("drain", _drain, _largest, "time", "rest", once=True),
    Metric("outbox.age.max", _oldest_ms, _largest, "time", "rest"),
    Metric("queue.depth.max", lambda run, _: run.observed.depth, _largest, "count", "rest"),
    Metric("dead_letters", lambda run, _: run.observed.dead_letters, _largest, "count", "whole", late_explains=False),
    *_family("generator.lateness", lambda run, _: run.traffic.all.late_ms),
    *(metric for stage in STAGES for metric in _family(f"wait.{stage}", partial(_wait, stage))),
    Metric("memory.slope", _steepest, _largest, "MB/h", "rest", once=True, late_explains=False),
]  # fmt: skip
METRICS = {metric.name: metric for metric in _ALL}
