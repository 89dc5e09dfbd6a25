"""The schedule of a load run: drawn once, the same for each seed, exact on ramps, whole when it is dealt out."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.arrivals import NS, dealt, draw_arrivals
from harness.load.records import Step
from tests.builders import steady

steps = st.lists(
    st.builds(
        Step,
        seconds=st.floats(0.1, 20),
        from_rate=st.floats(0, 60),
        to_rate=st.floats(0, 60),
    ),
    min_size=1,
    max_size=4,
)
kinds: st.SearchStrategy[Literal["poisson", "constant"]] = st.sampled_from(["poisson", "constant"])


def expected_by(plan: Sequence[Step], at_s: float) -> float:
    """How many arrivals are expected by then: the area under the rate."""
    area = 0.0
    for step in plan:
        inside = min(max(0.0, at_s), step.seconds)
        bend = (step.to_rate - step.from_rate) / step.seconds
        area += step.from_rate * inside + bend * inside**2 / 2
        at_s -= step.seconds
    return area


@steady
@given(plan=steps, kind=kinds, seed=st.integers())
def test_a_schedule_is_the_same_for_a_seed_in_order_and_within_its_steps(
    plan: list[Step], kind: Literal["poisson", "constant"], seed: int
) -> None:
    drawn = draw_arrivals(plan, kind, seed)
    assert drawn == draw_arrivals(plan, kind, seed)
    assert list(drawn) == sorted(drawn)
    assert all(0 <= at <= sum(step.seconds for step in plan) * NS + 1 for at in drawn)


@steady
@given(plan=steps)
def test_constant_arrivals_come_one_by_one_as_the_rate_adds_up_also_on_a_ramp(plan: list[Step]) -> None:
    drawn = draw_arrivals(plan, "constant", 0)
    assert abs(len(drawn) - expected_by(plan, 1e9)) <= 0.5 + 1e-6
    for number, at in enumerate(drawn):
        assert expected_by(plan, at / NS) == pytest.approx(number + 0.5, abs=1e-3)


@steady
@given(plan=steps, kind=kinds, seed=st.integers(0, 9), processes=st.integers(1, 5))
def test_what_is_dealt_out_is_the_schedule_each_arrival_once(
    plan: list[Step], kind: Literal["poisson", "constant"], seed: int, processes: int
) -> None:
    drawn = draw_arrivals(plan, kind, seed)
    parts = [dealt(drawn, process, processes) for process in range(processes)]
    assert sorted(at for part in parts for at in part) == list(drawn)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_constant_rate_is_evenly_spaced() -> None:
    drawn = draw_arrivals([Step(seconds=1, from_rate=4, to_rate=4)], "constant", 0)
    assert drawn == array("q", [125_000_000, 375_000_000, 625_000_000, 875_000_000])


@pytest.mark.parametrize("seed", range(3))
def test_poisson_arrivals_are_as_many_and_as_irregular_as_they_have_to_be_in_each_part_of_a_ramp(seed: int) -> None:
    """In numbers of expected arrivals, gaps have mean 1 and variance 1, and no two parts know of each other."""
    plan = [Step(seconds=100, from_rate=0, to_rate=200), Step(seconds=50, from_rate=200, to_rate=20)]
    drawn = [expected_by(plan, at / NS) for at in draw_arrivals(plan, "poisson", seed)]
    gaps = [after - before for before, after in pairwise([0.0, *drawn])]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(1, abs=4 / math.sqrt(len(gaps)))
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(1, abs=0.15)
    for begin in range(0, 15_000, 1_500):  # 1,500 expected in each part, so the standard deviation is 39
        assert sum(begin <= at < begin + 1_500 for at in drawn) == pytest.approx(1_500, abs=4 * math.sqrt(1_500))


def test_other_seeds_draw_other_schedules() -> None:
    plan = [Step(seconds=10, from_rate=50, to_rate=50)]
    assert len({draw_arrivals(plan, "poisson", seed).tobytes() for seed in range(5)}) == 5
    assert draw_arrivals(plan, "constant", 1) == draw_arrivals(plan, "constant", 2)


def test_where_the_rate_is_nothing_nobody_comes() -> None:
    plan = [Step(seconds=5, from_rate=0, to_rate=0), Step(seconds=1, from_rate=50, to_rate=50)]
    drawn = draw_arrivals(plan, "poisson", 1)
    assert drawn
    assert min(drawn) >= 5 * NS
