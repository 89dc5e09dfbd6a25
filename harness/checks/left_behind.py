"""What an operation has left behind: all evidence that bears its correlation id, or can only be its own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.checks.versions import WRITES
from harness.contract.log_lines import (
    CallCompleted,
    CallSent,
    HttpRequestCompleted,
    HttpRequestReceived,
    InBand,
    Line,
    kind_of,
)
from harness.evidence.evidence import Evidence
from harness.evidence.records import Operation


@dataclass(frozen=True, slots=True)
class Remain:
    """One thing that shows that something happened in a flow, and which service it is from."""

    what: str
    service: str | None


def flows_only_of(evidence: Evidence, outcome: str) -> dict[str, list[Operation]]:
    """Flows of which all operations ended like this: correlation id → operations. What we planted belongs to nobody."""
    operations: dict[str, list[Operation]] = defaultdict(list)
    for operation in evidence.operations:
        operations[operation.correlation_id].append(operation)
    planted = {message.correlation_id for message in evidence.scenario.planted}
    return {
        flow: asked
        for flow, asked in operations.items()
        if flow not in planted and all(operation.outcome == outcome for operation in asked)
    }


def remains_of(evidence: Evidence, flows: Collection[str]) -> dict[str, tuple[Remain, ...]]:
    """What these flows have left anywhere: in the database, in the broker, in the sinks and in the log."""
    found: dict[str, dict[Remain, None]] = defaultdict(dict)
    for flow, remain in _remains(evidence, frozenset(flows)) if flows else ():
        found[flow][remain] = None
    return {flow: tuple(left) for flow, left in found.items()}


def named(left: Sequence[Remain], most: int = 4) -> str:
    """The first few of them, for a finding."""
    return ", ".join(remain.what for remain in left[:most]) + (", …" if len(left) > most else "")


def _remains(evidence: Evidence, flows: frozenset[str | None]) -> Iterator[tuple[str, Remain]]:
    rows = evidence.rows
    lines = (line for line in evidence.lines if line.correlation_id in flows and _is_effect(line))
    kinds: tuple[tuple[Iterable[Any], Callable[[Any], Remain]], ...] = (
        (rows.history, lambda row: Remain(f"a row of history (version {row.version}, {row.to_stage})", "pipeline")),
        (rows.outbox, lambda row: Remain(f"an outbox row ({row.event_type})", row.service)),
        (rows.executions, lambda row: Remain(f"an execution of rule {row.rule_id}", "automation")),
        (rows.processed, lambda row: Remain(f"a processed {row.event_type}", "automation")),
        (rows.alerts, lambda row: Remain(f"an alert ({row.reason})", "automation")),
        (evidence.tap, lambda message: Remain(f"a message ({message.type})", message.app_id)),
        (evidence.resting, lambda message: Remain(f"a message in {message.queue}", message.app_id)),
        (evidence.received, lambda item: Remain(f"a {item.kind} that was received", "automation")),
        (lines, lambda line: Remain(f"a line {kind_of(line)}", line.service)),
    )
    for found, remain_of in kinds:
        for one in found:
            if one.correlation_id in flows:
                yield one.correlation_id, remain_of(one)


def _is_effect(line: Line) -> bool:
    """Requests are no effects of their own, nor are calls that ask another service for something."""
    if isinstance(line, CallSent):
        return line.method != "GET"
    return isinstance(line, InBand) and not isinstance(line, HttpRequestReceived | HttpRequestCompleted | CallCompleted)


# --- rows that no event tells of --------------------------------------------------------------------------------

Key = tuple[str, str]
"""The action that makes such a row, and by what its operation is known: e-mail, lead, or what it changes."""


def key_of(operation: Operation) -> Key | None:
    """By what a row that this operation made would be known."""
    asked = operation.arguments
    known_by = {
        "create_lead": str(asked.get("email", "")).lower(),
        "create_deal": str(asked.get("lead_id")),
        "change_lead": f"{operation.entity_type} {operation.entity_id}",
        "move_stage": f"{operation.entity_type} {operation.entity_id} {asked.get('stage')}",
    }
    return (operation.action, known_by[operation.action]) if operation.action in WRITES else None


def silent_rows(evidence: Evidence) -> dict[Key, Remain]:
    """Rows that stand where no event says that they were made; such a row has no correlation id to be known by."""
    rows, found = evidence.rows, dict[Key, Remain]()
    born = {(event.event_type, event.entity_id) for event in rows.outbox}
    changes = Counter((event.service, event.entity_id) for event in rows.outbox)
    steps: dict[tuple[str, str], int] = defaultdict(int)
    for step in rows.history:
        steps[step.entity_type, step.entity_id] = max(steps[step.entity_type, step.entity_id], step.version)
    for lead in rows.leads:
        if ("lead.created", lead.id) not in born:
            found["create_lead", lead.email] = Remain(f"lead {lead.id}", "crm")
        elif lead.version > changes["crm", lead.id]:
            found["change_lead", f"lead {lead.id}"] = Remain(f"version {lead.version} of the lead", "crm")
    for deal in rows.deals:
        if ("deal.created", deal.id) not in born:
            found["create_deal", deal.lead_id] = Remain(f"deal {deal.id}", "crm")
    for stage in rows.stages:
        if stage.version > steps[stage.entity_type, stage.entity_id]:
            key = f"{stage.entity_type} {stage.entity_id} {stage.stage}"
            found["move_stage", key] = Remain(f"{stage.stage} as the stage at version {stage.version}", "pipeline")
    return found


def silent_rows_of(
    evidence: Evidence, operations: Iterable[Operation], may_be_of: Callable[[Operation], bool]
) -> Iterator[tuple[Operation, Remain]]:
    """Those that only one of these operations can have made, since nobody else (``may_be_of``) asked for the same."""
    silent = silent_rows(evidence)
    claimed = {key_of(operation) for operation in evidence.operations if may_be_of(operation)} if silent else set()
    for operation in operations:
        key = key_of(operation)
        if key in silent and key not in claimed:
            claimed.add(key)
            yield operation, silent[key]
