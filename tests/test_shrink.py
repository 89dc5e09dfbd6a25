"""Shrinking ends at what still fails and cannot lose any one part; confirming says how often."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chaos.schedule.confirm import Demand, Rate, bound_of_none, demand, rate
from chaos.schedule.draw import draw
from chaos.schedule.schedule import Lane, Moment, PlannedFault, Schedule, Step
from chaos.schedule.shrink import shrink
from harness.target import load_target
from tests.builders import steady

TARGET = load_target()
drawn = st.integers(0, 10_000).map(lambda number: draw(1, number, TARGET, on_the_wire=True))


def texts(schedule: Schedule) -> set[str]:
    """What a schedule does, without when and how."""
    steps = {f"{step.do} {step.on} {step.to}" for step in schedule.steps}
    return steps | {f"{fault.kind} on {fault.place}" for fault in schedule.faults}


def without_one(schedule: Schedule) -> list[Schedule]:
    """Everything that has one fault or one step less."""
    faults, lanes = schedule.faults, schedule.lanes
    smaller = [replace(schedule, faults=faults[:n] + faults[n + 1 :]) for n in range(len(faults))]
    for index, lane in enumerate(lanes):
        for number in range(len(lane.steps)):
            rest = Lane(steps=lane.steps[:number] + lane.steps[number + 1 :])
            kept = [*lanes[:index], *([rest] if rest.steps else []), *lanes[index + 1 :]]
            if kept:
                at_once = tuple(f if f.at.on_the_wire else replace(f, at=Moment(step=0)) for f in faults)
                at_once = tuple(replace(f, at=replace(f.at, lane=1)) for f in at_once)
                smaller.append(replace(schedule, lanes=tuple(kept), faults=at_once))
    return smaller


@steady
@given(drawn, st.data())
def test_what_has_to_be_there_is_all_that_is_left(schedule: Schedule, data: st.DataObject) -> None:
    needed = set(data.draw(st.lists(st.sampled_from(sorted(texts(schedule))), min_size=1, max_size=4)))

    def still_fails(candidate: Schedule) -> bool:
        return needed <= texts(candidate)

    shrunk = shrink(schedule, still_fails, most_tries=5_000)
    assert shrunk.minimal
    assert needed <= texts(shrunk.schedule)
    extra = {text for text in texts(shrunk.schedule) - needed if not text.startswith("create lead")}
    assert not extra or len(shrunk.schedule.steps) == 1, "a client has to do something"
    assert not any(still_fails(smaller) for smaller in without_one(shrunk.schedule) if _has_its_leads(smaller))


def _has_its_leads(schedule: Schedule) -> bool:
    made = {step.on for step in schedule.steps if step.do == "create lead"}
    return {step.lead for step in schedule.steps} - {""} <= made


@steady
@given(drawn, st.integers(0, 2**16))
def test_whatever_the_reason_the_result_fails_and_has_no_part_that_could_go(schedule: Schedule, salt: int) -> None:
    """A reason without any order: which schedules fail is arbitrary."""

    def still_fails(candidate: Schedule) -> bool:
        text = f"{salt} {sorted(texts(candidate))}"
        return candidate == schedule or crc32(text.encode()) % 3 == 0

    shrunk = shrink(schedule, still_fails, most_tries=20_000)
    assert shrunk.minimal
    assert still_fails(shrunk.schedule)
    fewer_faults = [s for s in without_one(shrunk.schedule) if s.lanes == shrunk.schedule.lanes]
    assert not any(still_fails(smaller) for smaller in fewer_faults)


@steady
@given(drawn, st.integers(0, 40))
def test_the_budget_is_kept_and_what_is_returned_fails(schedule: Schedule, most: int) -> None:
    asked: list[Schedule] = []
    wanted = schedule.faults[0].kind

    def still_fails(candidate: Schedule) -> bool:
        asked.append(candidate)
        return any(fault.kind == wanted for fault in candidate.faults)

    shrunk = shrink(schedule, still_fails, most_tries=most)
    assert len(asked) == shrunk.tried <= most
    assert any(fault.kind == wanted for fault in shrunk.schedule.faults)
    assert len({repr(one) for one in asked}) == len(asked), "each is asked for once"


def test_shrinking_stops_when_there_is_no_time_left() -> None:
    schedule = draw(1, 5, TARGET, on_the_wire=True)
    shrunk = shrink(schedule, lambda _: True, has_time=lambda: False)
    assert (shrunk.schedule, shrunk.tried, shrunk.minimal) == (schedule, 0, False)


MOVE = Step(do="move", on="lead-1", to="qualified")
SLOW = PlannedFault(
    kind="latency", place="pipeline→broker", at=Moment(step=2), parameters={"stream": "downstream", "delay_ms": 700}
)
FOURTH_PUBLISH = Moment(edge="pipeline→broker", stream="upstream", event="publish", nth=4)
KILL = PlannedFault(kind="SIGKILL", place="pipeline", at=FOURTH_PUBLISH, for_ms=2500)
PLAIN = Schedule(
    format=1,
    lanes=(
        Lane(steps=(Step(do="create lead", on="lead-1"), Step(do="read", on="lead-1", pause_ms=100), MOVE)),
        Lane(steps=(Step(do="create lead", on="lead-2"), Step(do="change", on="lead-2"))),
    ),
    faults=(SLOW, KILL),
)


def test_a_fault_stays_where_it_was_among_the_steps_that_are_left() -> None:
    def still_fails(candidate: Schedule) -> bool:
        """The latency has to come right before the move."""
        before = [lane.steps.index(MOVE) for lane in candidate.lanes if MOVE in lane.steps]
        return before == [fault.at.step for fault in candidate.faults if fault.kind == "latency"] != []

    (fault,) = (shrunk := shrink(PLAIN, still_fails).schedule).faults
    assert [step.do for step in shrunk.steps] == ["create lead", "move"]
    assert fault.at == Moment(step=1)
    assert fault.parameters == {"stream": "upstream", "delay_ms": 30}


def test_what_is_left_is_simple() -> None:
    shrunk = shrink(PLAIN, lambda candidate: any(fault.kind == "SIGKILL" for fault in candidate.faults)).schedule
    (fault,) = shrunk.faults
    assert (fault.at.nth, fault.for_ms) == (1, 300)
    assert len(shrunk.lanes) == 1
    assert not any(step.pause_ms for step in shrunk.steps)


def test_lanes_that_have_to_go_on_side_by_side_stay_two() -> None:
    shrunk = shrink(PLAIN, lambda candidate: len(candidate.lanes) == 2).schedule
    assert [len(lane.steps) for lane in shrunk.lanes] == [1, 1]
    assert shrunk.faults == ()


# --- confirming -------------------------------------------------------------------------------------------------


def test_a_rate_says_how_many_of_how_many() -> None:
    assert str(rate([True, False, True])) == "2 of 3"
    assert rate([True, True]).always


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [(Rate(5, 5), Demand(3, 3)), (Rate(4, 5), Demand(1, 2)), (Rate(2, 5), Demand(1, 6)), (Rate(1, 5), Demand(1, 6))],
)
def test_what_always_fails_has_to_go_on_doing_so_and_what_fails_at_times_is_given_more_tries(
    seen: Rate, wanted: Demand
) -> None:
    assert demand(seen) == wanted


def test_a_demand_is_decided_as_soon_as_it_can_be() -> None:
    assert [Demand(2, 2).met(reds) for reds in ([], [True], [False], [True, True])] == [None, None, False, True]
    assert [Demand(1, 3).met(reds) for reds in ([False, False], [False, True], [False] * 3)] == [None, True, False]


def test_no_red_in_three_hundred_means_less_than_one_in_a_hundred() -> None:
    assert bound_of_none(300) == pytest.approx(0.01)
    assert bound_of_none(0) == 1.0
