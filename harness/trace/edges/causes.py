"""Which event caused which."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contract.log_lines import (
    ActionStarted,
    CallSent,
    EventDeadLettered,
    EventReceived,
    EventStored,
    HttpRequestReceived,
    RuleEvaluated,
    TimerCancelled,
    TimerFired,
    TimerScheduled,
)
from harness.trace.flow import Flow, Surroundings
from harness.trace.obligations import Obligation

CAUSE = "event X → event Y it caused"


def cause_resolves(flow: Flow, around: Surroundings) -> Iterator[Obligation]:
    """Y.causation_id names an event that a line of the same correlation is about."""
    unresolved = {line.causation_id for line in flow.lines} - flow.event_ids() - around.planted_events - {None}
    for line in flow.lines if unresolved else ():
        if line.causation_id in unresolved:
            unresolved.discard(line.causation_id)
            missing = f"any line about event {line.causation_id}"
            yield Obligation(CAUSE, line, "orphan", missing, line.service)


def causes_form_no_circle(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    cause_of = {line.event_id: line.causation_id for line in flow.of(EventStored)}
    endless: dict[str, bool] = {}
    for line in flow.of(EventStored):
        if _circular(line.event_id, cause_of, endless):
            yield Obligation(CAUSE, line, "excess", "no circle of causes", line.service)


def _circular(event_id: str, cause_of: dict[str, str | None], endless: dict[str, bool]) -> bool:
    """Do its causes never come to an end? ``endless`` keeps what is known already of those that it comes by."""
    way: dict[str, None] = {}
    at: str | None = event_id
    while at is not None and at not in way and at not in endless:
        way[at] = None
        at = cause_of.get(at)
    circular = at is not None and endless.get(at, True)
    endless.update(dict.fromkeys(way, circular))
    return circular


def change_names_its_trigger(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    """What a service changes on a caller's behalf names the caller's trigger as its cause."""
    triggers = {line.span_id: line.event_id for line in flow.of(CallSent) if line.event_id}
    parents = {line.span_id: line.parent_span_id for line in flow.of(HttpRequestReceived)}
    for line in flow.of(EventStored):
        trigger = triggers.get(parents.get(line.span_id) or "")
        if trigger is not None and line.causation_id != trigger:
            yield Obligation(CAUSE, line, "orphan", f"causation_id {trigger}, its caller's trigger", line.service)


def parent_resolves(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    """What a process does for something, it does after that was logged. Timers and alerts wake up by themselves."""
    parents = (*flow.of(EventReceived), *flow.of(HttpRequestReceived), *flow.of(ActionStarted))
    spans = {(line.instance, line.span_id) for line in parents}
    timers = (*flow.of(TimerFired), *flow.of(TimerCancelled), *flow.of(TimerScheduled))
    later = {line.event_id for line in (*timers, *flow.of(EventDeadLettered))}
    for line in (*flow.of(RuleEvaluated), *flow.of(ActionStarted), *flow.of(CallSent)):
        if line.event_id not in later and (line.instance, line.parent_span_id) not in spans:
            missing = f"any line with span {line.parent_span_id}"
            yield Obligation("span → its parent", line, "orphan", missing, line.service)
