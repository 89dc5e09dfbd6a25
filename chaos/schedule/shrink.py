"""Shrinking: from a schedule that fails to a small one that still does, in which nothing can be left out.

First faults, then lanes and steps (delta debugging: Zeller and Hildebrandt, "Simplifying and isolating
failure-inducing input", IEEE TSE 2002), then simpler and milder faults, and all of it again until nothing gives. Asks
``still_fails`` and nobody else: each answer may cost a trial.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from msgspec.structs import replace

from chaos.schedule.kinds import KINDS
from chaos.schedule.schedule import Lane, Moment, PlannedFault, Schedule, as_toml

Item = TypeVar("Item")
StillFails = Callable[[Schedule], bool]
OnTry = Callable[[Schedule, int], object]
"""Told of the smallest so far and of how many have been tried."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """``minimal``: no single fault, lane or step can be left out. Otherwise the budget was used up before that."""

    schedule: Schedule
    tried: int
    minimal: bool


class _BudgetUsedUp(Exception):
    pass


def shrink(
    schedule: Schedule,
    still_fails: StillFails,
    *,
    most_tries: int = 200,
    has_time: Callable[[], bool] = lambda: True,
    on_try: OnTry = lambda smallest, tried: None,
) -> Shrunk:
    """The smallest that was found to fail within ``most_tries`` and as long as it ``has_time``."""
    work = _Shrinking(schedule, still_fails, most_tries, has_time, on_try)
    try:
        work.until_nothing_gives()
    except _BudgetUsedUp:
        return Shrunk(work.smallest, work.tried, minimal=False)
    return Shrunk(work.smallest, work.tried, minimal=True)


class _Shrinking:
    def __init__(
        self,
        schedule: Schedule,
        still_fails: StillFails,
        most_tries: int,
        has_time: Callable[[], bool],
        on_try: OnTry,
    ) -> None:
        self.smallest, self.tried = schedule, 0
        self._still_fails, self._most, self._has_time, self._on_try = still_fails, most_tries, has_time, on_try
        self._known: dict[str, bool] = {}

    def until_nothing_gives(self) -> None:
        before = None
        while before != self.smallest:
            before = self.smallest
            self._without(_faults, _keeping_faults)
            self._without(_lanes, _keeping_lanes)
            self._without(_steps, _keeping_steps)
            self._simpler()

    def _without(
        self,
        parts_of: Callable[[Schedule], Sequence[Item]],
        keeping: Callable[[Schedule, Collection[Item]], Schedule | None],
    ) -> None:
        """Delta debugging: leave out ever smaller parts, down to single ones."""
        whole = self.smallest
        parts = list(parts_of(whole))
        size = len(parts)
        while size >= 1:
            at = 0
            while at < len(parts):
                rest = parts[:at] + parts[at + size :]
                candidate = keeping(whole, rest)
                if len(rest) < len(parts) and candidate is not None and self._try(candidate):
                    parts = rest
                else:
                    at += size
            size = size // 2 if size > 1 else 0

    def _simpler(self) -> None:
        """One thing simpler at a time, the most simplifying first, from the start again after each success."""
        while any(self._try(candidate) for candidate in _simpler(self.smallest)):
            pass

    def _try(self, candidate: Schedule) -> bool:
        if candidate == self.smallest:
            return False
        text = as_toml(candidate)
        if text not in self._known:
            if self.tried >= self._most or not self._has_time():
                raise _BudgetUsedUp
            self.tried += 1
            self._known[text] = self._still_fails(candidate)
            self._on_try(candidate if self._known[text] else self.smallest, self.tried)
        if self._known[text]:
            self.smallest = candidate
        return self._known[text]


# --- leaving out ------------------------------------------------------------------------------------------------


def _faults(schedule: Schedule) -> Sequence[int]:
    return range(len(schedule.faults))


def _keeping_faults(schedule: Schedule, kept: Collection[int]) -> Schedule:
    return replace(schedule, faults=tuple(schedule.faults[number] for number in kept))


def _lanes(schedule: Schedule) -> Sequence[int]:
    return range(len(schedule.lanes))


def _keeping_lanes(schedule: Schedule, kept: Collection[int]) -> Schedule | None:
    return _keeping_steps(schedule, [place for place in _steps(schedule) if place[0] in kept])


def _steps(schedule: Schedule) -> Sequence[tuple[int, int]]:
    return [(lane, step) for lane, one in enumerate(schedule.lanes) for step in range(len(one.steps))]


def _keeping_steps(schedule: Schedule, kept: Collection[tuple[int, int]]) -> Schedule | None:
    """Without the other steps, nor those about a lead that nobody makes any more, nor lanes in which nothing is left.

    A fault stays where it was among the steps that are left. None if no step is.
    """
    made = {schedule.lanes[lane].steps[step].on for lane, step in kept if _makes(schedule, lane, step)}
    kept = {(lane, step) for lane, step in kept if schedule.lanes[lane].steps[step].lead in (made | {""})}
    lanes = [
        Lane(steps=tuple(step for number, step in enumerate(lane.steps) if (index, number) in kept))
        for index, lane in enumerate(schedule.lanes)
    ]
    if not kept:
        return None
    new_number = list(accumulate(int(bool(lane.steps)) for lane in lanes))  # of a lane that stays, counted from 1

    def moved(at: Moment) -> Moment:
        if at.step is None:
            return at
        index = at.lane - 1
        if not lanes[index].steps:
            return Moment(step=0)
        return replace(at, step=sum((index, number) in kept for number in range(at.step)), lane=new_number[index])

    faults = tuple(replace(fault, at=moved(fault.at)) for fault in schedule.faults)
    return replace(schedule, lanes=tuple(lane for lane in lanes if lane.steps), faults=faults)


def _makes(schedule: Schedule, lane: int, step: int) -> bool:
    return schedule.lanes[lane].steps[step].do == "create lead"


# --- simpler ----------------------------------------------------------------------------------------------------


def _simpler(schedule: Schedule) -> Iterator[Schedule]:
    """Simpler ones of the same size: fewer lanes, no thinking, milder and simpler faults."""
    if len(schedule.lanes) > 1:
        yield _in_one_lane(schedule)
    if any(step.pause_ms for step in schedule.steps):
        yield replace(
            schedule,
            lanes=tuple(Lane(steps=tuple(replace(step, pause_ms=0) for step in lane.steps)) for lane in schedule.lanes),
        )
    for number, fault in enumerate(schedule.faults):
        for simpler in _simpler_fault(fault):
            yield replace(schedule, faults=(*schedule.faults[:number], simpler, *schedule.faults[number + 1 :]))


def _in_one_lane(schedule: Schedule) -> Schedule:
    """The lanes one after the other."""
    before = [0, *accumulate(len(lane.steps) for lane in schedule.lanes)]

    def moved(at: Moment) -> Moment:
        return at if at.step is None else replace(at, step=at.step + before[at.lane - 1], lane=1)

    faults = tuple(replace(fault, at=moved(fault.at)) for fault in schedule.faults)
    return replace(schedule, lanes=(Lane(steps=tuple(schedule.steps)),), faults=faults)


def _simpler_fault(fault: PlannedFault) -> Iterator[PlannedFault]:
    kind, at = KINDS.get(fault.kind), fault.at
    if at.nth > 1:
        yield replace(fault, at=replace(at, nth=1))
    if at.step:
        yield replace(fault, at=replace(at, step=0))
    for name, value in fault.parameters.items():
        for milder in kind.choices[name] if kind else ():
            if milder == value:
                break
            yield replace(fault, parameters={**fault.parameters, name: milder})
    for shorter in kind.lasts_ms if kind else ():
        if fault.for_ms is None or shorter < fault.for_ms:
            yield replace(fault, for_ms=shorter)
