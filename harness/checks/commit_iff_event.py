"""A change is committed if and only if its event is: row ↔ outbox row one to one, and outbox ids = ids on the tap."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.events import decode_event
from harness.contract.log_lines import ContractViolation
from harness.evidence.evidence import Evidence
from harness.evidence.records import OURS, OutboxRow, TapMessage

NAME = "commit_iff_event"
CHANGED = "lead.assigned or lead.updated"
Change = tuple[str, str, int]
"""event type, entity id, entity version"""


def check(evidence: Evidence) -> Result:
    findings = [
        *_rows_and_outbox(evidence),
        *_outbox_and_tap(evidence),
    ]
    committed = sum(op.outcome == "ok" and op.action.startswith("create") for op in evidence.operations)
    return answer(NAME, seen=len(evidence.rows.outbox), floor=committed, findings=findings)


def _changes(evidence: Evidence) -> dict[Change, str | None]:
    """Every committed change that emits, with its correlation id where its row has one."""
    rows = evidence.rows
    changes: dict[Change, str | None] = {("lead.created", lead.id, 1): None for lead in rows.leads}
    changes.update({(CHANGED, lead.id, v): None for lead in rows.leads for v in range(2, lead.version + 1)})
    changes.update({("deal.created", deal.id, 1): None for deal in rows.deals})
    for row in rows.history:
        changes[f"{row.entity_type}.stage.changed", row.entity_id, row.version] = row.correlation_id
    return changes


def _rows_and_outbox(evidence: Evidence) -> Iterator[Finding]:
    changes = _changes(evidence)
    events: dict[Change, list[OutboxRow]] = defaultdict(list)
    for event in evidence.rows.outbox:
        kind = CHANGED if event.event_type in ("lead.assigned", "lead.updated") else event.event_type
        events[kind, event.entity_id, event.entity_version].append(event)
    for change, correlation_id in changes.items():
        stored = events.get(change, [])
        if len(stored) != 1:
            says = f"{change[0]} version {change[2]} was committed with {len(stored)} outbox rows, expected 1"
            yield _finding(change, correlation_id, says)
        elif correlation_id is not None and stored[0].correlation_id != correlation_id:
            says = f"history says correlation {correlation_id}, its outbox row {stored[0].correlation_id}"
            yield _finding(change, correlation_id, says)
    for change, stored in events.items():
        if change not in changes:
            says = f"an outbox row for {change[0]} version {change[2]}, which was never committed"
            yield _finding(change, stored[0].correlation_id, says)


def _outbox_and_tap(evidence: Evidence) -> Iterator[Finding]:
    """The tap misses messages only if the broker was killed; a message too many is wrong in any case."""
    published: dict[str | None, list[TapMessage]] = defaultdict(list)
    for message in evidence.tap:
        if message.what == "published" and message.exchange == evidence.target.broker.exchange:
            published[message.message_id].append(message)
    planted = {message.message_id for message in evidence.scenario.planted}
    outbox = {row.event_id: row for row in evidence.rows.outbox}
    for event_id, count in Counter(row.event_id for row in evidence.rows.outbox).items():
        if count > 1:
            yield _about(outbox[event_id], f"event id {event_id} stands in the outbox {count} times")
    for event_id, row in outbox.items():
        copies = published.get(event_id, [])
        if not copies and not evidence.broker_was_killed:
            yield _about(
                row,
                f"event {event_id} stands in the outbox (sent: {row.sent}) but no message with its id was published",
            )
        elif copies and not row.sent:
            yield _about(row, f"event {event_id} was published but its outbox row is still unsent")
        for copy in copies:
            if not copy.queues and row.sent and not any(other.queues for other in copies):
                yield _about(row, f"event {event_id} was published to no queue, yet is marked as sent")
            yield from _differences(row, copy)
    for message_id, copies in published.items():
        if message_id not in outbox and message_id not in planted and not _is_ours(message_id, copies):
            copy = copies[0]
            yield Finding(
                property=NAME, says=f"a {copy.type} with id {message_id} was published, but no outbox holds it",
                service=copy.app_id, edge=f"{copy.app_id}→broker", correlation_id=copy.correlation_id,
            )  # fmt: skip


def _is_ours(message_id: str | None, copies: list[TapMessage]) -> bool:
    """One that was planted without its id is known by its sender alone."""
    return message_id is None and all(copy.app_id == OURS for copy in copies)


_SAME = ("event_id", "event_type", "entity_id", "entity_version", "correlation_id", "causation_id")


def _differences(row: OutboxRow, copy: TapMessage) -> Iterator[Finding]:
    try:
        event = decode_event(copy.body.encode())
    except ContractViolation as violation:
        yield _about(row, f"event {row.event_id} was published with a body that breaks the contract: {violation}")
        return
    told = {name: getattr(event, name) for name in _SAME}
    told |= {"AMQP correlation_id": copy.correlation_id, "AMQP type": copy.type}
    stored = {name: getattr(row, name) for name in _SAME}
    stored |= {"AMQP correlation_id": row.correlation_id, "AMQP type": row.event_type}
    for name, value in stored.items():
        if told[name] != value:
            yield _about(row, f"event {row.event_id} was stored with {name} {value}, published with {told[name]}")


def _about(row: OutboxRow, says: str) -> Finding:
    return Finding(
        property=NAME, says=says, service=row.service, edge=f"{row.service}→broker",
        entity=f"{row.entity_type} {row.entity_id}", correlation_id=row.correlation_id,
    )  # fmt: skip


def _finding(change: Change, correlation_id: str | None, says: str) -> Finding:
    service = "pipeline" if change[0].endswith("stage.changed") else "crm"
    return Finding(
        property=NAME, says=says, service=service, edge=f"{service}→database",
        entity=f"{change[0].partition('.')[0]} {change[1]}", correlation_id=correlation_id,
    )  # fmt: skip


PROPERTY = Property(
    NAME,
    "history rows and outbox rows match one to one, and outbox ids = ids on the tap",
    ("rows.leads", "rows.deals", "rows.history", "rows.outbox", "tap"),
    check,
    severity="critical",
)
