"""A 5xx, a flow's line at error level, or a needless publish has a fault of ours as its reason.

A healthy system says no such thing: each event is taken by the broker, and then not published again. A confirm that
does not come in time is no trouble of its own: a slow machine is reason enough.
Neither an outage nor an overload is a reason for a 500, which is an error that nobody has thought of: of these,
somebody has (503).
Lines about the process are left out: while a stack comes up, services complain of a broker that is not there yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import EventDeadLettered, EventPublished, HttpRequestCompleted, InBand, kind_of
from harness.evidence.evidence import Evidence
from harness.evidence.outages import outages
from harness.evidence.records import OVERLOAD, PLANTED, Fault

NAME = "errors_explained"
Shadow = tuple[datetime, datetime]
RECOVERY_S = 5
"""So long after a fault has been healed its consequences may still be seen."""


def check(evidence: Evidence) -> Result:
    """Faults explain by time, not by place: what is cut here is felt there. A message of ours breaks nothing."""
    breaking = [fault for fault in evidence.faults if not fault.kind.startswith(PLANTED)]
    outage = {id(outage.fault) for outage in outages(evidence.target, breaking)}
    foreseen = [fault for fault in breaking if id(fault) in outage or fault.kind == OVERLOAD]
    unforeseen = [_shadow(fault) for fault in breaking if fault not in foreseen]
    findings = list(_findings(evidence, [_shadow(fault) for fault in breaking], unforeseen))
    seen = len(evidence.of(HttpRequestCompleted))
    answered = sum(operation.http_status is not None for operation in evidence.operations)
    floor = 0 if evidence.lost_lines else min(1, answered)
    return answer(NAME, seen=seen, floor=floor, findings=findings)


def _shadow(fault: Fault) -> Shadow:
    healed = datetime.fromisoformat(fault.healed_at)
    return datetime.fromisoformat(fault.injected_at), healed + timedelta(seconds=RECOVERY_S)


def _findings(evidence: Evidence, shadows: Sequence[Shadow], unforeseen: Sequence[Shadow]) -> Iterator[Finding]:
    """``unforeseen``: the shadows of what breaks things in a way that may surprise a service."""
    for line, says in _troubles(evidence):
        moment = datetime.fromisoformat(line.ts)
        surprised = isinstance(line, HttpRequestCompleted) and line.http_status == 500
        shadowed = _lies_in(moment, shadows)
        if (shadowed and not surprised) or _lies_in(moment, unforeseen):
            continue
        broken = "was broken but what somebody has thought of" if shadowed else "was broken"
        yield Finding(
            property=NAME,
            says=f"{says} while nothing {broken}",
            service=line.service,
            entity=f"{line.entity_type} {line.entity_id}" if line.entity_id else None,
            correlation_id=line.correlation_id,
        )


def _lies_in(moment: datetime, shadows: Sequence[Shadow]) -> bool:
    return any(begin <= moment <= end for begin, end in shadows)


def _troubles(evidence: Evidence) -> Iterator[tuple[InBand, str]]:
    for answered in evidence.of(HttpRequestCompleted):
        if answered.http_status >= 500:
            yield answered, f"{answered.method} {answered.route} was answered {answered.http_status}"
    confirmed: set[str | None] = set()
    for tried in evidence.of(EventPublished):
        if tried.event_id in confirmed:
            yield tried, f"{tried.event_type} was published once more after its confirm"
        elif tried.status in ("nacked", "returned"):
            yield tried, f"publishing {tried.event_type} ended {tried.status}"
        elif tried.status == "confirmed":
            confirmed.add(tried.event_id)
    for line in [line for line in evidence.lines if line.level == "error"]:
        if isinstance(line, InBand) and not isinstance(line, HttpRequestCompleted | EventPublished | EventDeadLettered):
            yield line, f"an error line, {kind_of(line)} {line.status},"


PROPERTY = Property(
    NAME,
    "a 5xx, an error line or a needless publish has a fault of ours as its reason",
    ("lines", "faults"),
    check,
    severity="minor",
)
