"""Every event ends in exactly one place: processed, dead-lettered (or discarded by an operator), or still queued."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import DeadLetterDiscarded
from harness.evidence.evidence import Evidence

NAME = "message_conservation"


def check(evidence: Evidence) -> Result:
    """Places of each event id are counted; an id that nobody made is as wrong as one that is nowhere."""
    places: dict[str, list[str]] = defaultdict(list)
    for row in evidence.rows.processed:
        places[row.event_id].append("processed")
    for message in evidence.resting:
        places[message.message_id or "(a message without id)"].append(message.queue)
    for line in evidence.of(DeadLetterDiscarded):
        if line.event_id:
            places[line.event_id].append("discarded")
    made = {row.event_id: (f"{row.entity_type} {row.entity_id}", row.correlation_id) for row in evidence.rows.outbox}
    made |= {p.message_id: (f"planted: {p.why}", p.correlation_id) for p in evidence.scenario.planted}
    findings = []
    for event_id in sorted({*places, *made}):
        where = sorted(set(places.get(event_id, [])))
        entity, correlation_id = made.get(event_id, (None, None))
        if event_id not in made:
            says = f"event {event_id} is {' and '.join(where)}, but nobody made it"
        elif not where:
            says = f"event {event_id} is lost: neither processed, nor dead-lettered, nor in any queue"
        elif len(where) > 1:
            says = f"event {event_id} is in more than one place: {' and '.join(where)}"
        else:
            continue
        findings.append(
            Finding(
                property=NAME,
                says=says,
                service="automation",
                edge="automation→broker",
                entity=entity,
                correlation_id=correlation_id,
            )
        )
    findings += _copies_without_papers(evidence)
    return answer(NAME, seen=len(made), floor=len(evidence.scenario.planted), findings=findings)


def _copies_without_papers(evidence: Evidence) -> Iterator[Finding]:
    """A copy into one of the queues (a retry, a dead letter, a replay) carries the ids of what it is a copy of."""
    made = {row.event_id: (row.correlation_id, row.causation_id) for row in evidence.rows.outbox}
    made |= {p.message_id: (p.correlation_id, None) for p in evidence.scenario.planted}
    for copy in evidence.tap:
        if copy.what != "published" or copy.exchange or copy.routing_key not in evidence.target.broker.queues:
            continue
        papers = (copy.correlation_id, copy.headers.get("causation_id"))
        born = made.get(str(copy.message_id))
        if papers != born:
            says = (
                f"a copy into {copy.routing_key} has message id {copy.message_id}, correlation and causation {papers}"
            )
            yield Finding(
                property=NAME,
                says=f"{says}; {f'made with {born}' if born else 'nobody made that'}",
                service="automation",
                edge="automation→broker",
                correlation_id=copy.correlation_id,
            )


PROPERTY = Property(
    NAME,
    "every event id ends in exactly one place: processed, dead-lettered or queued; nothing unexpected",
    ("rows.outbox", "rows.processed", "resting", "tap", "scenario.planted", "lines"),
    check,
    severity="critical",
)
