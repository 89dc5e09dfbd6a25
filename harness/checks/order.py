"""Can what was seen of the versions of one thing have happened in one order that agrees with real time?

In general this is hard to decide, but not where the order of the writes is known (Gibbons and Korach, "Testing shared
memories", SIAM J. Comput. 26, 1997), and here versions tell it. Let version v have been made at the moment t(v). Who
made it says: t(v) lies within my time. Who saw it says: t(v) is not after my end, and t(v+1) not before my beginning.
There is an order if and only if there are moments t(1) ≤ t(2) ≤ … that obey all of these bounds, and if there are
any, then the earliest will do. What nobody answered, or what automation made in some client's flow, may have happened
at any time after that flow began.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from harness.checks.versions import Sighting

Bound = tuple[float, Sighting | None]
"""A moment, and whose time it is."""
_NEVER = float("inf")
_ALWAYS: Bound = (float("-inf"), None)


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
