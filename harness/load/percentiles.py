"""How long things took: exact percentiles of raw samples, and a compact form that can be added up.

Percentiles of several processes cannot be made from percentiles of each: their raw samples have to be put together.
That is why raw samples are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1.0}
NEVER = math.inf
"""How long took what never came."""


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest rank: the smallest of all values that is not exceeded by that share of them. It is one of them.

    Expects values in rising order, at least one.
    """
    return ordered[rank(len(ordered), share) - 1]


def rank(count: int, share: float) -> int:
    """Which of so many values in rising order, from 1, is the percentile."""
    return max(1, math.ceil(round(share * count, 6)))


class Latencies(Struct, frozen=True, kw_only=True):
    """Milliseconds. None: it never came, so there is no such value; with ``count`` 0 there is none at all."""

    count: int = 0
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    max: float | None = None


def latencies(took_ms: Iterable[float]) -> Latencies:
    """All percentiles of some values, of which ``NEVER`` is one for each that never came."""
    ordered = sorted(took_ms)
    if not ordered:
        return Latencies()
    found = {name: finite(percentile(ordered, share)) for name, share in SHARES.items()}
    return msgspec.convert({"count": len(ordered), **found}, Latencies)


def finite(value: float) -> float | None:
    """As a file can hold it: JSON knows no infinity."""
    return round(value, 3) if math.isfinite(value) else None


# --- compact ----------------------------------------------------------------------------------------------------

_BITS = 10
_EXACT = 1 << (_BITS + 1)
RELATIVE_ERROR = 1 / (1 << _BITS)


class Histogram(Struct):
    """Counts of values by bucket, and how many ``never`` came: small however many there are, and it can be added up.

    As in HdrHistogram, buckets are linear within each power of two: microseconds below 2,048 are exact, above that a
    bucket is at most 1/1024 of its values wide. It tells the upper end of a bucket: never less than it was.
    """

    counts: dict[int, int] = {}
    never: int = 0

    def add(self, took_ms: float) -> None:
        """One more value, in milliseconds."""
        if took_ms == NEVER:
            self.never += 1
        else:
            bucket = _bucket_of(max(0, round(took_ms * 1000)))
            self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def merge(self, other: Histogram) -> None:
        """All values of another one, too: the same as if each had been added here."""
        self.never += other.never
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    @property
    def count(self) -> int:
        return sum(self.counts.values()) + self.never

    def percentile(self, share: float) -> float:
        """By nearest rank, in milliseconds, at most ``RELATIVE_ERROR`` above the exact one (beside a microsecond of
        rounding). Expects at least one value."""
        left = rank(self.count, share)
        for bucket in sorted(self.counts):
            left -= self.counts[bucket]
            if left <= 0:
                return _end_of(bucket) / 1000
        return NEVER


def histogram(took_ms: Iterable[float]) -> Histogram:
    """The compact form of some values."""
    made = Histogram()
    for value in took_ms:
        made.add(value)
    return made


def _bucket_of(took_us: int) -> int:
    shift = max(0, took_us.bit_length() - _BITS - 1)
    return (shift << _BITS) + (took_us >> shift)


def _end_of(bucket: int) -> int:
    """The largest number of microseconds that belongs to a bucket."""
    if bucket < _EXACT:
        return bucket
    shift = (bucket >> _BITS) - 1
    return ((bucket - (shift << _BITS) + 1) << shift) - 1
