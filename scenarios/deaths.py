"""Which dead letters faults that nobody timed bring about by right: nobody could announce them before it ran.

Every other one is a finding. What is announced here must have a reason that another witness than the log knows of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from harness.contract.log_lines import ActionCompleted, EventDeadLettered, Line
from harness.evidence.clock import later
from harness.evidence.records import ExpectedDeadLetter, Rows
from harness.target import Target

_AFTERWARDS_S = 1.0
"""What failed so shortly after a fault may have begun under it."""

Span = tuple[str, str]


def expected_deaths(
    target: Target, lines: Sequence[Line], rows: Rows, failing: Sequence[Span]
) -> list[ExpectedDeadLetter]:
    """One for each flow. ``failing``: when faults were there that may rightly fail an event at every attempt."""
    found = {}
    for line in lines:
        if isinstance(line, EventDeadLettered) and line.event_id:
            exhausted = line.reason == "exhausted" and line.event_id in _failed_throughout(lines, failing)
            too_late = line.reason == "non_retryable" and line.event_id in set(_moved_too_late(target, rows))
            if exhausted or too_late:
                death = ExpectedDeadLetter(correlation_id=line.correlation_id, reason=line.reason)
                found[line.correlation_id] = death
    return list(found.values())


def _failed_throughout(lines: Sequence[Line], failing: Sequence[Span]) -> set[str]:
    """Events each of whose failed attempts lies in one of these spans."""
    failed: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        if isinstance(line, ActionCompleted) and line.status == "failed" and line.event_id:
            failed[line.event_id].append(line.ts)
    spans = [(begin, later(end, _AFTERWARDS_S)) for begin, end in failing]
    return {
        event_id
        for event_id, moments in failed.items()
        if all(any(begin <= moment <= end for begin, end in spans) for moment in moments)
    }


def _moved_too_late(target: Target, rows: Rows) -> Iterator[str]:
    """Events whose rule moves what has come to its end by then: a terminal stage is never left."""
    ended = {(row.entity_type, row.entity_id) for row in rows.history if row.to_stage in target.stages.terminal}
    moving = {rule.event_type for rule in rows.rules if rule.enabled and rule.action == "move_stage"}
    for event in rows.outbox:
        if event.event_type in moving and (event.entity_type, event.entity_id) in ended:
            yield event.event_id
