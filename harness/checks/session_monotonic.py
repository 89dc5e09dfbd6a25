"""No client sees an entity go back: a version that it was told of once is the least that it is told from then on.

So each client also reads what it has written. A session is what one client did in one thread, one operation after the
other; of operations that overlap all the same, neither was first. What has no session is not judged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from harness.checks.verdict import Finding, Property, Result, answer
from harness.checks.versions import Register, Sighting, register_of, sightings, tells_a_version
from harness.evidence.evidence import Evidence

NAME = "session_monotonic"


def check(evidence: Evidence) -> Result:
    """Counted is what can be compared: each sighting of a thing but the first one in its session."""
    sessions: dict[tuple[str, Register], list[Sighting]] = defaultdict(list)
    for sighting in sightings(evidence):
        if sighting.operation.session and sighting.how in ("made", "saw", "reached"):
            sessions[sighting.operation.session, sighting.register].append(sighting)
    findings = [
        _finding(session, register, before, after)
        for (session, register), seen in sessions.items()
        for before, after in _steps_back(seen)
    ]
    asked = Counter(
        (operation.session, register_of(operation))
        for operation in evidence.operations
        if operation.session and tells_a_version(operation)
    )
    return answer(NAME, seen=_repeated(map(len, sessions.values())), floor=_repeated(asked.values()), findings=findings)


def _repeated(counts: Iterable[int]) -> int:
    return sum(count - 1 for count in counts)


def _steps_back(seen: Sequence[Sighting]) -> Iterator[tuple[Sighting, Sighting]]:
    """The first sighting that goes back behind one which had returned before it began, and that one."""
    returned = iter(sorted(seen, key=lambda sighting: sighting.operation.returned_ns))
    earlier = next(returned, None)
    newest: Sighting | None = None
    for sighting in sorted(seen, key=lambda sighting: sighting.operation.invoked_ns):
        while earlier is not None and earlier.operation.returned_ns < sighting.operation.invoked_ns:
            newest = earlier if newest is None or earlier.version > newest.version else newest
            earlier = next(returned, None)
        least = -1 if newest is None else newest.version + (sighting.how == "made")
        if newest is not None and sighting.how != "reached" and sighting.version < least:
            yield newest, sighting
            return


def _finding(session: str, register: Register, before: Sighting, after: Sighting) -> Finding:
    done = {"made": "made", "saw": "was told of", "reached": "was told that there is"}
    return Finding(
        property=NAME,
        says=(
            f"session {session} {done[after.how]} version {after.version} ({after.operation.action}) "
            f"after it {done[before.how]} version {before.version} ({before.operation.action})"
        ),
        service=register.service, edge=f"client→{register.service}",
        entity=f"{register.entity_type} {register.entity_id}", correlation_id=after.operation.correlation_id,
    )  # fmt: skip


PROPERTY = Property(
    NAME, "no client sees a version go backwards, and each reads what it has written", ("operations", "rows"), check
)
