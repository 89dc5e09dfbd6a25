"""Findings made ready to act on: how grave, when, while what was broken, the trace, the command that does it again.

Costs nothing while there are none: the flows of the findings that are kept are looked up once, when the first is.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property

import msgspec

from harness.checks.causes import KEPT, kept
from harness.checks.trace_complete import surroundings_in
from harness.checks.verdict import Finding, Result, Severity
from harness.contract.log_lines import InBand
from harness.evidence.evidence import Evidence
from harness.evidence.records import Fault
from harness.trace.edges import obligations
from harness.trace.flow import Flow, Surroundings
from harness.trace.render import claim_trace, shortest_trace, trace_of_texts
from harness.trace.witnesses import operation_text

AFTERMATH_S = 5
"""So long after a fault has been healed its consequences may still be seen."""
AHEAD_S = 1
"""What never came may have been prevented by a fault that began just after the last line."""
_ID = re.compile(r"[\w-]{36}")


def explained(results: Sequence[Result], evidence: Evidence, severities: Mapping[str, Severity]) -> tuple[Result, ...]:
    """The same results with findings that say all there is to know, no more of a kind than a person can use."""
    results = [_cut(result) for result in results]
    known = _Known(evidence, [finding for result in results for finding in result.findings])
    return tuple(
        msgspec.structs.replace(
            result,
            findings=tuple(known.explained(f, severities.get(result.property, "major")) for f in result.findings),
        )
        for result in results
    )


def _cut(result: Result) -> Result:
    doubts = result.doubts
    if len(doubts) > KEPT:
        doubts = (*doubts[:KEPT], f"… and {len(doubts) - KEPT} more doubts")
    return msgspec.structs.replace(result, findings=kept(result.findings), doubts=doubts)


class _Known:
    """What the evidence holds about the flows of the findings."""

    def __init__(self, evidence: Evidence, findings: Sequence[Finding]) -> None:
        self._evidence = evidence
        self._command = evidence.scenario.again or gate_command(evidence.scenario.name, evidence.scenario.seed)
        self._wanted = {f.correlation_id for f in findings if f.correlation_id}
        self._named = {word for f in findings if not f.correlation_id for word in _words(f)}
        if self._named:
            self._wanted |= set(self._flows.values())

    @cached_property
    def _flows(self) -> dict[str, str]:
        """The first flow that tells of an event or entity, for findings that know no flow."""
        flows: dict[str, str] = {}
        for line in self._evidence.lines:
            for name in (line.event_id, line.entity_id):
                if name in self._named and line.correlation_id is not None:
                    flows.setdefault(str(name), line.correlation_id)
        return flows

    @cached_property
    def _lines(self) -> dict[str, list[InBand]]:
        lines: dict[str, list[InBand]] = defaultdict(list)
        for line in self._evidence.lines if self._wanted else ():
            if line.correlation_id in self._wanted and isinstance(line, InBand):
                lines[line.correlation_id].append(line)
        return lines

    @cached_property
    def _operations(self) -> dict[str, list[str]]:
        texts: dict[str, list[str]] = defaultdict(list)
        for operation in self._evidence.operations:
            if operation.correlation_id in self._wanted:
                texts[operation.correlation_id].append(operation_text(operation))
        return texts

    @cached_property
    def _around(self) -> Surroundings:
        return surroundings_in(self._evidence)

    def explained(self, finding: Finding, severity: Severity) -> Finding:
        flow = finding.correlation_id or next((self._flows[w] for w in _words(finding) if w in self._flows), None)
        lines = self._lines.get(flow or "", [])
        span = (finding.at, finding.at) if finding.at else (lines[0].ts, lines[-1].ts) if lines else None
        return msgspec.structs.replace(
            finding,
            correlation_id=flow,
            severity=finding.severity or severity,
            at=finding.at or (lines[-1].ts if lines else None),
            fault=fault_text(self._evidence.faults, span),
            scenario=self._evidence.scenario.name,
            reproduce=self._command,
            trace=finding.trace or (tuple(self._trace(finding, flow, lines)) if flow else ()),
        )

    def _trace(self, finding: Finding, correlation_id: str, lines: list[InBand]) -> list[str]:
        """The broken edge of its flow, if there is one; or else what the flow says of the things that it names."""
        if not lines:
            return trace_of_texts(self._operations.get(correlation_id, []), finding.service, finding.says)
        flow, about = Flow(correlation_id, lines), frozenset(_words(finding))
        broken = [obligation for obligation in obligations(flow, self._around) if not obligation.holds]
        if broken:
            named = (b for b in broken if b.line.event_id in about or b.line.entity_id in about)
            return shortest_trace(flow, next(named, broken[0]))
        return claim_trace(flow, about, finding.service, finding.says)


def _words(finding: Finding) -> list[str]:
    """The ids that a finding names."""
    return _ID.findall(f"{finding.says} {finding.entity}")


def fault_text(faults: Sequence[Fault], span: tuple[str, str] | None) -> str | None:
    """The faults that were active between two moments, or shortly before; all of them if no moment is known."""
    if not faults:
        return None
    since, until = (_moment(span[0]), _moment(span[1])) if span else (None, None)
    if since is None or until is None:
        return f"{_named(faults)} (at some time during the scenario)"
    since, until = since - timedelta(seconds=AFTERMATH_S), until + timedelta(seconds=AHEAD_S)
    active = [
        fault
        for fault in faults
        if datetime.fromisoformat(fault.injected_at) <= until and datetime.fromisoformat(fault.healed_at) >= since
    ]
    return _named(active) if active else "none was active then"


def _moment(ts: str) -> datetime | None:
    """None for what looks like a timestamp and is no date."""
    try:
        return datetime.fromisoformat(ts)
    except ValueError:
        return None


def _named(faults: Sequence[Fault]) -> str:
    return "; ".join(dict.fromkeys(f"{fault.kind} on {fault.place}" for fault in faults))


def gate_command(scenario: str, seed: int) -> str | None:
    """How to run this scenario again; None for what is no scenario."""
    _file, found, name = scenario.rpartition("::")
    if not found:
        return None
    wanted = " and ".join(re.findall(r"[\w:+.\[\]\\/-]+", name))  # the words that pytest's -k can say
    return f'gauntlet gate -k "{wanted}" --seed {seed}'
