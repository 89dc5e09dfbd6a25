"""What a load run comes to: ``RUN/load/load.json``."""

from __future__ import annotations

from msgspec import Struct

from harness.load.baseline import Estimate
from harness.load.gates import GateResult, Status
from harness.load.knee import Knee, Saturated
from harness.load.percentiles import Histogram, Latencies
from harness.load.records import LoadPlan
from harness.load.series import FaultWindow, Window
from harness.load.slope import Slope


class Total(Struct, frozen=True, kw_only=True):
    """Requests after the warm-up: all of them, or those of one endpoint. ``rate``: answered as meant, a second."""

    count: int
    failed: int
    rate: float
    latency: Latencies
    histogram: Histogram


class FlowTotal(Struct, frozen=True, kw_only=True):
    """Flows that have to end in a deal. ``begun`` to ``excess_deals`` are of the whole run, the rest is after the
    warm-up. ``examples``: correlations of some that have not finished."""

    begun: int
    finished: int
    excess_deals: int
    examples: tuple[str, ...]
    rate: float
    latency: Latencies
    histogram: Histogram


class LoadResult(Struct, frozen=True, kw_only=True):
    """``totals``: by endpoint. ``waits``: by stage of the way to the deal. ``window_s``: of each one of ``series``.
    ``drain_s``: from the last answer until nothing waited any more, None if that never came. ``memory``: by process.
    ``estimates``: what another run can be compared with, so this file is a baseline, too."""

    profile: str
    verdict: Status
    plan: LoadPlan
    all: Total
    totals: dict[str, Total]
    e2e: FlowTotal
    waits: dict[str, Latencies]
    lateness: Latencies
    drain_s: float | None
    gates: tuple[GateResult, ...]
    window_s: int
    series: tuple[Window, ...]
    faults: tuple[FaultWindow, ...]
    memory: dict[str, Slope]
    saturated: tuple[Saturated, ...]
    knee: Knee | None
    estimates: dict[str, Estimate]
