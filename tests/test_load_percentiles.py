"""Percentiles are exact; what is added up from parts is the whole; the compact form errs by less than it says."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.percentiles import (
    NEVER,
    RELATIVE_ERROR,
    SHARES,
    Histogram,
    Latencies,
    histogram,
    latencies,
    percentile,
)
from tests.builders import steady

took_ms = st.floats(0, 1e7, allow_nan=False)
values = st.lists(st.one_of(took_ms, st.just(NEVER)), min_size=1, max_size=200)
shares = st.sampled_from(list(SHARES.values()))


@steady
@given(values=values, share=shares)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(sorted(values), share)
    needed = Fraction(str(share)) * len(values)
    assert sum(value <= found for value in values) >= needed
    assert sum(value < found for value in values) < needed


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.001, 1.0)])
def test_a_percentile_is_one_of_the_samples(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], share) == value


def test_percentiles_of_a_hundred_are_their_ranks() -> None:
    assert latencies(range(100, 0, -1)) == Latencies(count=100, p50=50, p90=90, p95=95, p99=99, p999=100, max=100)


def test_what_never_came_has_no_latency_but_counts() -> None:
    found = latencies([1.0] * 98 + [NEVER, NEVER])
    assert (found.count, found.p95, found.p99, found.max) == (100, 1.0, None, None)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Latencies) == found


def test_of_nothing_there_is_nothing() -> None:
    assert latencies([]) == Latencies()


@steady
@given(parts=st.lists(values, min_size=1, max_size=5))
def test_parts_that_are_merged_are_the_same_as_the_whole(parts: list[list[float]]) -> None:
    merged = Histogram(counts={})
    for part in parts:
        merged.merge(histogram(part))
    assert merged == histogram([value for part in parts for value in part])
    assert merged.count == sum(map(len, parts))


@steady
@given(values=values, share=shares)
def test_the_compact_form_tells_no_less_than_it_was_and_not_much_more(values: list[float], share: float) -> None:
    exact = percentile(sorted(values), share)
    told = histogram(values).percentile(share)
    if exact == NEVER:
        assert told == NEVER
    else:
        assert exact - 0.0005 <= told <= exact * (1 + RELATIVE_ERROR) + 0.001


def test_the_compact_form_stays_small_and_comes_back_from_a_file() -> None:
    made = histogram(number / 100 for number in range(100, 100_000))
    assert made.count == 99_900
    assert len(made.counts) < 10_000
    assert msgspec.json.decode(msgspec.json.encode(made), type=Histogram) == made


@pytest.mark.parametrize("took_us", [0, 1, 2_047, 2_048, 2_049, 4_095, 4_096, 10_000_000])
def test_every_value_lies_in_its_own_bucket(took_us: int) -> None:
    told = histogram([took_us / 1000]).percentile(1.0)
    assert took_us <= round(told * 1000) <= took_us * (1 + RELATIVE_ERROR)
