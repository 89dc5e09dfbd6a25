"""Everything that clients saw of one entity fits one order of its versions, and that order agrees with real time.

What returned before another operation began comes before it; each write makes the next version; each read sees the
latest one, with the value that this version has. (Strict serialisability, of one entity at a time.)

In general this is hard to decide, but not where the order of the writes is known (Gibbons and Korach, "Testing shared
memories", SIAM J. Comput. 26, 1997), and here versions tell it. Let version v have been made at the moment t(v). Who
made it says: t(v) lies within my time. Who saw it says: t(v) is not after my end, and t(v+1) not before my beginning.
There is an order if and only if there are moments t(1) ≤ t(2) ≤ … that obey all of these bounds, and if there are
any, then the earliest will do. What nobody answered, or what automation made in some client's flow, may have happened
at any time after that flow began.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness.checks.verdict import Finding, Property, Result, answer
from harness.checks.versions import NOWHERE, Register, Sighting, last_versions, sightings, tells_a_version
from harness.evidence.evidence import Evidence
from harness.evidence.records import Operation

NAME = "real_time_order"
Bound = tuple[float, Sighting | None]
"""A moment, and whose time it is."""
_NEVER = float("inf")
_ALWAYS: Bound = (float("-inf"), None)


def check(evidence: Evidence) -> Result:
    by_register: dict[Register, list[Sighting]] = defaultdict(list)
    for sighting in sightings(evidence):
        by_register[sighting.register].append(sighting)
    last = last_versions(evidence)
    findings: list[Finding] = []
    for register, seen in by_register.items():
        findings += _findings_of_order(register, seen, last.get(register, 0))
        findings += [_finding(register, sighting, says) for sighting, says in _conditions(seen)]
    findings += _findings_of_values(evidence, by_register, last)
    timed = sum(len(seen) for seen in by_register.values())
    floor = sum(tells_a_version(operation) for operation in evidence.operations)
    return answer(NAME, seen=timed, floor=floor, findings=findings)


# --- the order --------------------------------------------------------------------------------------------------


def contradiction(seen: Sequence[Sighting], last: int) -> tuple[Sighting, Sighting] | None:
    """Two sightings of one thing that no order reconciles, the earlier one first; None if there is an order."""
    makers: dict[int, Sighting] = {}
    for sighting in seen:
        if sighting.how in ("made", "begun") and makers.setdefault(sighting.version, sighting) is not sighting:
            return makers[sighting.version], sighting
    last = max(last, *(sighting.version for sighting in seen if sighting.how != "not"), 0)
    not_before, not_after = _bounds(seen)
    moments = _earliest(seen, not_before, last)
    for version, (moment, latecomer) in sorted(moments.items()):
        until, witness = not_after.get(version, (_NEVER, None)) if version > 0 else _ALWAYS
        if moment > until and latecomer is not None:
            return witness or latecomer, latecomer
    return None


def _bounds(seen: Iterable[Sighting]) -> tuple[dict[int, Bound], dict[int, Bound]]:
    """For each version: the moment before which it cannot have been made, and the one after which it cannot."""
    not_before: dict[int, Bound] = defaultdict(lambda: _ALWAYS)
    not_after: dict[int, Bound] = defaultdict(lambda: (_NEVER, None))
    for sighting in seen:
        began, ended = sighting.operation.invoked_ns, sighting.operation.returned_ns
        if sighting.how in ("made", "saw", "reached") and ended < not_after[sighting.version][0]:
            not_after[sighting.version] = (ended, sighting)
        bounded = sighting.version + (sighting.how == "saw")
        if sighting.how in ("made", "begun", "saw") and began > not_before[bounded][0]:
            not_before[bounded] = (began, sighting)
    return dict(not_before), dict(not_after)


def _earliest(seen: Iterable[Sighting], not_before: dict[int, Bound], last: int) -> dict[int, Bound]:
    """The earliest moment at which each version can have been made, and who keeps it from being earlier."""
    others: dict[int, list[Sighting]] = defaultdict(list)
    for sighting in seen:
        if sighting.how == "not":
            others[sighting.version].append(sighting)
    versions = {*not_before, *(sighting.version for sighting in seen), *(version + 1 for version in others)}
    moments: dict[int, Bound] = {}
    latest = _ALWAYS
    for version in sorted(versions):
        latest = max(latest, not_before.get(version, _ALWAYS), key=lambda bound: bound[0])
        moments[version] = latest if version <= last else (_NEVER, None)
    # Who saw another version than v either saw a later one, or v was not made before he began. From the last to the
    # first: to delay v for his sake does not delay v + 1, which comes after his end in any case.
    for version in sorted(others, reverse=True):
        for sighting in others[version]:
            began, ended = sighting.operation.invoked_ns, sighting.operation.returned_ns
            if moments[version + 1][0] > ended and began > moments[version][0]:
                moments[version] = (began, sighting)
    return moments


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
        if sighting.operation.outcome == "ok" and expected not in (None, found):
            yield sighting, f"succeeded on version {found} although it expected version {expected}"
        elif stale and sighting.how == "saw" and found == expected:
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
    yield from _not_as_asked(sighting.operation)


def _not_as_asked(operation: Operation) -> Iterator[str]:
    if operation.outcome == "ok" and operation.action in ("change_lead", "move_stage"):
        for name in operation.arguments.keys() & operation.answer.keys():
            asked, told = operation.arguments[name], operation.answer[name]
            if asked is not None and _bare(told) != _bare(asked):
                yield f"the {name} that {operation.action} was told is not the one that it asked for"


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
