"""What clients were told, what services logged, and what the database holds: three accounts of every change."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from harness.contract.log_lines import ChangeCommitted, HttpRequestCompleted
from harness.evidence.evidence import Evidence
from harness.evidence.records import Operation
from harness.trace.disagreement import Disagreement
from harness.trace.reliability import Reliability

Version = tuple[str, str, str, int]
"""service, entity type, entity id, version: each service counts versions of its own"""


@dataclass(frozen=True, slots=True)
class _Committed:
    """Each version that the log says was committed (``logged``), that the database has (``held``), and its flow."""

    logged: dict[Version, str]
    held: dict[Version, str | None]


def changes_disagree(evidence: Evidence, trust: Reliability) -> Iterator[Disagreement]:
    """Every pair of accounts that contradict each other, once."""
    yield from _answers_disagree(evidence)
    committed = _Committed(_logged(evidence), _held(evidence))
    told = dict(_told(evidence.operations))
    yield from _acknowledged_but_not_there(told, committed, trust)
    for version, flow in committed.logged.items():
        if version not in committed.held and version not in told:
            says = f"{version[0]} logged change.committed of version {version[3]}; the database has no such version"
            yield _about(version, flow, f"{says}: lost between {version[0]} and database")
    for version, held_by in committed.held.items():
        if version not in committed.logged and not trust.may_not_know(version[0], held_by):
            says = f"the database has version {version[3]}; {version[0]} logged no change.committed of it"
            yield _about(version, held_by, says, in_doubt=trust.doubted(version[0]))


def _answers_disagree(evidence: Evidence) -> Iterator[Disagreement]:
    """What a client was told is what its service says to have answered, where a flow has one request from outside."""
    answered: dict[str, list[HttpRequestCompleted]] = defaultdict(list)
    for line in evidence.lines:
        if type(line) is HttpRequestCompleted and line.parent_span_id is None:
            answered[line.correlation_id].append(line)
    asked = Counter(operation.correlation_id for operation in evidence.operations)
    for operation in evidence.operations:
        flow, status = operation.correlation_id, operation.http_status
        lines = answered.get(flow, [])
        if status is not None and asked[flow] == 1 and len(lines) == 1 and lines[0].http_status != status:
            service = lines[0].service
            says = f"a client was told {status}; {service} logged that it answered {lines[0].http_status}"
            yield Disagreement(says, service, f"client→{service}", None, flow)


def _logged(evidence: Evidence) -> dict[Version, str]:
    return {
        (line.service, line.entity_type, line.entity_id, line.entity_version): line.correlation_id
        for line in evidence.lines
        if type(line) is ChangeCommitted and line.entity_type != "user"  # users are no part of the evidence
    }


def _held(evidence: Evidence) -> dict[Version, str | None]:
    """A lead or deal of crm holds its latest version only, so all before it were there once."""
    rows = evidence.rows
    held: dict[Version, str | None] = {}
    for kind, entities in (("lead", rows.leads), ("deal", rows.deals)):
        for entity in entities:
            held |= {("crm", kind, entity.id, version): None for version in range(1, entity.version + 1)}
    for row in rows.history:
        held["pipeline", row.entity_type, row.entity_id, row.version] = row.correlation_id
    return held


def _told(operations: tuple[Operation, ...]) -> Iterator[tuple[Version, str]]:
    """Each version whose making a client was told of, and the flow in which it was."""
    for operation in operations:
        told, flow = operation.answer, operation.correlation_id
        if operation.outcome != "ok":
            continue
        if operation.action in ("create_lead", "create_deal") and operation.http_status == 201:
            yield ("crm", operation.action.removeprefix("create_"), str(told.get("id")), 1), flow
        elif operation.action == "move_stage" and told.get("changed") and isinstance(told.get("version"), int):
            yield ("pipeline", str(operation.entity_type), str(operation.entity_id), told["version"]), flow
        elif operation.action == "change_lead" and isinstance(told.get("version"), int):
            yield ("crm", "lead", str(operation.entity_id), told["version"]), flow


def _acknowledged_but_not_there(
    told: dict[Version, str], committed: _Committed, trust: Reliability
) -> Iterator[Disagreement]:
    for version, flow in told.items():
        if version in committed.held:
            continue
        service = version[0]
        acknowledged = f"a client was told of version {version[3]}"
        if version in committed.logged:
            says = f"{acknowledged} and {service} logged change.committed; the database has no such version"
            yield _about(version, flow, f"{says}: lost between {service} and database", lost=True)
        else:
            hedge = ", of which lines are missing" if trust.doubted(service) else ""
            says = f"{acknowledged}; {service}{hedge} logged no change.committed, and the database has no such version"
            yield _about(version, flow, f"{says}: lost in {service}", lost=True)


def _about(
    version: Version, flow: str | None, says: str, *, lost: bool = False, in_doubt: str | None = None
) -> Disagreement:
    service, kind, entity_id, _number = version
    return Disagreement(says, service, f"{service}→database", f"{kind} {entity_id}", flow, lost=lost, in_doubt=in_doubt)
