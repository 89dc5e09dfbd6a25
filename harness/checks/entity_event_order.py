"""The events of one entity are published, reach their consumer, and are handled in the order of its versions.

An event's turn has come when the one before it is done with; one that is to be tried again later holds up nobody. Only
the first copy of an event counts: a second one (a lost confirm, a retry, a replay) may come at any time, since whoever
knows the event already ignores it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import EventPublished, EventReceived, EventSettled, RuleEvaluated
from harness.evidence.evidence import Evidence
from harness.evidence.log_files import END
from harness.evidence.records import OutboxRow

NAME = "entity_event_order"


def check(evidence: Evidence) -> Result:
    rows = {row.event_id: row for row in evidence.rows.outbox}
    published = [
        rows[str(message.message_id)]
        for message in evidence.tap
        if message.what == "published" and message.queues and message.message_id in rows
    ]
    turned = _turned_around(evidence)
    received = [
        rows[str(line.event_id)]
        for line in evidence.of(EventReceived)
        if line.event_id in rows and line.event_id not in turned
    ]
    findings = [
        *_overtaken(published, "published", by=None),
        *_overtaken(received, "received", by="automation"),
        *_handled_out_of_turn(evidence, rows, turned),
    ]
    return answer(NAME, seen=len(published) + len(received), floor=0, findings=findings)


def _turned_around(evidence: Evidence) -> set[str | None]:
    """Events that waited in the work queue when a fault of ours reordered it: their consumer got them as they were."""
    turned: set[str | None] = set()
    for fault in (fault for fault in evidence.faults if fault.kind == "reordered"):
        confirmed = {line.event_id for line in evidence.of(EventPublished) if line.ts <= fault.injected_at}
        before = {line.event_id for line in evidence.of(EventReceived) if line.ts <= fault.injected_at}
        turned |= confirmed - before
    return turned


def _overtaken(events: Iterable[OutboxRow], what: str, *, by: str | None) -> Iterator[Finding]:
    seen: set[str] = set()
    newest: dict[tuple[str, str, str], OutboxRow] = {}
    for row in events:
        if row.event_id in seen:
            continue
        seen.add(row.event_id)
        # Each service counts versions of its own: pipeline those of the stage, crm those of the lead.
        before = newest.get((row.service, row.entity_type, row.entity_id))
        if before is not None and before.entity_version > row.entity_version:
            service = by or row.service
            yield Finding(
                property=NAME,
                says=f"{row.event_type} version {row.entity_version} was {what} after version {before.entity_version}",
                service=service, edge=f"{service}→broker", entity=f"{row.entity_type} {row.entity_id}",
                correlation_id=row.correlation_id,
            )  # fmt: skip
        else:
            newest[row.service, row.entity_type, row.entity_id] = row


def _handled_out_of_turn(evidence: Evidence, rows: dict[str, OutboxRow], turned: set[str | None]) -> Iterator[Finding]:
    """No rule looks at an event while the entity's previous one is still being handled, which then succeeds."""
    settled: dict[str | None, EventSettled] = {}
    looked_at: dict[str, str] = {}
    for line in evidence.of(EventSettled):
        settled.setdefault(line.event_id, line)
    for look in evidence.of(RuleEvaluated):
        looked_at.setdefault(look.event_id, look.ts)
    by_entity: dict[tuple[str, str, str], list[OutboxRow]] = defaultdict(list)
    for row in rows.values():
        by_entity[row.service, row.entity_type, row.entity_id].append(row)
    for events in by_entity.values():
        for before, after in pairwise(sorted(events, key=lambda row: row.entity_version)):
            done = settled.get(before.event_id)
            if {before.event_id, after.event_id} <= turned:
                continue
            if done is not None and done.status == "acked" and looked_at.get(after.event_id, END) < done.ts:
                says = f"{after.event_type} version {after.entity_version} was handled before version"
                yield Finding(
                    property=NAME, says=f"{says} {before.entity_version} was settled", service="automation",
                    edge="automation→broker", entity=f"{after.entity_type} {after.entity_id}",
                    correlation_id=after.correlation_id,
                )  # fmt: skip


PROPERTY = Property(
    NAME,
    "the events of one entity are published, received and handled in the order of its versions",
    ("rows.outbox", "tap", "lines"),
    check,
)
