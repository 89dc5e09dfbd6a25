"""One flow as work and waits in time, by who did it: what a picture of it is drawn from.

Log lines say when work began and ended. The waits are what lies between them: an event in the outbox until it is
published, a message in a queue until it is received, a caller until its peer has answered.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from operator import itemgetter
from typing import Literal

from harness.contract.log_lines import (
    ActionCompleted,
    ActionStarted,
    CallCompleted,
    CallSent,
    ChangeCommitted,
    DeadLetterDiscarded,
    DeadLetterReplayed,
    EventDeadLettered,
    EventDeduplicated,
    EventPublished,
    EventReceived,
    EventSettled,
    EventStored,
    HttpRequestCompleted,
    HttpRequestReceived,
    InBand,
    RuleEvaluated,
    TimerCancelled,
    TimerFired,
    TimerScheduled,
)
from harness.evidence.clock import wall_of
from harness.evidence.evidence import Evidence
from harness.evidence.records import Fault
from harness.trace.findings import FlowFinding
from harness.trace.flow import Flow, Kind
from harness.trace.obligations import Obligation

Sort = Literal["work", "wait", "moment", "missing", "excess"]
"""``missing``: what did not come, from the line that demands it to the end of the picture. ``excess``: a line of which
there may be only so many, and there were more."""

CLIENT, BROKER = "client", "broker"
MOST_STEPS, MOST_MISSING = 60, 12
"""Of a longer flow its beginning and its end are kept, and besides what is missing."""
_AHEAD_S = 1.0
"""A fault that began so shortly after the last line may have prevented what is missing."""
_ROOM = 0.14
"""For what is missing at the end, as a share of the time that the flow took."""


@dataclass(frozen=True, slots=True)
class Step:
    """One bar. ``began`` and ``ended`` are seconds since 1970."""

    lane: str
    sort: Sort
    name: str
    began: float
    ended: float
    says: str = ""


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """While something was broken by us, in seconds since 1970; it may reach beyond the picture."""

    name: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Waterfall:
    """``lanes``: by who did it, in the order in which they joined in; the steps of each in the order of time."""

    correlation_id: str
    state: str
    began: float
    ended: float
    lanes: dict[str, list[Step]]
    faults: tuple[FaultWindow, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What is wrong with a flow in which no edge is broken, and whose doing it is."""

    service: str
    says: str


def waterfall(
    evidence: Evidence, correlation_id: str, judged: FlowFinding | None, claim: Claim | None = None
) -> Waterfall:
    """The picture of one flow. ``claim`` is drawn as missing where the flow itself shows nothing broken.

    Without lanes, if nobody who knows the time has seen it.
    """
    lines = judged.flow.lines if judged else []
    dated = Flow(correlation_id, (line for line in lines if _moment(line.ts) is not None))
    obligations = [broken for broken in (judged.broken if judged else ()) if _moment(broken.line.ts) is not None]
    steps = [*_client(evidence, correlation_id), *_logged(dated, evidence), *_sinks(evidence, correlation_id)]
    steps.sort(key=lambda step: (step.began, -step.ended))
    began, ended = _span(steps)
    claim = claim if steps else None
    wrong = bool(obligations) or claim is not None
    end = ended + (_ROOM * (ended - began) if wrong else 0.0)
    missing = [_missing(broken, began, end) for broken in obligations]
    if claim is not None and not missing:
        missing = [Step(claim.service, "missing", claim.says, ended, end)]
    kept = [*_kept(steps), *missing[:MOST_MISSING]]
    lanes: dict[str, list[Step]] = defaultdict(list)
    for step in sorted(kept, key=lambda step: step.began):
        lanes[step.lane].append(step)
    return Waterfall(
        correlation_id=correlation_id,
        state=judged.state if judged else "no line of the log tells of it",
        began=began,
        ended=end,
        lanes=dict(lanes),
        faults=tuple(_fault_windows(evidence.faults, began, ended + _AHEAD_S)),
        left_out=len(steps) + len(missing) - len(kept),
    )


def _moment(ts: str) -> float | None:
    """None for what is written as a timestamp and is no date."""
    try:
        return datetime.fromisoformat(ts).timestamp()
    except (ValueError, OverflowError):
        return None


def _at(line: InBand) -> float:
    """Of a line that has a date."""
    return datetime.fromisoformat(line.ts).timestamp()


def _span(steps: list[Step]) -> tuple[float, float]:
    if not steps:
        return 0.0, 0.001
    began = min(step.began for step in steps)
    return began, max(began + 0.001, *(step.ended for step in steps))


def _kept(steps: list[Step]) -> list[Step]:
    half = MOST_STEPS // 2
    return steps if len(steps) <= MOST_STEPS else [*steps[:half], *steps[-half:]]


