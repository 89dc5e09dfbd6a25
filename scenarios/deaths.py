"""Which dead letters faults that nobody timed bring about by right: nobody could announce them before it ran.

Every other one is a finding. What is announced here must have a reason that another witness than the log knows of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import inf
from typing import NamedTuple

from harness.contract.log_lines import ActionCompleted, EventDeadLettered, Line
from harness.evidence.clock import later
from harness.evidence.records import ExpectedDeadLetter, Rows
from harness.target import Target

_AFTERWARDS_S = 1.0
"""What failed so shortly after a fault may have begun under it."""


class Excuse(NamedTuple):
    """Between which moments a fault was there, and how many attempts of one event it may rightly cost (None: all)."""

    since: str
    until: str
    most: int | None = None


def expected_deaths(
    target: Target, lines: Sequence[Line], rows: Rows, excuses: Sequence[Excuse]
) -> list[ExpectedDeadLetter]:
    """One for each flow. ``excuses``: of the faults that were there."""
    found = {}
    for line in lines:
        if isinstance(line, EventDeadLettered) and line.event_id:
            exhausted = line.reason == "exhausted" and line.event_id in _failed_throughout(lines, excuses)
            too_late = line.reason == "non_retryable" and line.event_id in set(_moved_too_late(target, rows))
            if exhausted or too_late:
                death = ExpectedDeadLetter(correlation_id=line.correlation_id, reason=line.reason)
                found[line.correlation_id] = death
    return list(found.values())


def _failed_throughout(lines: Sequence[Line], excuses: Sequence[Excuse]) -> set[str]:
    """Events each of whose failed attempts has its excuse."""
    failed: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        if isinstance(line, ActionCompleted) and line.status == "failed" and line.event_id:
            failed[line.event_id].append(line.ts)
    return {event_id for event_id, moments in failed.items() if _all_excused(moments, excuses)}


def _all_excused(moments: Sequence[str], excuses: Sequence[Excuse]) -> bool:
    """Each moment takes one that excuses any number, or else the one that ends first: later moments need the others."""
    ordered = sorted(excuses, key=lambda excuse: (excuse.most is not None, excuse.until))
    left = [inf if excuse.most is None else excuse.most for excuse in ordered]
    for moment in moments:
        there = (n for n, one in enumerate(ordered) if one.since <= moment <= later(one.until, _AFTERWARDS_S))
        taken = next((n for n in there if left[n]), None)
        if taken is None:
            return False
        left[taken] -= 1
    return True


def _moved_too_late(target: Target, rows: Rows) -> Iterator[str]:
    """Events whose rule moves what has come to its end by then: a terminal stage is never left."""
    ended = {(row.entity_type, row.entity_id) for row in rows.history if row.to_stage in target.stages.terminal}
    moving = {rule.event_type for rule in rows.rules if rule.enabled and rule.action == "move_stage"}
    for event in rows.outbox:
        if event.event_type in moving and (event.entity_type, event.entity_id) in ended:
            yield event.event_id
