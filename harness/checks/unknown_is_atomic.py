"""What a client was never told the outcome of (no answer, or a 5xx) has happened wholly, once, or not at all.

Wholly: the row, its history where it has one, and its event. Not at all: none of these, and nothing that follows from
them. Which of both it is, nobody can demand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.checks.left_behind import flows_only_of, named, remains_of, silent_rows_of
from harness.checks.verdict import Finding, Property, Result, answer
from harness.checks.versions import WRITES, entity_of
from harness.evidence.evidence import Evidence
from harness.evidence.records import HistoryRow, Operation, OutboxRow

NAME = "unknown_is_atomic"
EVENTS = {
    "create_lead": ("lead.created",),
    "create_deal": ("deal.created",),
    "change_lead": ("lead.assigned", "lead.updated"),
    "move_stage": ("lead.stage.changed", "deal.stage.changed"),
}


@dataclass(frozen=True, slots=True)
class Done:
    """What of an operation is there: the events and the rows of history that no other event caused."""

    events: list[OutboxRow] = field(default_factory=list)
    steps: list[HistoryRow] = field(default_factory=list)


def check(evidence: Evidence) -> Result:
    unknown = {
        flow: [operation for operation in asked if operation.action in WRITES]
        for flow, asked in flows_only_of(evidence, "unknown").items()
    }
    operations = {flow: asked[0] for flow, asked in unknown.items() if asked}
    done: dict[str, Done] = defaultdict(Done)
    for event in evidence.rows.outbox:
        if event.causation_id is None and event.correlation_id in operations:
            done[event.correlation_id].events.append(event)
    for step in evidence.rows.history:
        if step.causation_id is None and step.correlation_id in operations:
            done[step.correlation_id].steps.append(step)
    rows = _Rows(evidence)
    findings = [
        _finding(operation, says)
        for flow, operation in operations.items()
        for says in _halves(operation, done[flow], rows, most=len(unknown[flow]))
    ]
    absent = {flow for flow in operations if not done[flow].events and not done[flow].steps}
    for flow, left in remains_of(evidence, absent).items():
        findings.append(_finding(operations[flow], f"is in no table, yet left {named(left)}"))
    silent = silent_rows_of(evidence, operations.values(), lambda operation: operation.outcome == "ok")
    findings += [_finding(operation, f"left {remain.what} without an event of it") for operation, remain in silent]
    return answer(NAME, seen=len(operations), floor=0, findings=findings)


class _Rows:
    """The rows at the end, by what they are known."""

    def __init__(self, evidence: Evidence) -> None:
        rows = evidence.rows
        self.leads = {lead.id: lead for lead in rows.leads}
        self.deals = {deal.id: deal for deal in rows.deals}
        self.stages = {(stage.entity_type, stage.entity_id): stage for stage in rows.stages}


def _halves(operation: Operation, done: Done, rows: _Rows, *, most: int) -> Iterator[str]:
    """What is missing, or too much, of an operation of which something is there."""
    times = max(len(done.events), len(done.steps))
    if times > most:
        yield f"has happened {times} times"
    stepped = {(step.entity_type, step.entity_id, step.version) for step in done.steps}
    told = {(event.entity_type, event.entity_id, event.entity_version) for event in done.events}
    for step in done.steps:
        now = rows.stages.get((step.entity_type, step.entity_id))
        if (step.entity_type, step.entity_id, step.version) not in told:
            yield f"has version {step.version} in history, but no event in the outbox"
        if now is None or now.version < step.version:
            yield f"has version {step.version} in history, but the stage is at version {now.version if now else None}"
    for event in done.events:
        if event.event_type not in EVENTS[operation.action]:
            yield f"has a {event.event_type} in the outbox, which is not what was asked for"
        elif operation.action == "move_stage":
            if (event.entity_type, event.entity_id, event.entity_version) not in stepped:
                yield f"has an event of version {event.entity_version} in the outbox, but no row of history"
        elif says := _without_row(operation, event, rows):
            yield f"has a {event.event_type} in the outbox, but {says}"


def _without_row(operation: Operation, event: OutboxRow, rows: _Rows) -> str | None:
    """Why the row that an event of crm tells of is not there."""
    if operation.action == "create_deal":
        deal = rows.deals.get(event.entity_id)
        return None if deal and deal.lead_id == operation.arguments.get("lead_id") else "the lead has no such deal"
    lead = rows.leads.get(event.entity_id)
    if lead is None or lead.version < event.entity_version:
        return f"the lead is at version {lead.version}" if lead else "there is no such lead"
    wanted = str(operation.arguments.get("email", "")).lower()
    if operation.action == "create_lead" and lead.email != wanted:
        return "the lead has another address"
    return None


def _finding(operation: Operation, says: str) -> Finding:
    service = "pipeline" if operation.action == "move_stage" else "crm"
    entity = entity_of(operation)
    how = f"answered {operation.http_status}" if operation.http_status else "not answered"
    return Finding(
        property=NAME, says=f"{operation.action}, {how}, {says}", service=service, edge=f"{service}→database",
        entity=" ".join(entity) if entity else None, correlation_id=operation.correlation_id,
    )  # fmt: skip


PROPERTY = Property(
    NAME,
    "what timed out or was answered 5xx is wholly there or wholly absent",
    ("operations", "rows", "tap", "resting", "received", "lines"),
    check,
)
