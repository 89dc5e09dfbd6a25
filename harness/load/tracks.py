"""Values with their moments, a million of them in little memory: what every metric is taken from."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter


@dataclass(frozen=True, slots=True)
class Track:
    """Each value with the moment to which it counts, in nanoseconds since 1970, in the order of time."""

    moments_ns: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def between(self, since_ns: float, until_ns: float) -> array[float]:
        """The values of ``since <= moment < until``."""
        begin, end = bisect_left(self.moments_ns, since_ns), bisect_left(self.moments_ns, until_ns)
        return self.values[begin:end]


def track(moments_ns: Sequence[int], values: Sequence[float]) -> Track:
    """Put values in the order of their moments, which stand in the same places."""
    order = sorted(range(len(moments_ns)), key=moments_ns.__getitem__)
    return Track(array("q", map(moments_ns.__getitem__, order)), array("d", map(values.__getitem__, order)))


def track_of(pairs: Iterable[tuple[int, float]]) -> Track:
    """Few enough values to stand in pairs with their moments."""
    ordered = sorted(pairs, key=itemgetter(0))
    return Track(array("q", [moment for moment, _ in ordered]), array("d", [value for _, value in ordered]))
