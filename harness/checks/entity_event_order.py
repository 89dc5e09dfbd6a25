"""The events of one entity are published, and reach their consumer, in the order of its versions.

Only the first copy of an event counts: a second one (a lost confirm, a retry, a replay) may come at any time, since
whoever knows the event already ignores it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import EventReceived
from harness.evidence.evidence import Evidence
from harness.evidence.records import OutboxRow

NAME = "entity_event_order"


def check(evidence: Evidence) -> Result:
    rows = {row.event_id: row for row in evidence.rows.outbox}
    published = [
        rows[str(message.message_id)]
        for message in evidence.tap
        if message.what == "published" and message.queues and message.message_id in rows
    ]
    received = [
        rows[str(line.event_id)] for line in evidence.lines if isinstance(line, EventReceived) and line.event_id in rows
    ]
    findings = [
        *_overtaken(published, "published", by=None),
        *_overtaken(received, "received", by="automation"),
    ]
    return answer(NAME, seen=len(published) + len(received), floor=0, findings=findings)


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


PROPERTY = Property(
    NAME,
    "the events of one entity are published and received in the order of its versions",
    ("rows.outbox", "tap", "lines"),
    check,
)
