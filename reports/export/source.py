"""What is exported of a run: the spans, findings and faults of all its scenarios, or of the one with a given flow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.checks.judge import ScenarioVerdict
from harness.checks.one_flow import find_flow, target_of
from harness.checks.verdict import Finding
from harness.evidence.evidence import Evidence, load_evidence
from harness.evidence.records import Fault
from harness.evidence.run_directory import EvidenceError, RunDirectory, read_json
from harness.trace.spans import Span, spans_of


@dataclass(slots=True)
class Exported:
    """``target``: the name of the system."""

    target: str
    spans: list[Span] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def exported(run: RunDirectory, flow: str | None) -> Exported:
    """``flow``: the beginning of a correlation id. Raises EvidenceError where there is none, or nothing at all."""
    everything = Exported(target_of(run).name)
    for evidence, only in _evidence(run, flow):
        everything.spans += spans_of(evidence, only)
        everything.faults += evidence.faults
        verdict_file = run.scenario_at(evidence.scenario.name).verdict_file
        if verdict_file.exists():
            found = read_json(verdict_file, ScenarioVerdict).findings
            everything.findings += [one for one in found if only is None or one.correlation_id == only]
    if not everything.spans:
        raise EvidenceError(f"{run.root}: expected scenarios with log lines or operations, and there are none")
    return everything


def _evidence(run: RunDirectory, flow: str | None) -> Iterator[tuple[Evidence, str | None]]:
    if flow is not None:
        found = find_flow(run, flow)
        yield found.evidence, found.correlation_id
        return
    target = target_of(run)
    for directory in run.scenarios():
        yield load_evidence(directory, target), None
