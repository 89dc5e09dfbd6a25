"""The end of a load run on one screen: what was asked, how it was answered, and which gates hold."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from harness.evidence.records import MACHINE
from harness.load.gates import Status
from harness.load.knee import Knee
from harness.load.metrics import written
from harness.load.percentiles import NEVER, Latencies
from harness.load.result import LoadResult, Total
from harness.load.verdict import LoadVerdict

MARKS: dict[Status, str] = {"pass": "✓", "fail": "✗", "inconclusive": "?"}
_SHOWN = ("p50", "p90", "p95", "p99", "p999", "max")
_NAME, _NUMBER = 30, 9


def load_text(result: LoadResult) -> str:
    """All of it, as lines."""
    return "\n".join(_lines(result))


def _lines(result: LoadResult) -> Iterator[str]:
    plan = result.plan
    seconds = sum(step.seconds for step in plan.steps)
    arrivals = f"{plan.scheduled:,} {plan.arrivals} arrivals in {seconds:g} s, {plan.warm_up_s:g} s of them warm-up"
    yield f"{result.profile}: {result.all.rate:,.4g} requests a second answered; {arrivals}, seed {plan.seed}"
    yield ""
    yield _row("", "requests", "failed", *_SHOWN)
    for endpoint, total in result.totals.items():
        yield _total(endpoint, total)
    if len(result.totals) > 1:
        yield _total("all requests", result.all)
    yield _row("the generator was late by", "", "", *_figures(result.lateness))
    yield ""
    e2e = result.e2e
    yield _row("PATCH → deal", f"{e2e.begun:,}", f"{e2e.begun - e2e.finished:,}", *_figures(e2e.latency))
    for stage, waits in result.waits.items():
        yield _row(f"  {_STAGES[stage]}", "", "", *_figures(waits))
    yield from _remarks(result)
    yield ""
    for gate in result.gates:
        yield f"{MARKS[gate.status]} {gate.gate}{f'  {gate.endpoint}' if gate.endpoint else ''}"
        if gate.status != "pass":
            yield f"    {gate.says}"
    if result.knee is not None:
        yield ""
        yield from _knee(result.knee)
    elif result.verdict != "pass":
        yield from (f"saturated: {one.what}: {one.evidence}" for one in result.saturated)
    yield ""
    counts = {status: sum(gate.status == status for gate in result.gates) for status in MARKS}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    yield f"load: {result.verdict.upper()}   {told}"


_STAGES = {
    "outbox": "waiting in the outbox", "queue": "waiting in the queue", "handler": "in the handler",
    "call": "in its calls",
}  # fmt: skip


def _remarks(result: LoadResult) -> Iterator[str]:
    drained = "never" if result.drain_s is None else f"{result.drain_s:.1f} s after the last answer"
    yield f"  outbox and queues were empty: {drained}"
    e2e = result.e2e
    if e2e.excess_deals:
        yield f"  deals too many: {e2e.excess_deals:,}"
    if e2e.examples:
        more = e2e.begun - e2e.finished - 1
        others = f", and {more:,} more" if more else ""
        yield f"  never came to its end: {e2e.examples[0]}{others} (gauntlet show RUN {e2e.examples[0]})"
    for fault in result.faults:
        what = (
            "not by us: others filled this machine"
            if fault.place == MACHINE
            else f"broken by us: {fault.kind} on {fault.place}"
        )
        yield f"  {what}, second {fault.since_s:.1f} to {fault.until_s:.1f}"
    for process, slope in result.memory.items():
        if not slope.flat:
            interval = f"{slope.low:,.1f} to {slope.high:,.1f}"
            yield f"  memory of {process} grows: {slope.mb_per_hour:,.1f} MB an hour ({interval}, 95%)"


def _knee(knee: Knee) -> Iterator[str]:
    yield _row("step", "offered", "answered", "flows", "done", "p99")
    for number, step in enumerate(knee.steps, start=1):
        rates = (step.offered, step.answered, step.flows_begun, step.flows_done)
        p99 = written(NEVER if step.p99_ms is None else step.p99_ms, "time")
        mark = MARKS["pass" if step.kept_up else "fail"]
        yield f"{_row(f'{mark} {number}', *(f'{rate:,.4g}/s' for rate in rates), p99)}  {step.why}".rstrip()
    if knee.rate is None:
        yield f"the knee lies below the first step: {knee.why}"
    else:
        yield f"the knee: {knee.rate:,.4g} requests a second{'' if knee.broke else ' or more'}; {knee.why}"
    for first, one in zip_longest(("first to give way",), knee.saturated, fillvalue="then"):
        if not isinstance(one, str):
            yield f"  {first}: {one.what}, from second {one.at_s:g} on, at {one.offered:,.4g}/s: {one.evidence}"


def _total(name: str, total: Total) -> str:
    return _row(name, f"{total.count:,}", f"{total.failed:,}", *_figures(total.latency))


def _figures(latency: Latencies) -> list[str]:
    if not latency.count:
        return ["–"] * len(_SHOWN)
    values = [getattr(latency, name) for name in _SHOWN]
    return ["never" if value is None else written(value, "time") for value in values]


def _row(name: str, *numbers: str) -> str:
    return f"{name:<{_NAME}}" + "".join(f"{number:>{_NUMBER}}" for number in numbers)


# --- the verdict ------------------------------------------------------------------------------------------------


def verdict_text(verdict: LoadVerdict, run: Path) -> str:
    """What everybody says, in a line, and where to look further."""
    said = {"gates": verdict.gates, "properties": verdict.properties, "audit": verdict.audit}
    each = ", ".join(f"{who} {what or 'not asked'}" for who, what in said.items())
    doubts = (f"? {text}" for text in verdict.doubts)
    charts = f"figures, charts, JUnit: {run / 'load'}   judge it again: gauntlet check {run}"
    return "\n".join([*doubts, f"verdict: {verdict.verdict.upper()}   {each}", charts])
