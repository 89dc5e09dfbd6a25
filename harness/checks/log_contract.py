"""Every line is valid, every process's ``seq`` is without a gap, and no line was repeated or moved.

Nothing is said past the log, and whoever is asked to end says goodbye in it. The line that ends something is about the
same as the one that began it: what else is in hand, or was before, has no place in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import (
    ActionCompleted,
    ActionStarted,
    CallCompleted,
    CallSent,
    EventDeduplicated,
    EventReceived,
    EventSettled,
    HttpRequestCompleted,
    HttpRequestReceived,
    kind_of,
)
from harness.evidence.evidence import Evidence
from harness.evidence.log_files import JUST_STOPS

NAME = "log_contract"
_BEGIN = {HttpRequestReceived, CallSent, ActionStarted, EventReceived}
_END = {HttpRequestCompleted, CallCompleted, ActionCompleted, EventSettled, EventDeduplicated}
_ABOUT = (
    "correlation_id", "event_id", "causation_id", "rule_id", "entity_type", "entity_id", "span_id", "parent_span_id",
)  # fmt: skip


def check(evidence: Evidence) -> Result:
    """A line that breaks the contract is a failure; a line that is missing makes everything about it unknown."""
    findings = [
        Finding(
            property=NAME,
            says=f"{broken.file}:{broken.number}: {broken.problem}",
            service=log.service,
            trace=(broken.excerpt,) if broken.excerpt else (),
            at=broken.ts if broken.ts[:1].isdigit() else None,
            severity="major" if broken.problem.endswith(JUST_STOPS) else None,
        )
        for log in evidence.logs
        for broken in log.broken
    ]
    findings += _of_two_minds(evidence)
    doubts = [f"a line was lost: {lost}" for lost in evidence.lost_lines]
    return answer(NAME, seen=len(evidence.lines), floor=1, findings=findings, doubts=doubts)


def _of_two_minds(evidence: Evidence) -> Iterator[Finding]:
    """Whatever ends differs in an id from what began: its context was not the one that it should have been."""
    begun: dict[str, Any] = {}
    for line in [line for line in evidence.lines if line.__class__ in _BEGIN or line.__class__ in _END]:
        key = str(getattr(line, "delivery_id", line.span_id))
        if line.__class__ in _BEGIN:
            begun[key] = line
        elif (first := begun.get(key)) is not None and _about(first) != _about(line):
            wrong = [name for name in _ABOUT if getattr(first, name) != getattr(line, name)]
            yield Finding(
                property=NAME,
                says=f"{kind_of(line)} has another {', '.join(wrong)} than its {kind_of(first)}",
                service=line.service,
                entity=f"{first.entity_type} {first.entity_id}" if first.entity_id else None,
                correlation_id=first.correlation_id,
                at=line.ts,
            )


_about = attrgetter(*_ABOUT)


PROPERTY = Property(
    NAME,
    "every line valid, no sequence gap, no line twice or out of order",
    ("lines",),
    check,
    severity="minor",
)
