"""When the system says that something happened, and when it must have happened by the clock of whoever asked."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contract.events import decode_event
from harness.contract.log_lines import ContractViolation, EventStored, HttpRequestReceived
from harness.evidence.clock import later, seconds_between, wall_of
from harness.evidence.evidence import Evidence
from harness.evidence.records import Operation
from harness.trace.disagreement import Disagreement

CLOCKS_DIFFER_S = 600.0
"""So much may the clocks of a service, its database and the harness differ; a wrong time zone differs by more."""
_ANSWERED_BY = {"create_lead": "crm", "create_deal": "crm", "move_stage": "pipeline"}
"""What is answered to these happened while the client waited for it."""


def moments_disagree(evidence: Evidence) -> Iterator[Disagreement]:
    yield from _events(evidence)
    yield from _answers(evidence)


def _events(evidence: Evidence) -> Iterator[Disagreement]:
    """An event occurs between its request and the line that says it was stored."""
    asked_at = {line.span_id: line.ts for line in evidence.of(HttpRequestReceived)}
    stored = {line.event_id: line for line in evidence.of(EventStored)}
    skews_s = {log.instance: log.skew_s for log in evidence.logs}
    exchange = evidence.target.broker.exchange
    bodies = {m.message_id: m.body for m in evidence.tap if m.what == "published" and m.exchange == exchange}
    for event_id, line in stored.items():
        occurred_at = _occurred_at(bodies.get(event_id, ""))
        if occurred_at is None or line.span_id not in asked_at:
            continue
        first, last = asked_at[line.span_id], line.ts
        if not _between(first, later(occurred_at, -skews_s.get(line.instance, 0.0)), last):
            yield Disagreement(
                f"event {event_id} says that it occurred at {occurred_at}; it was asked for at {first} and stored by "
                f"{last}",
                line.service, f"{line.service}→broker", f"{line.entity_type} {line.entity_id}", line.correlation_id,
            )  # fmt: skip


def _occurred_at(body: str) -> str | None:
    try:
        return decode_event(body.encode()).occurred_at
    except ContractViolation:  # which is for another property to say
        return None


def _answers(evidence: Evidence) -> Iterator[Disagreement]:
    ending, clock = evidence.target.schema_promises.moments, evidence.scenario.clock
    if clock is None or not ending:
        return
    for op in evidence.operations:
        service = _ANSWERED_BY.get(op.action) if op.outcome == "ok" else None
        for name, value in op.answer.items() if service else ():
            if name.endswith(ending) and value is not None and not _while_asked(op, str(value), clock):
                yield Disagreement(
                    f"{service} answers {op.action} with {name} {value}, which is not when the client asked for it",
                    str(service), f"client→{service}", f"{op.entity_type} {op.entity_id}", op.correlation_id,
                )  # fmt: skip


def _while_asked(op: Operation, moment: str, clock: tuple[str, int]) -> bool:
    first, last = (wall_of(clock, reading_ns) for reading_ns in (op.invoked_ns, op.returned_ns))
    return _between(first, moment, last)


def _between(first: str, moment: str, last: str) -> bool:
    """A moment without its zone is none."""
    try:
        return min(seconds_between(first, moment), seconds_between(moment, last)) >= -CLOCKS_DIFFER_S
    except (ValueError, TypeError):
        return False
