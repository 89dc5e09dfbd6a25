"""What clients were told of versions: each answer ties one version of one thing to the time of one operation.

Each service counts for itself: crm the versions of a lead or a deal, of which version 0 is that it is not there; the
pipeline those of a stage, of which version 0 is the first stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from harness.evidence.evidence import Evidence
from harness.evidence.records import Operation

WRITES = ("create_lead", "create_deal", "change_lead", "move_stage")
How = Literal["made", "begun", "saw", "reached", "not"]
"""``made``: this operation made the version. ``begun``: it was made in this operation's flow, by whomever and whenever.
``saw``: it was the latest at some moment of the operation. ``reached``: that one or a later one was. ``not``: another
one was."""
NOWHERE = -1
"""The version of a stage that it never had."""


class Register(NamedTuple):
    """One thing that has versions."""

    service: str
    entity_type: str
    entity_id: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one operation tells of one version."""

    register: Register
    how: How
    version: int
    operation: Operation


def entity_of(operation: Operation) -> tuple[str, str] | None:
    """The lead or deal that an operation is about; one that it made is named by the answer."""
    entity_id = operation.entity_id or operation.answer.get("id")
    return (operation.entity_type, str(entity_id)) if operation.entity_type and entity_id else None


def register_of(operation: Operation) -> Register | None:
    """What it is told the version of, if that is one thing: of one lead, crm and the pipeline tell different ones."""
    entity = entity_of(operation)
    return None if entity is None else Register(_asked(operation), *entity)


def tells_a_version(operation: Operation) -> bool:
    """Whether its answer has to hold a version: it changed one lead or deal, or looked at one (not at a list)."""
    looked = operation.action == "read" and "items" not in operation.answer
    return operation.outcome == "ok" and entity_of(operation) is not None and (looked or operation.action in WRITES)


def sightings(evidence: Evidence) -> Iterator[Sighting]:
    """All that the operations tell, and what the outbox adds: in whose flow the other versions were made."""
    first_version_of = _first_versions(evidence)
    told: set[tuple[Register, int, str]] = set()
    for operation in evidence.operations:
        if operation.outcome == "ok":
            for sighting in _acknowledged(operation):
                if sighting.how == "made":
                    told.add((sighting.register, sighting.version, operation.correlation_id))
                yield sighting
        elif operation.outcome == "refused":
            yield from _refused(operation, first_version_of)
    for sighting in _begun(evidence):
        if (sighting.register, sighting.version, sighting.operation.correlation_id) not in told:
            yield sighting


def _acknowledged(operation: Operation) -> Iterator[Sighting]:
    register, version = register_of(operation), operation.answer.get("version")
    if register is None or not isinstance(version, int):
        return
    made = operation.action.startswith("create") or bool(operation.answer.get("changed"))
    yield Sighting(register, "made" if made else "saw", version, operation)


def _asked(operation: Operation) -> str:
    """The service whose versions an operation is told."""
    return "pipeline" if operation.action == "move_stage" or "stage" in operation.answer else "crm"


def _refused(operation: Operation, first_version_of: dict[tuple[str, str, str], int]) -> Iterator[Sighting]:
    """A refusal is a look: at nothing (404), at another version than the expected one, or at a final stage (409)."""
    told, kind = operation.answer, str(operation.answer.get("type"))
    entity = entity_of(operation)
    if operation.http_status == 404 and operation.action == "create_deal":
        entity = ("lead", str(operation.arguments.get("lead_id")))
    if entity is None or operation.action not in (*WRITES, "read"):
        return
    register = Register(_asked(operation), *entity)
    current, expected = told.get("current_version"), operation.arguments.get("expected_version")
    stage = told.get("current_stage")
    if operation.http_status == 404:
        yield Sighting(Register("crm", *entity), "saw", 0, operation)
    elif operation.http_status == 409 and isinstance(current, int):
        yield Sighting(register, "saw", current, operation)
    elif operation.http_status == 409 and kind.endswith("stale-version") and isinstance(expected, int):
        yield Sighting(register, "not", expected, operation)
    elif operation.http_status == 409 and isinstance(stage, str):
        yield Sighting(register, "reached", first_version_of.get((*entity, stage), NOWHERE), operation)


def _first_versions(evidence: Evidence) -> dict[tuple[str, str, str], int]:
    """When each stage was entered for the first time; of a final stage, which is never left, that is the only time."""
    rows = sorted(evidence.rows.history, key=lambda row: row.version, reverse=True)
    return {(row.entity_type, row.entity_id, row.to_stage): row.version for row in rows}


def _begun(evidence: Evidence) -> Iterator[Sighting]:
    """A change whose client was not answered, or that automation made, bears the correlation id of what began it."""
    latest_first = sorted(evidence.operations, key=lambda operation: operation.invoked_ns, reverse=True)
    began = {operation.correlation_id: operation for operation in latest_first}
    for row in evidence.rows.outbox:
        if row.correlation_id in began:
            register = Register(row.service, row.entity_type, row.entity_id)
            yield Sighting(register, "begun", row.entity_version, began[row.correlation_id])


def last_versions(evidence: Evidence) -> dict[Register, int]:
    """The version of everything at the end, as the rows have it."""
    rows = evidence.rows
    last = {Register("crm", "lead", lead.id): lead.version for lead in rows.leads}
    last |= {Register("crm", "deal", deal.id): deal.version for deal in rows.deals}
    last |= {Register("pipeline", row.entity_type, row.entity_id): row.version for row in rows.stages}
    for row in rows.history:
        register = Register("pipeline", row.entity_type, row.entity_id)
        last[register] = max(row.version, last.get(register, 0))
    return last
