"""There is enough evidence to believe a green: something was asked, all was recorded, every fault hit something."""

from __future__ import annotations

from harness.checks.verdict import Property, Result, answer
from harness.evidence.evidence import Evidence

NAME = "evidence_sufficient"


def check(evidence: Evidence) -> Result:
    """Only doubts, never findings: what is missing here proves nothing against the system."""
    doubts = [
        f"fault {fault.kind} on {fault.place} hit nothing in flight: {fault.proof}"
        for fault in evidence.faults
        if fault.hits == 0 and not fault.drawn
    ]
    asked = len(evidence.operations) + len(evidence.scenario.planted)
    if not asked:
        doubts.append("no client asked for anything and no message was planted")
    silent = set(evidence.target.services) - {log.service for log in evidence.logs if log.instance}
    doubts += [f"{service} has written no log" for service in sorted(silent)]
    blind = evidence.broker_was_killed or "tap" in evidence.scenario.lacks
    if asked and not evidence.tap and not blind and evidence.rows.outbox:
        doubts.append("the tap saw no message although the outbox holds events")
    if not evidence.scenario.quiet:
        doubts.append("the system did not come to rest; still awaited: " + "; ".join(evidence.scenario.awaited[:5]))
    return answer(NAME, seen=asked, floor=1, doubts=doubts)


PROPERTY = Property(
    NAME,
    "floors met, faults attested",
    ("operations", "faults", "lines", "tap", "scenario"),
    check,
    may_lack=("tap",),
)
