"""Every event ends in exactly one place: processed, dead-lettered (or discarded by an operator), or still queued."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import DeadLetterDiscarded, DeadLetterReplayed, DependencyChanged, EventSettled
from harness.evidence.evidence import Evidence
from harness.evidence.outages import comes_between
from harness.evidence.records import TapMessage

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
    copies = [
        message
        for message in evidence.tap
        if message.what == "published" and not message.exchange and message.routing_key in evidence.target.broker.queues
    ]
    findings += [
        *_without_papers(evidence, copies),
        *_unlike_their_original(evidence, copies),
        *_multiplied(evidence, copies),
    ]
    return answer(NAME, seen=len(made), floor=len(evidence.scenario.planted), findings=findings)


def _without_papers(evidence: Evidence, copies: Sequence[TapMessage]) -> Iterator[Finding]:
    """A copy into one of the queues (a retry, a dead letter, a replay) carries the ids of what it is a copy of."""
    made = {row.event_id: (row.correlation_id, row.causation_id) for row in evidence.rows.outbox}
    made |= {p.message_id: (p.correlation_id, None) for p in evidence.scenario.planted}
    for copy in copies:
        papers = (copy.correlation_id, copy.headers.get("causation_id"))
        born = made.get(str(copy.message_id))
        if papers != born:
            says = f"has message id {copy.message_id}, correlation and causation {papers}"
            yield _about(copy, f"{says}; {f'made with {born}' if born else 'nobody made that'}")


def _unlike_their_original(evidence: Evidence, copies: Sequence[TapMessage]) -> Iterator[Finding]:
    """A copy says what its original said: whoever reads it later reads the event, not what somebody made of it."""
    exchange = evidence.target.broker.exchange
    published = (m for m in evidence.tap if m.what == "published" and m.exchange == exchange and m.message_id)
    originals: dict[str | None, TapMessage] = {}
    for message in published:
        originals.setdefault(message.message_id, message)
    for copy in copies:
        original = originals.get(copy.message_id)
        if original is None:
            continue
        changed = [name for name in ("type", "app_id") if getattr(copy, name) != getattr(original, name)]
        changed += [] if _same(copy.body, original.body) else ["body"]
        if copy.headers.get("schema_version") != original.headers.get("schema_version"):
            changed.append("schema_version")
        if changed:
            yield _about(copy, f"of {copy.message_id} has another {' and '.join(changed)} than the event had")


def _multiplied(evidence: Evidence, copies: Sequence[TapMessage]) -> Iterator[Finding]:
    """One retry is one copy, and so is one replay. Where something came between, what was not confirmed comes twice."""
    if evidence.killed_instances or evidence.lost_lines or _came_between(evidence):
        return
    broker = evidence.target.broker
    retried = Counter(line.event_id for line in evidence.of(EventSettled) if line.status == "retried")
    replayed = Counter(line.event_id for line in evidence.of(DeadLetterReplayed))
    for what, told, queues in (("retried", retried, broker.retry_queues), ("replayed", replayed, (broker.work_queue,))):
        made = Counter(copy.message_id for copy in copies if copy.routing_key in queues)
        last = {copy.message_id: copy for copy in copies if copy.routing_key in queues}
        for event_id, times in told.items():
            if made[event_id] > times:
                yield _about(
                    last[event_id], f"is one of {made[event_id]} of {event_id}, which was {what} {times} times"
                )


def _came_between(evidence: Evidence) -> bool:
    """A fault of ours, or a broker that did not answer in time on a busy machine."""
    lost_sight = any(
        (line.service, line.dependency, line.status) == ("automation", "broker", "down")
        for line in evidence.of(DependencyChanged)
    )
    return lost_sight or any(comes_between(evidence.target, fault, "automation", "broker") for fault in evidence.faults)


def _same(one: str, other: str) -> bool:
    """The same text, or another way to write the same JSON."""
    if one == other:
        return True
    try:
        return bool(msgspec.json.decode(one) == msgspec.json.decode(other))
    except (msgspec.DecodeError, RecursionError):
        return False


def _about(copy: TapMessage, says: str) -> Finding:
    return Finding(
        property=NAME,
        says=f"a copy into {copy.routing_key} {says}",
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
