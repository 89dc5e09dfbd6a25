"""Every correlation id traces from one root to its end; a dead branch exists only where a kill of ours explains it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import EventPublished, EventSettled, EventStored, RuleEvaluated
from harness.evidence.answers import answered_at
from harness.evidence.evidence import Evidence
from harness.evidence.records import Fault, Planted, RuleRow
from harness.trace.findings import FlowFinding, judge_flow
from harness.trace.flow import Flow, Surroundings, flow_names, lines_by_flow
from harness.trace.in_doubt import in_doubt
from harness.trace.ledger import doubtful
from harness.trace.render import shortest_trace

NAME = "trace_complete"


def surroundings_of(
    rules: Iterable[RuleRow],
    planted: Iterable[Planted],
    killed_instances: Mapping[str, str],
    answered: Mapping[str, str] | None = None,
    faults: Iterable[Fault] = (),
    never_told: frozenset[str] = frozenset(),
) -> Surroundings:
    """What the flows' own lines cannot know, from the other evidence."""
    by_event_type: dict[str, set[str]] = defaultdict(set)
    for rule in rules:
        if rule.enabled:
            by_event_type[rule.event_type].add(rule.rule_id)
    planted = tuple(planted)
    return Surroundings(
        killed_instances=killed_instances,
        answered=answered or {},
        planted_correlations=frozenset(message.correlation_id for message in planted),
        planted_events=frozenset(message.message_id for message in planted),
        rules_by_event_type={event_type: frozenset(names) for event_type, names in by_event_type.items()},
        repeating_edges=frozenset(fault.place for fault in faults if fault.repeats),
        in_doubt=never_told,
    )


def surroundings_in(evidence: Evidence) -> Surroundings:
    """All that the evidence of a scenario says of its flows' surroundings."""
    killed = evidence.killed_instances
    return surroundings_of(
        evidence.rows.rules,
        evidence.scenario.planted,
        killed,
        answered_at(evidence) if killed else {},
        evidence.faults,
        in_doubt(evidence.lines, killed, evidence.faults),
    )


def check(evidence: Evidence) -> Result:
    around = surroundings_in(evidence)
    lost, flows = evidence.lost_lines, flow_names(evidence.lines)
    doubted = doubtful(evidence.lines) | _not_looked_at(evidence, around.rules_by_event_type)
    found = (judge_flow(Flow(*flow), around, lost) for flow in lines_by_flow(evidence.lines, doubted).items())
    judged = [flow for flow in found if flow.broken]
    findings = [finding for flow in judged if flow.state in ("broken", "orphan") for finding in _findings(flow)]
    doubts = [
        f"flow {flow.flow.correlation_id}: {flow.broken[0].edge} misses {flow.broken[0].missing}, but {flow.lost[0]}"
        for flow in judged if flow.state == "unknown"
    ]  # fmt: skip
    asked = {op.correlation_id for op in evidence.operations if op.outcome != "unknown"}
    for correlation_id in sorted(asked - flows):
        says = "a client was answered, but no line of the log tells of it"
        if evidence.lost_lines:
            doubts.append(f"flow {correlation_id}: {says}; {evidence.lost_lines[0]}")
        else:
            findings.append(Finding(property=NAME, says=says, edge="root", correlation_id=correlation_id))
    return answer(NAME, seen=len(flows), floor=len(asked), findings=findings, doubts=doubts)


def _not_looked_at(evidence: Evidence, rules: Mapping[str, frozenset[str]]) -> set[str]:
    """Flows with a delivery that was settled, though not every rule looked at its event: the ledger knows no rules."""
    looks = {(line.parent_span_id, line.rule_id) for line in evidence.of(RuleEvaluated)}
    types = {line.event_id: line.event_type for line in evidence.of(EventPublished)}
    types |= {line.event_id: line.event_type for line in evidence.of(EventStored)}
    return {
        line.correlation_id
        for line in evidence.of(EventSettled)
        for rule_id in rules.get(types.get(line.event_id or "", ""), ())
        if (line.span_id, rule_id) not in looks
    }


def _findings(judged: FlowFinding) -> list[Finding]:
    """One finding an edge: many lines that miss the same thing are one cause."""
    first_by_edge = {obligation.edge: obligation for obligation in reversed(judged.broken)}
    return [
        Finding(
            property=NAME,
            says=f"{edge}: {'expected' if broken.state == 'excess' else 'missing'} {broken.missing}",
            service=broken.by,
            edge=edge,
            entity=f"{broken.line.entity_type} {broken.line.entity_id}" if broken.line.entity_id else None,
            correlation_id=judged.flow.correlation_id,
            trace=tuple(shortest_trace(judged.flow, broken)),
        )
        for edge, broken in first_by_edge.items()
    ]


PROPERTY = Property(
    NAME,
    "one root per correlation id, every parent resolves, no dead branch but one that a kill explains",
    ("lines", "operations", "rows.rules"),
    check,
)
