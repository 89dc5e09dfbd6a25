"""Every line is valid, every process's ``seq`` is without a gap, and no line was repeated or moved."""

from __future__ import annotations

from harness.checks.verdict import Finding, Property, Result, answer
from harness.evidence.evidence import Evidence
from harness.evidence.log_files import JUST_STOPS

NAME = "log_contract"


def check(evidence: Evidence) -> Result:
    """A line that breaks the contract is a failure; a line that is missing makes everything about it unknown."""
    services = {log.file: log.service for log in evidence.logs}
    findings = [
        Finding(
            property=NAME,
            says=f"{broken.file}:{broken.number}: {broken.problem}",
            service=services[broken.file],
            trace=(broken.excerpt,) if broken.excerpt else (),
            at=broken.ts if broken.ts[:1].isdigit() else None,
            severity="major" if broken.problem.endswith(JUST_STOPS) else None,
        )
        for broken in evidence.broken_lines
    ]
    doubts = [f"a line was lost: {lost}" for lost in evidence.lost_lines]
    return answer(NAME, seen=len(evidence.lines), floor=1, findings=findings, doubts=doubts)


PROPERTY = Property(
    NAME, "every line valid, no sequence gap, no line twice or out of order", ("lines",), check, severity="minor"
)
