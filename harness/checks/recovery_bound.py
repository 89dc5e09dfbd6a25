"""After the last fault has been healed, clients are served and the backlog is worked off within their bounds.

Where nobody asks afterwards, nobody has to be served; where nothing waited, there is no backlog. A system that has come
to a standstill before its time is over has not recovered either: more waiting would not help it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import EventDeadLettered, EventSettled, EventStored, InBand, Line
from harness.evidence.clock import later, seconds_between
from harness.evidence.evidence import Evidence
from harness.evidence.log_files import END
from harness.evidence.records import Operation
from harness.target import Bounds

NAME = "recovery_bound"


def check(evidence: Evidence) -> Result:
    bounds = evidence.target.bounds
    if bounds is None or not evidence.faults:
        return answer(NAME, seen=0, floor=0)
    healed = max(fault.healed_at for fault in evidence.faults)
    asked = _asked_since(evidence, healed)
    backlog = _backlog_at(evidence, healed)
    findings = [*_not_served(asked, healed, bounds), *_not_worked_off(evidence, backlog, healed, bounds)]
    doubts = [f"a line was lost: {lost}" for lost in evidence.lost_lines] if backlog and not findings else []
    return answer(NAME, seen=len(backlog) + sum(map(len, asked.values())), floor=0, findings=findings, doubts=doubts)


# --- clients ----------------------------------------------------------------------------------------------------


def _asked_since(evidence: Evidence, healed: str) -> dict[str, list[Operation]]:
    """What clients asked for after this moment, by action."""
    clock = evidence.scenario.clock
    asked: dict[str, list[Operation]] = defaultdict(list)
    if clock is not None:
        wall, monotonic_ns = clock
        healed_ns = monotonic_ns - round(seconds_between(healed, wall) * 1e9)
        for operation in evidence.operations:
            if operation.invoked_ns >= healed_ns:
                asked[operation.action].append(operation)
    return asked


def _not_served(asked: dict[str, list[Operation]], healed: str, bounds: Bounds) -> Iterator[Finding]:
    """From when the first asked until the first was served, or until the last was turned away. A refusal serves."""
    for action, operations in asked.items():
        begun = min(operation.invoked_ns for operation in operations)
        served = [operation.returned_ns for operation in operations if operation.outcome != "unknown"]
        until = min(served) if served else max(operation.returned_ns for operation in operations)
        waited_s = (until - begun) / 1e9
        if waited_s > bounds.first_success_s:
            how = f"was served only {waited_s:.1f} s" if served else f"was not served for {waited_s:.1f} s"
            yield Finding(
                property=NAME,
                says=f"{action} {how} after the first who asked since the last fault healed at {healed}, "
                f"expected within {bounds.first_success_s:g} s",
                correlation_id=operations[0].correlation_id,
            )


# --- the backlog ------------------------------------------------------------------------------------------------


def _backlog_at(evidence: Evidence, healed: str) -> dict[str, tuple[EventStored, str | None]]:
    """Events that were stored and not done with at this moment, and when each was done with at last."""
    waiting: dict[str, EventStored] = {}
    done: dict[str, str] = {}
    for line in evidence.lines:
        if isinstance(line, EventStored) and line.ts <= healed:
            waiting[line.event_id] = line
        elif line.event_id and _is_the_end(line):
            done.setdefault(line.event_id, line.ts)
    return {
        event_id: (line, done.get(event_id))
        for event_id, line in waiting.items()
        if done.get(event_id, healed) >= healed
    }


def _is_the_end(line: Line) -> bool:
    """What the broker gave up on is buried without being settled."""
    return isinstance(line, EventDeadLettered) or (isinstance(line, EventSettled) and line.status == "acked")


def _not_worked_off(
    evidence: Evidence, backlog: dict[str, tuple[EventStored, str | None]], healed: str, bounds: Bounds
) -> Iterator[Finding]:
    """At most one finding for what came too late, and one for what never came."""
    limit = later(healed, bounds.backlog_s)
    late = [(line, done) for line, done in backlog.values() if done is not None and done > limit]
    if late:
        waited_s = seconds_between(healed, max(done for _, done in late))
        says = f"{waited_s:.1f} s later, expected within {bounds.backlog_s:g} s"
        yield _finding(late[0][0], len(late), f"when the last fault healed at {healed}, and were done with {says}")
    never = [line for line, done in backlog.values() if done is None]
    if never and not evidence.lost_lines:
        until = evidence.lines[-1].ts if evidence.scenario.until == END else evidence.scenario.until
        stirred = next(line.ts for line in reversed(evidence.lines) if isinstance(line, InBand))
        silent_s = seconds_between(stirred, until)
        if until > limit or silent_s >= bounds.standstill_s:
            says = f"{seconds_between(healed, until):.1f} s later; nothing had stirred for {silent_s:.1f} s"
            yield _finding(never[0], len(never), f"when the last fault healed at {healed}, and still did {says}")


def _finding(line: EventStored, count: int, says: str) -> Finding:
    return Finding(
        property=NAME,
        says=f"{count} event(s) waited {says}",
        service="automation",
        entity=f"{line.entity_type} {line.entity_id}",
        correlation_id=line.correlation_id,
    )


PROPERTY = Property(
    NAME,
    "first success and empty backlog within their bounds after the last heal",
    ("faults", "operations", "lines"),
    check,
)
