"""The stages of an entity form one chain: versions 1…k, each change beginning where the last one ended.

Each link says who made it: automation, if an event was the cause, and somebody else if none was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from harness.checks.verdict import Finding, Property, Result, answer
from harness.evidence.evidence import Evidence
from harness.evidence.records import HistoryRow
from harness.target import StageSpec

NAME = "stage_chain"


def check(evidence: Evidence) -> Result:
    chains: dict[tuple[str, str], list[HistoryRow]] = defaultdict(list)
    for row in evidence.rows.history:
        chains[row.entity_type, row.entity_id].append(row)
    current = {(row.entity_type, row.entity_id): row for row in evidence.rows.stages}
    findings = []
    for key in sorted({*chains, *current}):
        chain = sorted(chains[key], key=lambda row: row.version)
        problems = list(_problems(chain, evidence.target.stages))
        last = chain[-1].to_stage if chain else evidence.target.stages.initial
        version = chain[-1].version if chain else 0
        now = current.get(key)
        if now is None:
            problems.append((chain[-1], "there is history but no current stage"))
        elif (now.stage, now.version) != (last, version):
            says = f"it is in {now.stage} at version {now.version}; its history ends with {last} at version {version}"
            problems.append((chain[-1] if chain else None, says))
        findings += [_finding(key, at, says) for at, says in problems]
    changed = sum(
        op.action == "move_stage" and op.outcome == "ok" and bool(op.answer.get("changed"))
        for op in evidence.operations
    )
    return answer(NAME, seen=len(evidence.rows.history), floor=changed, findings=findings)


def _problems(chain: Sequence[HistoryRow], stages: StageSpec) -> Iterator[tuple[HistoryRow | None, str]]:
    stage = stages.initial
    for expected, row in enumerate(chain, start=1):
        if row.version != expected:
            yield row, f"version {row.version} stands where version {expected} should"
            return
        if row.from_stage != stage:
            yield row, f"version {row.version} begins at {row.from_stage}, but the entity was in {stage}"
        if row.from_stage == row.to_stage:
            yield row, f"version {row.version} changes nothing: {row.from_stage} to {row.to_stage}"
        if row.from_stage in stages.terminal:
            yield row, f"version {row.version} leaves the terminal stage {row.from_stage}"
        if (row.source == "automation") is not (row.causation_id is not None):
            yield row, f"version {row.version} is by {row.source}, caused by {row.causation_id or 'no event'}"
        if row.to_stage not in (*stages.open, *stages.terminal):
            yield row, f"version {row.version} enters a stage that does not exist: {row.to_stage}"
        stage = row.to_stage


def _finding(key: tuple[str, str], row: HistoryRow | None, says: str) -> Finding:
    return Finding(
        property=NAME, says=says, service="pipeline", edge="pipeline→database", entity=f"{key[0]} {key[1]}",
        correlation_id=row.correlation_id if row else None,
    )  # fmt: skip


PROPERTY = Property(
    NAME,
    "versions 1..k without gap; previous to = next from; last = current stage; the transition is allowed",
    ("rows.history", "rows.stages"),
    check,
)
