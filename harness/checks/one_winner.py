"""Of several PATCHes that expect the same version of one entity, one succeeds and the others are told 409."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from harness.checks.verdict import Finding, Property, Result, answer
from harness.evidence.evidence import Evidence
from harness.evidence.records import Operation
from harness.target import StageSpec

NAME = "one_winner"
Group = tuple[str, str, int]


def check(evidence: Evidence) -> Result:
    groups: dict[Group, list[Operation]] = defaultdict(list)
    for op in evidence.operations:
        expected = op.arguments.get("expected_version")
        if op.action == "move_stage" and isinstance(expected, int):
            groups[str(op.entity_type), str(op.entity_id), expected].append(op)
    contests = {key: ops for key, ops in groups.items() if len(ops) > 1}
    made_by = {(row.entity_type, row.entity_id, row.version): row.correlation_id for row in evidence.rows.history}
    stages = evidence.target.stages
    stage_at = {(row.entity_type, row.entity_id, row.version): row.to_stage for row in evidence.rows.history}
    stage_at |= {key: stages.initial for key in contests if key[2] == 0}
    findings = [
        Finding(
            property=NAME, says=f"{len(ops)} PATCHes expected version {key[2]}: {says}", service="pipeline",
            edge="client→pipeline", entity=f"{key[0]} {key[1]}", correlation_id=op.correlation_id,
        )
        for key, ops in contests.items()
        for op, says in _problems(
            ops, made_by.get((key[0], key[1], key[2] + 1)), _winnable(ops, stage_at.get(key), stages)
        )
    ]  # fmt: skip
    return answer(NAME, seen=len(contests), floor=0, findings=findings)


def _winnable(ops: list[Operation], stage: str | None, stages: StageSpec) -> bool:
    """Somebody has to win, unless that version never was, is final, or already has the stage that was asked for."""
    unchanged = any(op.outcome == "ok" and op.arguments.get("stage") == stage for op in ops)
    return stage is not None and stage not in stages.terminal and not unchanged


def _problems(ops: list[Operation], next_version_by: str | None, winnable: bool) -> Iterator[tuple[Operation, str]]:
    """``next_version_by``: the correlation id of whoever made the version after the expected one."""
    winners = [op for op in ops if op.outcome == "ok" and op.answer.get("changed")]
    uncertain = [op for op in ops if op.outcome == "unknown"]
    if len(winners) > 1:
        yield winners[1], f"{len(winners)} succeeded"
    if winnable and not winners and not uncertain and next_version_by in {None, *(op.correlation_id for op in ops)}:
        yield ops[0], "none succeeded"
    for op in winners:
        if next_version_by is not None and next_version_by != op.correlation_id:
            yield op, f"one succeeded, but the next version was made by {next_version_by}"
    for op in ops:
        if op.outcome == "refused" and op.http_status != 409:
            yield op, f"a loser was told {op.http_status}, expected 409"


PROPERTY = Property(
    NAME,
    "of the PATCHes on one expected version, one succeeds and the others are told 409",
    ("operations", "rows.history"),
    check,
)
