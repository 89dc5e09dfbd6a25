"""How much a system can take: the knee of a run whose rate goes up in steps, and what was exhausted first.

The knee is the last step at which the system *kept up*: as much was completed as was offered (within 5 %), and the
p99 of the flows that began in it stayed below a bound. In an open system that is where the load reaches what can be
served: above it nothing settles, what waits grows for as long as the load lasts, and latency measures only how long the
step was (Kleinrock, "Queueing Systems" I, 1975, section 2.1: no equilibrium at ρ ≥ 1; Gunther, "Guerrilla Capacity
Planning", 2007, ch. 4: beyond it throughput flattens, and may even fall). Curve fitting, as in Kneedle (Satopaa et al.
2011), would need more points than a run has steps, and would find a knee where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from msgspec import Struct

from harness.load.measurements import GENERATOR, Measurements
from harness.load.metrics import Span
from harness.load.percentiles import finite, percentile
from harness.load.tracks import Track

KEEPS_UP = 0.95
BOUND_MS = 1000.0
"""Of the p99, where no gate says what is too slow."""
_ONE_CORE, _WHOLE_MACHINE = 0.9, 0.95
_LATE_MS = 50.0
_GROWS, _FEW_MESSAGES, _OLD_S = 1.5, 20.0, 0.5
_SETTLES = 0.1
"""Of a step, so much at its beginning is not counted: what is answered in it was asked in the step before."""


class StepSeen(Struct, frozen=True, kw_only=True):
    """One step: what was offered, and what was completed of it, a second. ``flows`` are those that have to end in a
    deal. ``p99_ms``: of the flows that began in it, None where one in a hundred never ended."""

    at_s: float
    offered: float
    answered: float
    flows_begun: float
    flows_done: float
    p99_ms: float | None
    kept_up: bool
    why: str = ""


class Saturated(Struct, frozen=True, kw_only=True):
    """Something that had no more to give, or a queue before it, with what shows it."""

    what: str
    at_s: float
    offered: float
    evidence: str


class Knee(Struct, frozen=True, kw_only=True):
    """``rate``: the offered rate of the last step that was kept up with, None if not even the first was. ``broke``: the
    rate of the one after it, None if all were. ``saturated``: in the order in which it showed."""

    rate: float | None
    broke: float | None
    why: str
    steps: tuple[StepSeen, ...]
    saturated: tuple[Saturated, ...] = ()


def find_knee(run: Measurements, bound_ms: float = BOUND_MS) -> Knee | None:
    """None for a run whose rate does not go up."""
    spans = _steps(run)
    seen = [_seen(run, span, bound_ms) for span in spans]
    if len(seen) < 3 or not seen[-1].offered > 1.2 * seen[0].offered:
        return None
    kept = next((number for number, step in enumerate(seen) if not step.kept_up), len(seen))
    first_broken = seen[kept] if kept < len(seen) else None
    return Knee(
        rate=seen[kept - 1].offered if kept else None,
        broke=first_broken.offered if first_broken else None,
        why=first_broken.why if first_broken else "every step was kept up with: the knee lies higher",
        steps=tuple(seen),
        saturated=tuple(saturation(run, spans[: kept + 1])),
    )


def _steps(run: Measurements) -> list[Span]:
    """After the warm-up. A ramp is no step, but part of the way to the next one."""
    spans, since_ns = [], run.plan.began_ns
    for step in run.plan.steps:
        until_ns = since_ns + round(step.seconds * 1e9)
        if step.from_rate == step.to_rate > 0 and until_ns > run.warm_ns:
            spans.append(Span(max(since_ns, run.warm_ns), until_ns))
        since_ns = until_ns
    return spans


def _seen(run: Measurements, span: Span, bound_ms: float) -> StepSeen:
    settled = Span(span.since_ns + round(_SETTLES * (span.until_ns - span.since_ns)), span.until_ns)
    requests, flows = run.traffic.all, run.flows

    def rate(track: Track) -> float:
        return round(len(track.between(settled.since_ns, settled.until_ns)) / settled.seconds, 2)

    took = sorted(flows.took_ms.between(span.since_ns, span.until_ns))
    p99_ms = percentile(took, 0.99) if took else 0.0
    offered, begun, done = rate(requests.took_ms), rate(flows.finished), rate(flows.done_at_end)
    answered = round(rate(requests.meant_at_end) + rate(requests.failed_at_end), 2)
    why = _why_not(offered, answered, begun, done, p99_ms, bound_ms, settled.seconds)
    return StepSeen(
        at_s=round((span.since_ns - run.plan.began_ns) / 1e9, 3), offered=offered, answered=answered,
        flows_begun=begun, flows_done=done, p99_ms=finite(p99_ms), kept_up=not why, why=why,
    )  # fmt: skip


def _why_not(
    offered: float, answered: float, begun: float, done: float, p99_ms: float, bound_ms: float, seconds: float
) -> str:
    """Why a step was not kept up with. What chance alone makes of so few arrivals is no reason."""
    if answered < KEEPS_UP * offered - _by_chance(offered, seconds):
        return f"of {offered:g} requests a second {answered:g} were answered"
    if done < KEEPS_UP * begun - _by_chance(begun, seconds):
        return f"of {begun:g} flows a second {done:g} came to their end"
    if p99_ms > bound_ms:
        told = "never came to their end" if math.isinf(p99_ms) else f"took {p99_ms:,.0f} ms or more"
        return f"one flow in a hundred {told}, at most {bound_ms:,.0f} ms are allowed"
    return ""


def _by_chance(rate: float, seconds: float) -> float:
    """Two standard deviations of a Poisson count, as a rate."""
    return 2 * math.sqrt(rate * seconds) / seconds


# --- what had no more to give -----------------------------------------------------------------------------------


def saturation(run: Measurements, spans: Sequence[Span] = ()) -> list[Saturated]:
    """What was exhausted in these steps, or else over the whole schedule, each where it showed first."""
    found: dict[str, Saturated] = {}
    for span in spans or _steps(run) or [Span(run.warm_ns, run.scheduled_until_ns)]:
        for what, evidence in _exhausted(run, span):
            at_s = round((span.since_ns - run.plan.began_ns) / 1e9, 3)
            offered = len(run.traffic.all.took_ms.between(span.since_ns, span.until_ns)) / max(span.seconds, 1e-9)
            found.setdefault(what, Saturated(what=what, at_s=at_s, offered=round(offered, 2), evidence=evidence))
    return list(found.values())


def _exhausted(run: Measurements, span: Span) -> Iterator[tuple[str, str]]:
    """Causes before what comes of them."""
    seen = run.observed
    for process, cores in sorted(seen.cpu_cores.items()):
        if (used := _mean(cores, span)) >= _ONE_CORE:
            yield f"CPU of {process}", f"it used {used:.2f} cores; what runs in one thread cannot use more than 1"
    if (busy := _mean(seen.machine_cpu, span)) >= _WHOLE_MACHINE:
        share = _mean(seen.cpu_cores.get(GENERATOR, Track()), span)
        yield "CPU of the machine", f"{busy:.0%} of all cores were busy, the generator itself used {share:.2f}"
    late = sorted(run.traffic.all.late_ms.between(span.since_ns, span.until_ns))
    if late and (late_ms := percentile(late, 0.99)) > _LATE_MS:
        yield "the generator", f"its p99 was {late_ms:,.0f} ms late: it is the generator that has no more to give"
    before, after = _halves(seen.oldest_unsent_s, span)
    if after > max(_OLD_S, _GROWS * before):
        yield "the outbox", f"its oldest row was {before:.2g} s old, then {after:.2g} s: more is stored than published"
    before, after = _halves(seen.depth, span)
    if after > max(_FEW_MESSAGES, _GROWS * before):
        yield "the queues", f"{before:,.0f} messages waited, then {after:,.0f}: more is published than handled"


def _mean(track: Track, span: Span) -> float:
    values = track.between(span.since_ns, span.until_ns)
    return math.fsum(values) / len(values) if values else 0.0


def _halves(track: Track, span: Span) -> tuple[float, float]:
    """What it was on average in the first half, and in the second."""
    middle = (span.since_ns + span.until_ns) // 2
    return _mean(track, Span(span.since_ns, middle)), _mean(track, Span(middle, span.until_ns))
