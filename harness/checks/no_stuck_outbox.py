"""Nothing is unsent when the system is quiet: whatever was committed has left the outbox, in whichever order it came.

Ids are drawn before the commit. A relay that remembers how far it has come passes over what is committed late.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from harness.checks.verdict import Finding, Property, Result, answer
from harness.evidence.evidence import Evidence
from harness.evidence.records import OutboxRow

NAME = "no_stuck_outbox"
_NAMED = 3


def check(evidence: Evidence) -> Result:
    rows = evidence.rows.outbox
    stored = sum(
        op.outcome == "ok" and (op.action.startswith("create") or bool(op.answer.get("changed")))
        for op in evidence.operations
        if op.action in ("create_lead", "create_deal", "move_stage")
    )
    return answer(NAME, seen=len(rows), floor=stored, findings=list(_findings(rows)))


def _findings(rows: Sequence[OutboxRow]) -> Iterator[Finding]:
    """At most two a service: what was passed over, and what nobody has come to."""
    furthest: dict[str, int] = defaultdict(int)
    for row in rows:
        if row.sent:
            furthest[row.service] = max(furthest[row.service], row.id)
    stuck: dict[tuple[str, bool], list[OutboxRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.id):
        if not row.sent:
            stuck[row.service, row.id < furthest[row.service]].append(row)
    for (service, passed_over), unsent in sorted(stuck.items()):
        named = ", ".join(f"{row.id} ({row.event_type} {row.event_id})" for row in unsent[:_NAMED])
        more = f" and {len(unsent) - _NAMED} more" if len(unsent) > _NAMED else ""
        how = f", although later ones up to id {furthest[service]} were sent" if passed_over else ""
        yield Finding(
            property=NAME,
            says=f"{len(unsent)} event(s) in the outbox were never sent{how}: id {named}{more}",
            service=service,
            edge=f"{service}→broker",
            entity=f"{unsent[0].entity_type} {unsent[0].entity_id}",
            correlation_id=unsent[0].correlation_id,
        )


PROPERTY = Property(NAME, "nothing unsent after the system is quiet", ("rows.outbox", "operations"), check)