def _missing(broken: Obligation, began: float, end: float) -> Step:
    """What must follow is missed from its line on, what must have gone before until its line."""
    at = _at(broken.line)
    if broken.state == "excess":
        return Step(broken.by, "excess", broken.missing, at, at, broken.edge)
    first, last = (began, at) if broken.state == "orphan" else (at, end)
    return Step(broken.by, "missing", broken.missing, first, last, broken.edge)


def _fault_windows(faults: Iterable[Fault], began: float, ended: float) -> Iterator[FaultWindow]:
    for fault in sorted(faults, key=lambda fault: fault.injected_at):
        first, last = _moment(fault.injected_at), _moment(fault.healed_at)
        if first is not None and last is not None and first <= ended and last >= began:
            yield FaultWindow(f"{fault.kind} on {fault.place}", first, last)


# --- what the witnesses beside the log add ----------------------------------------------------------------------


def _client(evidence: Evidence, correlation_id: str) -> Iterator[Step]:
    """A client waits for its answer. Needs a moment of which both clocks are known."""
    clock = evidence.scenario.clock
    if clock is None:
        return
    for asked in evidence.operations:
        if asked.correlation_id == correlation_id:
            first, last = (_moment(wall_of(clock, ns)) for ns in (asked.invoked_ns, asked.returned_ns))
            if first is not None and last is not None:
                name = " ".join(filter(None, (asked.action.replace("_", " "), asked.arguments.get("stage"))))
                told = "no answer" if asked.http_status is None else str(asked.http_status)
                yield Step(CLIENT, "wait", name, first, last, told)


def _sinks(evidence: Evidence, correlation_id: str) -> Iterator[Step]:
    for came in evidence.received:
        at = _moment(came.received_at) if came.correlation_id == correlation_id else None
        if at is not None:
            yield Step(came.kind, "moment", f"came to {came.place}", at, at, f"answered {came.status}")


# --- what the log says ------------------------------------------------------------------------------------------


def _logged(flow: Flow, evidence: Evidence) -> Iterator[Step]:
    killed = {log.instance: log.ended_at for log in evidence.logs if log.killed}
    log = _Log(flow, {name: at for name, ended in killed.items() if (at := _moment(ended)) is not None})
    return chain(
        log.requests(), log.publishes(), log.deliveries(), log.actions(), log.calls(), log.moments(), log.timers()
    )


