"""A run to compare with: each metric with the interval in which it may lie by chance alone.

A difference counts only where the whole interval of now lies beyond the factor times the whole interval of then. Two
95 % intervals that do not even touch are far stricter than a test at 5 %, and have to be: values of one run depend on
each other.

Percentiles have the interval of their order statistics, which holds whatever the distribution is (Conover, "Practical
Nonparametric Statistics", 3rd edition, section 3.2); rates that of a Poisson count; ratios that of Wilson (1927).
"""

from __future__ import annotations

import math
from array import array
from statistics import NormalDist

from msgspec import Struct

from harness.load.measurements import Measurements
from harness.load.metrics import METRICS, Metric
from harness.load.percentiles import finite, rank

_Z = NormalDist().inv_cdf(0.975)


class Estimate(Struct, frozen=True, kw_only=True):
    """A value, and where it may lie with 95 % confidence. None is infinite: it never came."""

    value: float | None
    low: float | None
    high: float | None
    count: int


class Baseline(Struct, frozen=True, kw_only=True):
    """What a run leaves to compare others with. It can be read from its ``load.json``, too.

    ``estimates``: by metric, and by endpoint after a blank where there is one: ``http.p99 POST /leads``.
    """

    profile: str
    estimates: dict[str, Estimate] = {}


def key(metric: str, endpoint: str = "") -> str:
    """Under which name an estimate stands in a baseline."""
    return f"{metric} {endpoint}".rstrip()


def estimates(run: Measurements) -> dict[str, Estimate]:
    """Of everything that has an interval and was measured."""
    found: dict[str, Estimate] = {}
    for metric in METRICS.values():
        for endpoint in ("", *run.traffic.by_endpoint) if metric.by_endpoint else ("",):
            made = estimate(metric, run, endpoint)
            if made is not None:
                found[key(metric.name, endpoint)] = made
    return found


def estimate(metric: Metric, run: Measurements, endpoint: str = "") -> Estimate | None:
    """None for what has no interval, or has no values in this run."""
    span = metric.span(run)
    values = metric.values(run, span, endpoint)
    if metric.kind == "exact" or not values:
        return None
    if metric.kind == "percentile":
        return _of_percentile(values, metric.share)
    value, count = metric.reduce(values, span.seconds), len(values)
    if metric.kind == "rate":
        half = _Z * math.sqrt(count) / span.seconds
        return Estimate(value=finite(value), low=finite(max(0.0, value - half)), high=finite(value + half), count=count)
    low, high = _wilson(value, count)
    return Estimate(value=round(value, 6), low=round(low, 6), high=round(high, 6), count=count)


def _of_percentile(values: array[float], share: float) -> Estimate:
    """Between the ranks that the true percentile has 95 times of 100."""
    ordered, count = sorted(values), len(values)
    half = _Z * math.sqrt(count * share * (1 - share))
    low, high = math.floor(count * share - half), math.ceil(count * share + half) + 1
    return Estimate(
        value=finite(ordered[rank(count, share) - 1]), low=finite(ordered[max(1, low) - 1]),
        high=finite(ordered[high - 1]) if high <= count else None, count=count,
    )  # fmt: skip


def _wilson(value: float, count: int) -> tuple[float, float]:
    middle = value + _Z**2 / (2 * count)
    half = _Z * math.sqrt(value * (1 - value) / count + _Z**2 / (4 * count**2))
    whole = 1 + _Z**2 / count
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)
