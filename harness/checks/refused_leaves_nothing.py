"""What a client was refused (4xx) has not happened: it left no row, no event, no message and no effect.

A lead that the pipeline meets for the first time gets its row with the first stage and version 0 also when the move is
refused then: that is no change of the lead, the pipeline has only learnt that there is such a lead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.checks.left_behind import Remain, flows_only_of, named, remains_of, silent_rows_of
from harness.checks.verdict import Finding, Property, Result, answer
from harness.checks.versions import entity_of
from harness.evidence.evidence import Evidence
from harness.evidence.records import Operation

NAME = "refused_leaves_nothing"
_EDGES = dict.fromkeys(("create_lead", "create_deal", "change_lead", "change_user"), "client→crm")
_EDGES |= {"move_stage": "client→pipeline", "replay": "client→automation", "discard": "client→automation"}


def check(evidence: Evidence) -> Result:
    refused = flows_only_of(evidence, "refused")
    remains = remains_of(evidence, refused)
    operations = [operation for asked in refused.values() for operation in asked]
    findings = [
        *(_finding(refused[flow][0], left) for flow, left in remains.items()),
        *(_finding(operation, [remain]) for operation, remain in _rows(evidence, operations)),
    ]
    return answer(NAME, seen=len(operations), floor=0, findings=findings)


def _rows(evidence: Evidence, refused: list[Operation]) -> Iterator[tuple[Operation, Remain]]:
    yield from silent_rows_of(evidence, refused, lambda operation: operation.outcome != "refused")
    there = {("lead", lead.id) for lead in evidence.rows.leads} | {("deal", deal.id) for deal in evidence.rows.deals}
    staged = {(row.entity_type, row.entity_id) for row in evidence.rows.stages} - there
    for operation in refused:
        entity = entity_of(operation)
        if operation.http_status == 404 and entity in staged:
            yield operation, Remain(f"a stage of a {entity[0]} that does not exist", "pipeline")


def _finding(operation: Operation, left: Sequence[Remain]) -> Finding:
    entity = entity_of(operation)
    return Finding(
        property=NAME,
        says=f"{operation.action} was refused with {operation.http_status} and left {named(left)}",
        service=left[0].service, edge=_EDGES.get(operation.action),
        entity=" ".join(entity) if entity else None, correlation_id=operation.correlation_id,
    )  # fmt: skip


PROPERTY = Property(
    NAME,
    "what was answered 4xx left no row, event, message or effect",
    ("operations", "rows", "tap", "resting", "received", "lines"),
    check,
)