class _Log:
    """The lines of a flow, and how far each unfinished piece of work can have come. ``killed``: when, by instance."""

    def __init__(self, flow: Flow, killed: dict[str, float]) -> None:
        self._flow, self._killed = flow, killed
        self._last_of = {line.instance: _at(line) for line in flow.lines} | killed
        known: tuple[Sequence[RuleEvaluated | EventPublished | EventStored], ...] = (
            flow.of(RuleEvaluated), flow.of(EventPublished), flow.of(EventStored),
        )  # fmt: skip
        self._types: dict[str | None, str] = {line.event_id: line.event_type for line in chain(*known)}
        self._left_hand = self._leavings()

    def requests(self) -> Iterator[Step]:
        """What a service did for whoever asked it, with the changes that it committed meanwhile."""
        ends = self._by_span(HttpRequestCompleted)
        changes = self._by_span(ChangeCommitted)
        for line in self._flow.of(HttpRequestReceived):
            end, change = ends.get(line.span_id), changes.get(line.span_id)
            told = [str(end.http_status) if end else self._unfinished(line)]
            if change:
                step = f"{change.from_stage} → {change.to_stage}, " if change.to_stage else ""
                told.append(f"{change.entity_type} {step}version {change.entity_version}")
            name = f"{line.method} {line.route}"
            yield Step(line.service, "work", name, _at(line), self._end(line, end), " · ".join(told))

    def publishes(self) -> Iterator[Step]:
        """The wait in the outbox, and each try to publish until its confirm."""
        first: dict[str | None, float] = {}
        for line in self._flow.of(EventPublished):
            began = _began(line)
            first.setdefault(line.event_id, began)
            again = f", attempt {line.attempt}" if line.attempt > 1 else ""
            yield Step(line.service, "work", f"publish {line.event_type}", began, _at(line), f"{line.status}{again}")
        for stored in self._flow.of(EventStored):
            if stored.event_id in first:
                ended = max(first[stored.event_id], _at(stored))
                yield Step(stored.service, "wait", f"outbox wait: {stored.event_type}", _at(stored), ended)

    def deliveries(self) -> Iterator[Step]:
        """The wait in the queue, and what was done with the message."""
        ends = {line.delivery_id: line for line in self._flow.of(EventSettled)}
        again = {line.delivery_id for line in self._flow.of(EventDeduplicated)}
        matched = {
            line.parent_span_id: line.rule_id for line in self._flow.of(RuleEvaluated) if line.status == "matched"
        }
        for line in self._flow.of(EventReceived):
            what, end = self._types.get(line.event_id, "event"), ends.get(line.delivery_id)
            if before := self._left_before(line):
                yield Step(BROKER, "wait", f"{before[1]}: {what}", before[0], _at(line))
            told = [end.status if end else self._unfinished(line)]
            told += [f"attempt {line.attempt}"] if line.attempt > 1 else []
            told += ["a duplicate"] if line.delivery_id in again else []
            told += [f"rule {matched[line.span_id]}"] if line.span_id in matched else []
            yield Step(line.service, "work", f"handle {what}", _at(line), self._end(line, end), " · ".join(told))

    def actions(self) -> Iterator[Step]:
        ends = self._by_span(ActionCompleted)
        for line in self._flow.of(ActionStarted):
            end = ends.get(line.span_id)
            told = end.status if end else self._unfinished(line)
            yield Step(line.service, "work", f"action {line.action}", _at(line), self._end(line, end), told)

    def calls(self) -> Iterator[Step]:
        """A caller waits for its peer: the work is the peer's, and stands in its own lane."""
        ends = self._by_span(CallCompleted)
        for line in self._flow.of(CallSent):
            end = ends.get(line.span_id)
            told = str(end.http_status or end.status) if end else self._unfinished(line)
            name = f"call wait: {line.peer} {line.method} {line.route}"
            yield Step(line.service, "wait", name, _at(line), self._end(line, end), told)

    def moments(self) -> Iterator[Step]:
        """What takes no time."""
        for line in self._flow.of(EventDeadLettered):
            yield Step(line.service, "moment", f"dead letter: {line.reason}", _at(line), _at(line), line.error or "")
        hands: tuple[Sequence[DeadLetterReplayed | DeadLetterDiscarded], ...] = (
            self._flow.of(DeadLetterReplayed), self._flow.of(DeadLetterDiscarded),
        )  # fmt: skip
        for acted in chain(*hands):
            yield Step(acted.service, "moment", f"dead letter {acted.status}", _at(acted), _at(acted), acted.actor)

    def timers(self) -> Iterator[Step]:
        ended = (*self._flow.of(TimerFired), *self._flow.of(TimerCancelled))
        ends = {(line.event_id, line.rule_id): line for line in ended}
        for line in self._flow.of(TimerScheduled):
            if end := ends.get((line.event_id, line.rule_id)):
                name = f"timer: {line.rule_id}"
                yield Step(line.service, "wait", name, _at(line), max(_at(line), _at(end)), end.status)

    def _leavings(self) -> dict[str | None, list[tuple[float, str, str]]]:
        """Event → when it was left to the broker, why, and by which delivery: from then on it waits there."""
        left: dict[str | None, list[tuple[float, str, str]]] = defaultdict(list)
        for published in self._flow.of(EventPublished):
            left[published.event_id].append((_began(published), "queue wait", ""))
        whys = {"retried": "retry wait", "requeued": "requeued, wait"}
        for end in self._flow.of(EventSettled):
            if end.status in whys:
                left[end.event_id].append((_at(end), whys[end.status], end.delivery_id))
        for replayed in self._flow.of(DeadLetterReplayed):
            left[replayed.event_id].append((_at(replayed), "replayed, wait", ""))
        settled = {line.delivery_id for line in self._flow.of(EventSettled)}
        for held in self._flow.of(EventReceived):
            if held.delivery_id not in settled:
                left[held.event_id].append((self._last_of[held.instance], "redelivery wait", held.delivery_id))
        for moments in left.values():
            moments.sort()
        return left

    def _left_before(self, line: EventReceived) -> tuple[float, str] | None:
        """The last time before this delivery that its event was left to the broker."""
        left = self._left_hand.get(line.event_id, [])
        for at, why, by in reversed(left[: bisect_right(left, _at(line), key=itemgetter(0))]):
            if by != line.delivery_id:
                return at, why
        return None

    def _by_span(self, kind: type[Kind]) -> dict[str | None, Kind]:
        return {line.span_id: line for line in self._flow.of(kind)}

    def _end(self, line: InBand, end: InBand | None) -> float:
        """Of what has no end, the end of its process, or that one's last sign of life."""
        return max(_at(line), _at(end) if end else self._last_of[line.instance])

    def _unfinished(self, line: InBand) -> str:
        return "killed" if line.instance in self._killed else "no end"


def _began(line: EventPublished) -> float:
    """Before the confirm was waited for."""
    return _at(line) - (line.confirm_ms or 0.0) / 1000
