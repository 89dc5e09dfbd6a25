"""Timers: due when their rule says, not fired before that, nor after their stage was left, and cancelled only then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain

from harness.checks.verdict import Finding
from harness.contract.log_lines import ChangeCommitted, EventReceived, TimerCancelled, TimerFired, TimerScheduled
from harness.evidence.clock import later
from harness.evidence.evidence import Evidence

LOOKED_WITHIN_S = 1
"""So long may lie between the last look at a stage and the line that says a timer has fired."""
CLOCKS_DIFFER_S = 0.25
"""So much the clock that says when a timer is due may differ from that of the log."""


def wrongly_timed(evidence: Evidence, property: str) -> Iterator[Finding]:
    wrong = (_due_at_another_time, _fired_too_early, _fired_too_late, _cancelled_in_its_stage)
    for line, says in chain.from_iterable(look(evidence) for look in wrong):
        yield Finding(
            property=property, says=f"a timer of rule {line.rule_id} {says}", service="automation",
            edge="automation→pipeline", entity=f"{line.entity_type} {line.entity_id}",
            correlation_id=line.correlation_id,
        )  # fmt: skip


def _due_at_another_time(evidence: Evidence) -> Iterator[tuple[TimerScheduled, str]]:
    """It is set between the first delivery of its event and the line that says so, and waits as long as its rule says.

    A rule that does not say how long leaves it to the system.
    """
    waits = {rule.rule_id: rule.parameters.get("after_ms") for rule in evidence.rows.rules}
    delivered: dict[str | None, str] = {}
    for received in evidence.of(EventReceived) if evidence.of(TimerScheduled) else ():
        delivered.setdefault(received.event_id, received.ts)
    for line in evidence.of(TimerScheduled):
        after_ms = waits.get(line.rule_id)
        if after_ms is None or line.event_id not in delivered:
            continue
        first = later(delivered[line.event_id], after_ms / 1000 - CLOCKS_DIFFER_S)
        last = later(line.ts, after_ms / 1000 + CLOCKS_DIFFER_S)
        if not first <= line.due_at <= last:
            yield line, f"is due at {line.due_at}, expected between {first} and {last}: {after_ms} ms after its event"


def _fired_too_early(evidence: Evidence) -> Iterator[tuple[TimerFired, str]]:
    for line in evidence.of(TimerFired):
        if later(line.ts, CLOCKS_DIFFER_S) < line.due_at:
            yield line, f"fired at {line.ts}, before it was due at {line.due_at}"


def _fired_too_late(evidence: Evidence) -> Iterator[tuple[TimerFired, str]]:
    """A timer that is due looks again: what has left its stage well before is not told of."""
    version_of = {row.event_id: row.entity_version for row in evidence.rows.outbox}
    timed = {fired.entity_id for fired in evidence.of(TimerFired)}
    left_at: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for move in evidence.of(ChangeCommitted) if timed else ():
        if move.to_stage is not None and move.entity_id in timed:
            left_at[move.entity_id].append((move.entity_version, move.ts))
    for line in (line for line in evidence.of(TimerFired) if line.event_id in version_of):
        last_look = later(line.ts, -LOOKED_WITHIN_S)
        if any(version > version_of[line.event_id] and ts < last_look for version, ts in left_at[line.entity_id]):
            yield line, "fired although its stage had been left"


def _cancelled_in_its_stage(evidence: Evidence) -> Iterator[tuple[TimerCancelled, str]]:
    """Only who leaves the stage cancels the timer that waits in it."""
    version_of = {row.event_id: row.entity_version for row in evidence.rows.outbox}
    newest: dict[str | None, int] = {}
    for step in evidence.rows.history if evidence.of(TimerCancelled) else ():
        newest[step.entity_id] = max(step.version, newest.get(step.entity_id, 0))
    for line in (line for line in evidence.of(TimerCancelled) if line.event_id in version_of):
        if newest.get(line.entity_id, 0) <= version_of[line.event_id]:
            yield line, "was cancelled although its stage was not left"
