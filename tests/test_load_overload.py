"""A machine that others fill is an overload: it excuses who refuses for now, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.evidence.clock import wall_at
from harness.load.measurements import Observed
from harness.load.metrics import Span
from harness.load.records import Usage
from scenarios.load.overload import doubt_instead, machine_filled
from tests.load_runs import BEGAN_NS, LoadStory

SECOND_NS = 1_000_000_000


def seen(folder: Path, *full: tuple[float, float], ours: float = 0.4) -> Observed:
    """A machine of two cores that is full at these times; of it the system uses so many cores."""

    def machine(at_s: float) -> dict[str, float]:
        return {"machine_cpu": 1.0 if any(since <= at_s < until for since, until in full) else 0.5}

    def usage(at_s: float) -> dict[str, Usage]:
        return {"crm": Usage(cpu_s=ours * at_s, rss_bytes=1)}

    return LoadStory(observed=machine, usage=usage).measured(folder).observed


@pytest.mark.parametrize(
    ("full", "told"),
    [
        ([(6, 12)], [(5.5, 11.5)]),
        ([(6, 9), (10.5, 12)], [(5.5, 11.5)]),
        ([(3, 6), (12, 15)], [(2.5, 5.5), (11.5, 14.5)]),
        ([(6, 7)], []),
        ([], []),
    ],
    ids=["once", "with a pause", "twice", "for a moment", "never"],
)
def test_when_others_fill_the_machine_it_is_an_overload(
    tmp_path: Path, full: list[tuple[float, float]], told: list[tuple[float, float]]
) -> None:
    faults = machine_filled(seen(tmp_path, *full))
    at = [tuple(wall_at(BEGAN_NS / 1e9 + moment) for moment in span) for span in told]
    assert [(fault.injected_at, fault.healed_at) for fault in faults] == at
    assert all((fault.kind, fault.place) == ("overload", "machine") for fault in faults)


def test_a_machine_that_the_system_itself_fills_is_none(tmp_path: Path) -> None:
    assert machine_filled(seen(tmp_path, (6, 12), ours=1.8)) == []


def test_what_is_not_done_in_time_is_a_doubt_where_others_filled_the_machine_and_a_failure_elsewhere(
    tmp_path: Path,
) -> None:
    failure = AssertionError("not empty after 60 s")
    looks = seen(tmp_path, (6, 12))
    span = Span(BEGAN_NS + 6 * SECOND_NS, BEGAN_NS + 12 * SECOND_NS)
    assert doubt_instead(failure, looks, span) == "not empty after 60 s; but others used 80% of this machine then"
    with pytest.raises(AssertionError, match="not empty after 60 s"):
        doubt_instead(failure, looks, Span(BEGAN_NS, BEGAN_NS + 6 * SECOND_NS))
