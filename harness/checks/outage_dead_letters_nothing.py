"""A dependency's outage puts nothing into the dead-letter queue, and burns no attempt: what cannot be done is held.

dead_letter_accounting says that a death was not announced; this says which outage it is to be blamed on.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import CallCompleted, CallSent, EventDeadLettered, EventReceived, EventSettled, Line
from harness.evidence.clock import later
from harness.evidence.evidence import Evidence
from harness.evidence.outages import Outage, outages
from harness.target import Target

NAME = "outage_dead_letters_nothing"
_SERVICE = "automation"
_OTHER_REASONS = ("schema_invalid", "loop_guard")
"""What dies of these would have died on the best of days."""
_UNAVAILABLE = 503
AFTER_S = 5.0
"""So long after an outage what it began may still die of it: longer than the ladder takes."""


def check(evidence: Evidence) -> Result:
    suffered = [o for o in outages(evidence.target, evidence.faults) if _is_felt(evidence.target, o)]
    findings = [*_deaths(evidence, suffered), *_burnt(evidence, suffered)] if suffered else []
    seen = sum(isinstance(line, EventReceived) for line in evidence.lines) if suffered else 0
    floor = min(1, len(evidence.rows.outbox)) if suffered and not evidence.lost_lines else 0
    return answer(NAME, seen=seen, floor=floor, findings=findings)


def _is_felt(target: Target, outage: Outage) -> bool:
    """By whoever handles events, or by one whom it calls, who can then do nothing for it."""
    if _SERVICE in outage.services:
        return True
    called = {service for service in outage.services if f"{_SERVICE}→{service}" in target.edges}
    return bool(called) and outage.dependency != "broker"


# --- what died --------------------------------------------------------------------------------------------------


def _deaths(evidence: Evidence, suffered: Sequence[Outage]) -> Iterator[Finding]:
    """One finding an outage, whatever its number of dead letters."""
    blamed: dict[int, list[tuple[str | None, str]]] = defaultdict(list)
    for correlation_id, tried_at, says in _unannounced(evidence):
        for number, outage in enumerate(suffered):
            if any(outage.first <= moment <= later(outage.last, AFTER_S) for moment in tried_at):
                blamed[number].append((correlation_id, says))
                break
    for number, deaths in blamed.items():
        outage, (correlation_id, first) = suffered[number], deaths[0]
        says = f"{len(deaths)} event(s) were dead-lettered by the outage of {outage.dependency} ({outage}): {first}"
        yield _finding(outage, says, correlation_id)


def _unannounced(evidence: Evidence) -> Iterator[tuple[str | None, list[str], str]]:
    """Deaths that nobody expected: flow, moments at which it was tried, what became of it."""
    scenario = evidence.scenario
    announced = {e.correlation_id for e in scenario.expected_dead_letters}
    announced |= {p.correlation_id for p in scenario.planted if p.expect != "processed"}
    deaths = [line for line in evidence.lines if isinstance(line, EventDeadLettered)]
    told = {line.event_id for line in deaths}
    untold = [
        message
        for message in evidence.resting
        if message.queue == evidence.target.broker.dead_letter_queue and message.message_id not in told
    ]
    dead = told | {message.message_id for message in untold}
    tried: dict[str | None, list[str]] = defaultdict(list)
    for line in evidence.lines:
        if isinstance(line, EventReceived | EventSettled) and line.event_id in dead:
            tried[line.event_id].append(line.ts)
    for line in deaths:
        if line.correlation_id not in announced and line.reason not in _OTHER_REASONS:
            moments = [moment for moment in tried[line.event_id] if moment <= line.ts]
            yield line.correlation_id, moments or [line.ts], f"event {line.event_id}, {line.reason} ({line.error})"
    for message in untold:
        if message.correlation_id not in announced:
            yield message.correlation_id, tried[message.message_id], f"event {message.message_id}, without a word"


# --- what lost an attempt ---------------------------------------------------------------------------------------


def _burnt(evidence: Evidence, suffered: Sequence[Outage]) -> Iterator[Finding]:
    """Deliveries sent up the ladder while the dependency that they needed was wholly gone.

    Only what must be so is blamed on the outage: a call to that very peer which nobody answered while it was gone; one
    that a peer without its database turned away; or a delivery that came and went while there was no database at all,
    without which nothing can be found out about it.
    """
    for outage in (o for o in suffered if o.total and o.dependency != "broker"):
        begin = bisect_left(evidence.lines, outage.since, key=lambda line: line.ts)
        end = bisect_right(evidence.lines, outage.until, key=lambda line: line.ts)
        lines = evidence.lines[begin:end]
        own_database = outage.dependency == "database" and _SERVICE in outage.services
        climbed = list(_climbed_blindly(lines) if own_database else _climbed_in_vain(lines, outage))
        if climbed:
            events = {line.event_id for line in climbed}
            says = (
                f"{len(climbed)} attempt(s) of {len(events)} event(s) were spent on the outage of "
                f"{outage.dependency} ({outage}): attempt {climbed[0].attempt} of event {climbed[0].event_id}"
            )
            yield _finding(outage, says, climbed[0].correlation_id)


def _climbed_blindly(lines: Sequence[Line]) -> Iterator[EventSettled]:
    received: set[str] = set()
    for line in lines:
        if isinstance(line, EventReceived):
            received.add(line.delivery_id)
        elif isinstance(line, EventSettled) and line.status == "retried" and line.delivery_id in received:
            yield line


def _climbed_in_vain(lines: Sequence[Line], outage: Outage) -> Iterator[EventSettled]:
    """The last call for an event before it climbed tells why it did."""
    sent: set[str] = set()
    in_vain: dict[str | None, bool] = {}
    for line in lines:
        if isinstance(line, CallSent) and line.service == _SERVICE:
            sent.add(line.span_id)
        elif isinstance(line, CallCompleted) and line.service == _SERVICE:
            unanswered = line.peer == outage.dependency and line.status in ("timeout", "connection_error")
            turned_away = line.peer in outage.services and line.http_status == _UNAVAILABLE and line.span_id in sent
            in_vain[line.event_id] = unanswered or turned_away
        elif isinstance(line, EventSettled) and line.status == "retried" and in_vain.get(line.event_id):
            yield line


def _finding(outage: Outage, says: str, correlation_id: str | None) -> Finding:
    loser = _SERVICE if _SERVICE in outage.services else min(outage.services)
    edge = f"{loser}→{outage.dependency}"
    return Finding(property=NAME, says=says, service=_SERVICE, edge=edge, correlation_id=correlation_id)


PROPERTY = Property(
    NAME,
    "a dependency's outage puts nothing into the dead-letter queue and burns no attempt",
    ("faults", "lines", "resting", "scenario.planted"),
    check,
)
