"""Clients, log, broker, database and sinks tell one story; where they do not, it says between whom it was lost.

Every promise can be kept by the word of one witness alone: here each must be borne out by the next on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from harness.checks.verdict import Finding, Property, Result, answer
from harness.evidence.evidence import Evidence
from harness.trace.commits import changes_disagree
from harness.trace.disagreement import Disagreement
from harness.trace.effects import effects_disagree
from harness.trace.journeys import Journey, contradictions, journeys, where_it_stopped
from harness.trace.moments import moments_disagree
from harness.trace.outside import outside_disagrees
from harness.trace.reliability import reliability

NAME = "sources_agree"
CHANGES = ("create_lead", "create_deal", "move_stage")


def check(evidence: Evidence) -> Result:
    """A contradiction that a missing line may explain is a doubt."""
    made = journeys(evidence)
    told = list(_disagreements(evidence, made))
    findings = [_finding(one) for one in told if one.in_doubt is None]
    holes = {hole.service: hole for hole in reversed(evidence.lost_lines)}
    doubts = [f"{one.says}; {holes[one.in_doubt]}" for one in told if one.in_doubt is not None]
    acknowledged = sum(
        op.action in CHANGES and op.outcome == "ok" and op.answer.get("changed") is not False
        for op in evidence.operations
    )
    return answer(NAME, seen=len(made), floor=acknowledged, findings=findings, doubts=doubts)


def _disagreements(evidence: Evidence, made: dict[str, Journey]) -> Iterator[Disagreement]:
    trust = reliability(evidence)
    stops = (stop for journey in made.values() if (stop := where_it_stopped(journey, trust)))
    contradicted = (one for journey in made.values() for one in contradictions(journey, trust))
    outside = chain(effects_disagree(evidence), outside_disagrees(evidence, trust), _misnamed(evidence))
    return chain(stops, contradicted, changes_disagree(evidence, trust), outside, moments_disagree(evidence))


def _misnamed(evidence: Evidence) -> Iterator[Disagreement]:
    """An answer names its flow, and a refusal says what it is: with another id, whoever asks us why finds nothing."""
    for operation in evidence.operations:
        meant: dict[str, object] = {"X-Correlation-Id": operation.correlation_id}
        told: dict[str, object] = {} if operation.flow_told is None else {"X-Correlation-Id": operation.flow_told}
        if operation.outcome == "refused":
            meant |= {"status": operation.http_status, "correlation_id": operation.correlation_id}
            told |= {name: operation.answer.get(name) for name in ("status", "correlation_id")}
        wrong = ", ".join(f"{name} {what or 'missing'}" for name, what in told.items() if what != meant[name])
        if wrong:
            yield Disagreement(
                says=f"a client was answered {operation.http_status}, and the answer says of itself: {wrong}",
                service="",
                edge="root",
                correlation_id=operation.correlation_id,
            )


def _finding(one: Disagreement) -> Finding:
    return Finding(
        property=NAME, says=one.says, service=one.service, edge=one.edge, entity=one.entity,
        correlation_id=one.correlation_id, trace=one.trace, severity="critical" if one.lost else None,
    )  # fmt: skip


PROPERTY = Property(
    NAME,
    "what one witness saw go in, the next saw come out: clients, log, broker, database and sinks tell one story",
    ("operations", "lines", "tap", "resting", "rows", "received", "faults"),
    check,
)
