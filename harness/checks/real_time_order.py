"""Everything that clients saw of one entity fits one order of its versions, and that order agrees with real time.

What returned before another operation began comes before it; each write makes the next version; each read sees the
latest one, with the value that this version has. (Strict serialisability, of one entity at a time.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness.checks.order import contradiction
from harness.checks.verdict import Finding, Property, Result, answer
from harness.checks.versions import NOWHERE, Register, Sighting, last_versions, sightings, tells_a_version
from harness.evidence.evidence import Evidence
from harness.evidence.records import Operation

NAME = "real_time_order"


def check(evidence: Evidence) -> Result:
    by_register: dict[Register, list[Sighting]] = defaultdict(list)
    all_sightings = list(sightings(evidence))
    for sighting in all_sightings:
        by_register[sighting.register].append(sighting)
    last = last_versions(evidence)
    findings: list[Finding] = []
    for register, seen in by_register.items():
        findings += _findings_of_order(register, seen, last.get(register, 0))
        findings += [_finding(register, sighting, says) for sighting, says in _conditions(seen)]
    findings += _findings_of_values(evidence, by_register, last)
    told = sum(sighting.operation.outcome == "ok" and sighting.how != "begun" for sighting in all_sightings)
    floor = sum(tells_a_version(operation) for operation in evidence.operations)
    return answer(NAME, seen=told, floor=floor, findings=findings)


def _findings_of_order(register: Register, seen: Sequence[Sighting], last: int) -> Iterator[Finding]:
    found = contradiction(seen, last)
    if found is None:
        return
    earlier, later = found
    if earlier is later:
        says = f"refused for expecting version {later.version}, which was the latest all the time"
    elif {earlier.how, later.how} <= {"made", "begun"} and earlier.version == later.version:
        says = f"two changes made version {later.version}"
    else:
        gap_ms = (later.operation.invoked_ns - earlier.operation.returned_ns) / 1e6
        says = f"{_did(later)}, although {gap_ms:.3f} ms before it began another one {_did(earlier)}"
    yield _finding(register, later, says, (earlier, later))


def _did(sighting: Sighting) -> str:
    what = {"begun": "began the flow that made", "reached": "saw a version from", "not": "saw another version than"}
    return f"{sighting.operation.action} {what.get(sighting.how, sighting.how)} version {sighting.version}"


# --- conditions and values --------------------------------------------------------------------------------------


def _conditions(seen: Iterable[Sighting]) -> Iterator[tuple[Sighting, str]]:
    """Who names the version that he expects succeeds on that one, and is told that it is stale on every other one."""
    for sighting in seen:
        expected = sighting.operation.arguments.get("expected_version")
        found = sighting.version - (sighting.how == "made")
        stale = str(sighting.operation.answer.get("type")).endswith("stale-version")
        told = sighting.how in ("made", "saw")
        if told and sighting.operation.outcome == "ok" and expected not in (None, found):
            yield sighting, f"succeeded on version {found} although it expected version {expected}"
        elif told and stale and found == expected:
            yield sighting, f"refused for expecting version {expected}, which it says is the latest"


def _findings_of_values(
    evidence: Evidence, by_register: dict[Register, list[Sighting]], last: dict[Register, int]
) -> Iterator[Finding]:
    stage_at = {(row.entity_type, row.entity_id, row.version): row.to_stage for row in evidence.rows.history}
    leads = {lead.id: lead for lead in evidence.rows.leads}
    for register, seen in by_register.items():
        known: dict[int, dict[str, Any]] = defaultdict(dict)
        if register.service == "pipeline":
            known[0] = {"stage": evidence.target.stages.initial}
            for version in {sighting.version - before for sighting in seen for before in (0, 1)}:
                if (stage := stage_at.get((*register[1:], version))) is not None:
                    known[version] = {"stage": stage}
        elif (lead := leads.get(register.entity_id)) is not None:
            known[lead.version] = {"owner_id": lead.owner_id, "external_id": lead.external_id}
        for sighting in seen:
            for says in _amiss(sighting, known, last.get(register, 0)):
                yield _finding(register, sighting, says)
        for sighting in seen:
            for says in (*_not_asked_for(sighting, known), *_no_change(sighting, known)):
                yield _finding(register, sighting, says)


def _amiss(sighting: Sighting, known: dict[int, dict[str, Any]], last: int) -> Iterator[str]:
    """What an answer says of a version that was never made, or that others say otherwise. Values are not shown."""
    if sighting.version == NOWHERE:
        yield f"{sighting.operation.action} was refused for a stage that it never had"
    if sighting.how == "saw" and sighting.version > last:
        yield f"{_did(sighting)}, which was never made; the last one is {last}"
    for version, told in _told(sighting):
        for name, value in told.items():
            if known[version].setdefault(name, value) != value:
                yield f"the {name} that {sighting.operation.action} tells of version {version} is not what it was"
    if sighting.how in ("made", "saw"):
        yield from _not_as_asked(sighting.operation)


def _not_as_asked(operation: Operation) -> Iterator[str]:
    if operation.outcome == "ok" and operation.action in ("change_lead", "move_stage"):
        for name in sorted(operation.arguments.keys() & operation.answer.keys()):
            asked, told = operation.arguments[name], operation.answer[name]
            if asked is not None and _bare(told) != _bare(asked):
                yield f"the {name} that {operation.action} was told is not the one that it asked for"


def _not_asked_for(sighting: Sighting, known: dict[int, dict[str, Any]]) -> Iterator[str]:
    """What else has changed with a version than its change was to: somebody has changed it without a version."""
    operation = sighting.operation
    if sighting.how == "made" and operation.action == "change_lead":
        before, after = known.get(sighting.version - 1, {}), known[sighting.version]
        for name in sorted(before.keys() & after.keys() - operation.arguments.keys() - {"version", "updated_at"}):
            if before[name] != after[name]:
                yield f"the {name} changed with version {sighting.version}, which was not to change it"


def _no_change(sighting: Sighting, known: dict[int, dict[str, Any]]) -> Iterator[str]:
    """A version that differs from the one before it in nothing: who asks for what is there already changes nothing."""
    operation = sighting.operation
    if sighting.how == "made" and operation.action in ("change_lead", "move_stage"):
        asked = {name: _bare(value) for name, value in operation.arguments.items() if value is not None}
        asked.pop("expected_version", None)
        before = {name: _bare(value) for name, value in known.get(sighting.version - 1, {}).items()}
        if asked and asked.items() <= before.items():
            yield f"{_did(sighting)}, although version {sighting.version - 1} had all that it asked for"


def _told(sighting: Sighting) -> Iterator[tuple[int, dict[str, Any]]]:
    """What an answer says of the values of a version."""
    told = sighting.operation.answer
    if sighting.how not in ("made", "saw"):
        return
    if sighting.register.service == "pipeline":
        stage = told.get("stage", told.get("current_stage"))
        yield sighting.version, {"stage": stage} if stage else {}
        if sighting.how == "made" and "from_stage" in told:
            yield sighting.version - 1, {"stage": told["from_stage"]}
    elif sighting.operation.outcome == "ok":
        yield sighting.version, {name: value for name, value in told.items() if name != "changed"}


def _bare(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _finding(register: Register, about: Sighting, says: str, seen: Sequence[Sighting] = ()) -> Finding:
    return Finding(
        property=NAME, says=says, service=register.service, edge=f"client→{register.service}",
        entity=f"{register.entity_type} {register.entity_id}", correlation_id=about.operation.correlation_id,
        trace=tuple(_line(sighting.operation, seen[0].operation, sighting) for sighting in seen),
    )  # fmt: skip


def _line(operation: Operation, first: Operation, sighting: Sighting) -> str:
    began, ended = ((at - first.invoked_ns) / 1e6 for at in (operation.invoked_ns, operation.returned_ns))
    return f"{began:+.3f} to {ended:+.3f} ms  {_did(sighting)}  correlation {operation.correlation_id}"


PROPERTY = Property(
    NAME,
    "what clients saw of an entity fits one order of its versions that agrees with real time",
    ("operations", "rows"),
    check,
)
