"""From the files that a load run has left to what it comes to."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.evidence.run_directory import ScenarioDirectory
from harness.load.baseline import Baseline, estimates
from harness.load.gates import Gate, judge_gates, worst
from harness.load.knee import BOUND_MS, find_knee, saturation
from harness.load.measurements import Measurements, read_measurements
from harness.load.metrics import METRICS
from harness.load.percentiles import histogram, latencies
from harness.load.requests import Requests
from harness.load.result import FlowTotal, LoadResult, Total
from harness.load.series import fault_windows, series, window_s
from harness.load.slope import slope
from harness.load.tracks import Track
from harness.target import Target

MOST_EXAMPLES = 20


def measure(
    scenario: ScenarioDirectory, target: Target, gates: Sequence[Gate], baseline: Baseline | None = None
) -> LoadResult:
    """Measure the load run that a scenario was, and ask its gates. Raises EvidenceError."""
    return result_of(read_measurements(scenario, target), gates, baseline)


def result_of(run: Measurements, gates: Sequence[Gate], baseline: Baseline | None = None) -> LoadResult:
    """The same, from what has been read."""
    judged = judge_gates(gates, run, baseline)
    memory = {name: slope(track, run.warm_ns) for name, track in sorted(run.observed.rss_bytes.items())}
    return LoadResult(
        profile=run.plan.profile,
        verdict=worst(judged),
        plan=run.plan,
        all=_total(run, run.traffic.all),
        totals={endpoint: _total(run, requests) for endpoint, requests in run.traffic.by_endpoint.items()},
        e2e=_flow_total(run),
        waits={stage: latencies(_measured(run, track)) for stage, track in run.flows.waits_ms.items()},
        lateness=latencies(_measured(run, run.traffic.all.late_ms)),
        drain_s=run.drain_s,
        gates=tuple(judged),
        window_s=window_s(run),
        series=tuple(series(run)),
        faults=tuple(fault_windows(run)),
        memory={name: found for name, found in memory.items() if found is not None},
        saturated=tuple(saturation(run)),
        knee=find_knee(run, _bound_ms(gates)),
        estimates=estimates(run),
    )


def _measured(run: Measurements, track: Track) -> Sequence[float]:
    return track.between(run.warm_ns, run.scheduled_until_ns)


def _total(run: Measurements, requests: Requests) -> Total:
    took, seconds = _measured(run, requests.took_ms), _seconds(run)
    return Total(
        count=len(took),
        failed=round(math.fsum(_measured(run, requests.failed))),
        rate=round(len(_measured(run, requests.meant_at_end)) / seconds, 3),
        latency=latencies(took),
        histogram=histogram(took),
    )


def _flow_total(run: Measurements) -> FlowTotal:
    flows, took = run.flows, _measured(run, run.flows.took_ms)
    return FlowTotal(
        begun=len(flows.finished.values),
        finished=round(math.fsum(flows.finished.values)),
        excess_deals=round(math.fsum(flows.excess_deals.values)),
        examples=tuple(flows.unfinished[:MOST_EXAMPLES]),
        rate=round(len(_measured(run, flows.done_at_end)) / _seconds(run), 3),
        latency=latencies(took),
        histogram=histogram(took),
    )


def _seconds(run: Measurements) -> float:
    return max(1e-9, (run.scheduled_until_ns - run.warm_ns) / 1e9)


def _bound_ms(gates: Sequence[Gate]) -> float:
    """What the gates say is too slow for a flow."""
    p99 = METRICS["e2e.p99"]
    bounds = [gate.check.bound for gate in gates if gate.check.metric is p99 and not gate.check.relative]
    return min(bounds, default=BOUND_MS)
