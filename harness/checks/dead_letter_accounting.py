"""The dead-letter queue holds what had to die and nothing else, with ids, reason and attempts intact."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from harness.checks.errors_explained import RECOVERY_S
from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import (
    ActionCompleted,
    DeadLetterDiscarded,
    DeadLetterReplayed,
    EventDeadLettered,
    EventReceived,
    TimerFired,
)
from harness.evidence.clock import later
from harness.evidence.evidence import Evidence
from harness.evidence.outages import comes_between
from harness.evidence.records import OutboxRow, Planted, RestingMessage

NAME = "dead_letter_accounting"


def check(evidence: Evidence) -> Result:
    queue = evidence.target.broker.dead_letter_queue
    dead = [message for message in evidence.resting if message.queue == queue]
    deaths = evidence.of(EventDeadLettered)
    findings = [
        *_only_what_had_to_die(evidence, dead, deaths),
        *_intact(evidence, dead),
        *_alerted_and_kept(evidence, dead, deaths),
        *_exhausted_after_all_attempts(evidence, deaths),
    ]
    expected = sum(planted.expect != "processed" for planted in evidence.scenario.planted)
    expected += len(evidence.scenario.expected_dead_letters)
    return answer(NAME, seen=len(dead) + len(deaths), floor=expected, findings=findings)


def _expected(evidence: Evidence) -> dict[str, str]:
    """Correlation ids that had to end in a dead letter, with the reason."""
    expected = {p.correlation_id: p.expect for p in evidence.scenario.planted if p.expect != "processed"}
    return expected | {e.correlation_id: e.reason for e in evidence.scenario.expected_dead_letters}


def _only_what_had_to_die(
    evidence: Evidence, dead: list[RestingMessage], deaths: Sequence[EventDeadLettered]
) -> Iterator[Finding]:
    expected = _expected(evidence)
    died = {line.correlation_id: line for line in deaths}
    for line in deaths:
        if line.correlation_id not in expected:
            says = f"event {line.event_id} was dead-lettered ({line.reason}: {line.error}), and nothing had to be"
            yield _finding(says, line.correlation_id)
        elif line.reason != expected[line.correlation_id]:
            says = f"event {line.event_id} died of {line.reason}, expected {expected[line.correlation_id]}"
            yield _finding(says, line.correlation_id)
    for correlation_id, reason in expected.items():
        if correlation_id not in died:
            yield _finding(
                f"had to be dead-lettered ({reason}), but no event.dead_lettered tells of it", correlation_id
            )
    for message in dead:
        if message.correlation_id not in expected and message.correlation_id not in died:
            yield _finding(
                f"message {message.message_id} lies in the dead-letter queue unannounced", message.correlation_id
            )


def _intact(evidence: Evidence, dead: list[RestingMessage]) -> Iterator[Finding]:
    """Ids and headers survive, so that an alert can be joined to history and log."""
    born = {row.event_id: row for row in evidence.rows.outbox}
    planted = {p.message_id: p for p in evidence.scenario.planted}
    for message in dead:
        message_id = message.message_id or ""
        yield from _as_it_was_made(message, born.get(message_id), planted.get(message_id))


def _as_it_was_made(message: RestingMessage, born: OutboxRow | None, planted: Planted | None) -> Iterator[Finding]:
    if born is None and planted is None:
        yield _finding(f"a dead letter with message id {message.message_id}, which nobody made", message.correlation_id)
        return
    correlation_id = born.correlation_id if born else planted.correlation_id if planted else None
    if message.correlation_id != correlation_id:
        says = f"dead letter {message.message_id} has correlation {message.correlation_id}, made as {correlation_id}"
        yield _finding(says, correlation_id)
    if born is not None:
        causation_id = message.headers.get("causation_id")
        if (message.type, causation_id) != (born.event_type, born.causation_id):
            says = (
                f"dead letter {message.message_id} is a {message.type} caused by {causation_id}, "
                f"made as a {born.event_type} caused by {born.causation_id}"
            )
            yield _finding(says, correlation_id)
    if "dead_letter_reason" not in message.headers and "x-death" not in message.headers:
        yield _finding(f"dead letter {message.message_id} says no reason", correlation_id)


def _alerted_and_kept(
    evidence: Evidence, dead: list[RestingMessage], deaths: Sequence[EventDeadLettered]
) -> Iterator[Finding]:
    """Every death raised one alert and left one dead letter, until an operator replayed or discarded it.

    It may leave more where a fault came between the service and the broker: without a confirm it is published again.
    """
    kept = Counter(message.message_id for message in dead)
    triaged = (*evidence.of(DeadLetterReplayed), *evidence.of(DeadLetterDiscarded))
    left = Counter(line.event_id for line in triaged)
    alerts = Counter(line.event_id for line in deaths)
    correlations = {line.event_id: line.correlation_id for line in deaths}
    buried = _burials(evidence, deaths)
    for event_id, count in alerts.items():
        remaining = kept[event_id]
        if remaining > max(count, buried[event_id]) - left[event_id] or (
            remaining < count - left[event_id] and not evidence.killed_instances
        ):
            says = (
                f"event {event_id}: {count} alert(s), {left[event_id]} replayed or discarded, "
                f"but {remaining} dead letter(s) in the queue"
            )
            yield _finding(says, correlations[event_id])
    for message in dead:
        if message.message_id not in alerts:
            yield _finding(f"dead letter {message.message_id} raised no alert", message.correlation_id)


def _burials(evidence: Evidence, deaths: Sequence[EventDeadLettered]) -> Counter[str | None]:
    """How often the broker saw an event published into the queue; of those alone where that may be due to a fault."""
    spans: dict[str | None, tuple[str, str]] = {}
    about = {line.event_id: line for line in deaths}
    for line in evidence.of(EventReceived):
        if line.event_id in about:
            spans.setdefault(line.event_id, (line.ts, about[line.event_id].ts))
    disturbed = {
        event_id
        for event_id, (since, until) in spans.items()
        if any(
            fault.injected_at <= until and later(fault.healed_at, RECOVERY_S) >= since
            for fault in evidence.faults
            if comes_between(evidence.target, fault, about[event_id].service, "broker")
        )
    }
    queue = evidence.target.broker.dead_letter_queue
    return Counter(
        copy.message_id
        for copy in evidence.tap
        if copy.what == "published" and copy.routing_key == queue and copy.message_id in disturbed
    )


def _exhausted_after_all_attempts(evidence: Evidence, deaths: Sequence[EventDeadLettered]) -> Iterator[Finding]:
    most = evidence.target.broker.max_attempts
    exhausted = [line for line in deaths if line.reason == "exhausted"]
    about = {line.event_id for line in exhausted}
    received: dict[str | None, set[int]] = defaultdict(set)
    for delivery in evidence.of(EventReceived):
        if delivery.event_id in about:
            received[delivery.event_id].add(delivery.attempt)
    timed = {line.event_id for line in evidence.of(TimerFired)}
    failures: dict[str | None, list[str]] = defaultdict(list)
    for action in evidence.of(ActionCompleted):
        if action.status == "failed" and action.event_id in about:
            failures[action.event_id].append(action.ts)
    for line, failed in zip(exhausted, _failures_of_each_life(exhausted, deaths, failures), strict=True):
        # A timer's action is tried without a delivery for each attempt: its failures count, each life anew.
        attempts = list(range(1, failed + 1)) if line.event_id in timed else sorted(received[line.event_id])
        if line.attempts != most or attempts != list(range(1, most + 1)):
            says = (
                f"event {line.event_id} given up after {line.attempts} attempts (received: {attempts}), expected {most}"
            )
            yield _finding(says, line.correlation_id)
        if not failures[line.event_id]:
            yield _finding(f"event {line.event_id} was given up although no action of it failed", line.correlation_id)


def _failures_of_each_life(
    exhausted: Sequence[EventDeadLettered],
    deaths: Sequence[EventDeadLettered],
    failures: Mapping[str | None, list[str]],
) -> Iterator[int]:
    """How many of an event's actions failed between its death and the one before it."""
    died: dict[str | None, list[str]] = defaultdict(list)
    for line in deaths:
        died[line.event_id].append(line.ts)
    for line in exhausted:
        moments, failed = died[line.event_id], failures.get(line.event_id, [])
        before = bisect_left(moments, line.ts)
        since = bisect_right(failed, moments[before - 1]) if before else 0
        yield max(0, bisect_left(failed, line.ts) - since)


def _finding(says: str, correlation_id: str | None) -> Finding:
    return Finding(
        property=NAME, says=says, service="automation", edge="automation→broker", correlation_id=correlation_id
    )


PROPERTY = Property(
    NAME,
    "DLQ = planted poison ∪ exhausted attempts; attempts, reason and ids are right; replay keeps effects at one",
    ("resting", "lines", "rows.outbox", "scenario.planted"),
    check,
)
