"""A machine that others fill: what is slow there says nothing about the system."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean

from harness.load.measurements import Observed
from harness.load.metrics import Span

_FULL, _CROWDED = 0.9, 0.25
"""Of all cores: what was busy, and what others used."""
_GAP_NS, _SHORTEST_NS = 2_000_000_000, 2_000_000_000
"""Two looks that are no further apart belong to one stretch; what is shorter is a moment that nobody feels."""


def others_share(seen: Observed, span: Span) -> float | None:
    """What others used of all cores in that time, if these were busy, and not with what was to be measured."""
    busy, others = (
        fmean(track.between(span.since_ns, span.until_ns) or [0.0]) for track in (seen.machine_cpu, seen.others)
    )
    return others if busy >= _FULL and others >= _CROWDED else None


def crowded(seen: Observed) -> list[Span]:
    """When others filled the machine, from the first look that shows it until after the last."""
    looks = [
        Span(before, at)
        for before, at in pairwise(seen.others.moments_ns)
        if others_share(seen, Span(at, at + 1)) is not None
    ]
    stretches: list[Span] = []
    for look in looks:
        if stretches and look.since_ns - stretches[-1].until_ns <= _GAP_NS:
            stretches[-1] = Span(stretches[-1].since_ns, look.until_ns)
        else:
            stretches.append(look)
    return [stretch for stretch in stretches if stretch.until_ns - stretch.since_ns >= _SHORTEST_NS]
