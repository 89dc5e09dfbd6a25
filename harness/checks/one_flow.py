"""One flow of a run, found by the beginning of its correlation id, with all that the witnesses say of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.checks.run_verdict import RunRecord
from harness.checks.trace_complete import surroundings_in
from harness.contract.log_lines import InBand
from harness.evidence.evidence import Evidence, load_evidence
from harness.evidence.records import ScenarioRecord
from harness.evidence.run_directory import EvidenceError, RunDirectory, ScenarioDirectory, read_json
from harness.target import Target, load_target
from harness.trace.findings import FlowFinding, judge_flow
from harness.trace.flow import Flow

MOST_NAMED = 5
_TS = re.compile(rb'"ts":\s*"([^"]*)"')


@dataclass(frozen=True, slots=True)
class OneFlow:
    """A flow and the evidence of its scenario. ``judged``: None if no line of the log tells of it."""

    correlation_id: str
    evidence: Evidence
    judged: FlowFinding | None


def find_flow(run: RunDirectory, beginning: str) -> OneFlow:
    """The one flow whose correlation id begins so. Raises EvidenceError if there is none, or more than one."""
    found: dict[str, ScenarioDirectory] = {}
    for correlation_id, directory in _mentions(run, beginning):
        found.setdefault(correlation_id, directory)
    if not found:
        raise EvidenceError(f"no flow of {run.root} has a correlation id that begins with {beginning!r}")
    if len(found) > 1:
        some = ", ".join(sorted(found)[:MOST_NAMED])
        raise EvidenceError(f"{len(found)} flows of {run.root} begin with {beginning!r}, such as {some}")
    ((correlation_id, directory),) = found.items()
    return flow_of(load_evidence(directory, target_of(run)), correlation_id)


def target_of(run: RunDirectory) -> Target:
    """The system that a run was pointed at. Raises EvidenceError, TargetError."""
    return load_target(Path(read_json(run.run_file, RunRecord).target_file))


def _mentions(run: RunDirectory, beginning: str) -> Iterator[tuple[str, ScenarioDirectory]]:
    """Where such an id stands: in a scenario's own files, or in a log line of its time."""
    pattern = re.compile(rb'"correlation_id":\s*"(' + re.escape(beginning.encode()) + rb'[^"]*)"')
    records = {directory: read_json(directory.scenario_file, ScenarioRecord) for directory in run.scenarios()}
    for directory in records:
        witnesses = (
            directory.operations_file, directory.tap_file, directory.rows_file,
            directory.resting_file, directory.sinks_file,
        )  # fmt: skip
        for path in witnesses:
            for match in pattern.finditer(_content(path)):
                yield match[1].decode(), directory
    for stack in {record.stack for record in records.values()}:
        for correlation_id, ts in _logged(run.logs(stack), pattern):
            for directory, record in records.items():
                if record.stack == stack and record.since < ts <= record.until:
                    yield correlation_id, directory


def _logged(folder: Path, pattern: re.Pattern[bytes]) -> Iterator[tuple[str, str]]:
    """Each such id in a folder of logs, with the moment of its first line in each file."""
    for path in sorted(folder.glob("*.ndjson")):
        content = _content(path)
        seen: set[bytes] = set()
        for match in pattern.finditer(content):
            if match[1] in seen:
                continue
            seen.add(match[1])
            begin = content.rfind(b"\n", 0, match.start()) + 1
            end = content.find(b"\n", match.end())
            ts = _TS.search(content, begin, end if end >= 0 else len(content))
            if ts is not None:
                yield match[1].decode(), ts[1].decode()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"{path}: {error}") from error


def flow_of(evidence: Evidence, correlation_id: str) -> OneFlow:
    """One flow of a scenario, judged as ``trace_complete`` judges it."""
    lines = [line for line in evidence.lines if isinstance(line, InBand) and line.correlation_id == correlation_id]
    if not lines:
        return OneFlow(correlation_id, evidence, None)
    judged = judge_flow(Flow(correlation_id, lines), surroundings_in(evidence), evidence.lost_lines)
    return OneFlow(correlation_id, evidence, judged)
