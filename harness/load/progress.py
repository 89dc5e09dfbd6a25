"""How far a load run has come: what a live view shows of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Some moment of a run. ``rate``: answered in the last second; ``e2e_*``: of the latest flows that have ended.
    What could not be observed lately is None. ``broken``: the faults that are there now."""

    since_s: float
    lasts_s: float
    planned_rate: float
    rate: float
    scheduled: int
    answered: int
    failed: int
    flows: int
    flows_open: int
    e2e_p50_ms: float | None
    e2e_p99_ms: float | None
    depth: int | None
    unsent: int | None
    oldest_unsent_s: float | None
    dead_letters: int | None
    broken: tuple[str, ...] = ()
