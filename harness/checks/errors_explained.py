"""A 5xx, or a flow's line at error level, has a fault of ours as its reason: a healthy system says no such thing.

Lines about the process are left out: while a stack comes up, services complain of a broker that is not there yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import EventDeadLettered, HttpRequestCompleted, InBand, kind_of
from harness.evidence.evidence import Evidence
from harness.evidence.records import Fault

NAME = "errors_explained"
RECOVERY_S = 5
"""So long after a fault has been healed its consequences may still be seen."""


def check(evidence: Evidence) -> Result:
    """Faults explain by time, not by place: what is cut here is felt there."""
    findings = list(_findings(evidence, [_shadow(fault) for fault in evidence.faults]))
    seen = sum(isinstance(line, HttpRequestCompleted) for line in evidence.lines)
    answered = sum(operation.http_status is not None for operation in evidence.operations)
    floor = 0 if evidence.lost_lines else min(1, answered)
    return answer(NAME, seen=seen, floor=floor, findings=findings)


def _shadow(fault: Fault) -> tuple[datetime, datetime]:
    healed = datetime.fromisoformat(fault.healed_at)
    return datetime.fromisoformat(fault.injected_at), healed + timedelta(seconds=RECOVERY_S)


def _findings(evidence: Evidence, shadows: list[tuple[datetime, datetime]]) -> Iterator[Finding]:
    for line in evidence.lines:
        failed = isinstance(line, HttpRequestCompleted) and line.http_status >= 500
        loud = line.level == "error" and not isinstance(line, EventDeadLettered | HttpRequestCompleted)
        if not isinstance(line, InBand) or not (failed or loud):
            continue
        moment = datetime.fromisoformat(line.ts)
        if any(begin <= moment <= end for begin, end in shadows):
            continue
        if isinstance(line, HttpRequestCompleted):
            says = f"{line.method} {line.route} was answered {line.http_status} while nothing was broken"
        else:
            says = f"an error line while nothing was broken: {kind_of(line)} {line.status}"
        yield Finding(
            property=NAME,
            says=says,
            service=line.service,
            entity=f"{line.entity_type} {line.entity_id}" if line.entity_id else None,
            correlation_id=line.correlation_id,
        )


PROPERTY = Property(NAME, "a 5xx or an error line has a fault of ours as its reason", ("lines", "faults"), check)
