"""The course of a load run: its series, the knee, what had no more to give, and whether memory grows."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harness.load.knee import Knee, find_knee, saturation
from harness.load.measurements import Measurements
from harness.load.records import Usage
from harness.load.series import MOST_WINDOWS, fault_windows, series, window_s
from harness.load.slope import Slope, slope
from harness.load.tracks import Track
from tests.load_runs import BEGAN_NS, LoadStory, fault, step

# --- series -----------------------------------------------------------------------------------------------------


def test_every_request_and_every_flow_is_in_one_window(tmp_path: Path) -> None:
    story = LoadStory(
        status=lambda number: 500 if number % 10 == 0 else 200, deals=lambda number: -1 if number == 33 else 1,
        http_ms=lambda at_s: 1_500 if at_s > 18 else 10,
    )  # fmt: skip
    run = story.measured(tmp_path)
    windows = series(run)
    assert [window.at_s for window in windows] == [float(second) for second in range(len(windows))]
    assert sum(window.arrivals for window in windows) == 400
    assert (sum(window.answered for window in windows), sum(window.failed for window in windows)) == (360, 40)
    assert (sum(window.begun for window in windows), sum(window.finished for window in windows)) == (360, 359)
    assert windows[0].arrivals == 20
    assert windows[19].answered < 20  # what was slow is answered after the last arrival
    assert windows[20].arrivals == 0
    assert windows[20].http is None
    assert windows[20].answered > 0
    assert windows[20].failed > 0


def test_a_window_tells_what_was_meant_to_begin_in_it(tmp_path: Path) -> None:
    run = LoadStory(http_ms=lambda at_s: 900 if 5 <= at_s < 6 else 10, deals=lambda n: -1 if n == 70 else 1).measured(
        tmp_path
    )
    windows = series(run)
    slow = [window.at_s for window in windows if window.http and (window.http.p50 or 0) > 100]
    assert slow == [5.0]
    assert [window.at_s for window in windows if window.e2e and window.e2e.max is None] == [3.0]
    assert windows[3].e2e is not None
    assert windows[3].e2e.p50 == 65.0


def test_a_window_tells_what_was_seen_in_it(tmp_path: Path) -> None:
    def observed(at_s: float) -> dict[str, Any]:
        return {
            "unsent": 7 * (at_s == 4.5), "oldest_unsent_s": 0.25 * (at_s == 4.5), "machine_cpu": 0.5,
            "depths": {"automation.events": 9 * (at_s == 4), "automation.dlq": 3},
        }  # fmt: skip

    def usage(at_s: float) -> dict[str, Usage]:
        """It was started anew in the eighth second, so its CPU counts from 0 again."""
        return {"crm": Usage(cpu_s=0.5 * (at_s if at_s < 8 else at_s - 8), rss_bytes=50_000_000)}

    windows = series(LoadStory(observed=observed, usage=usage).measured(tmp_path))
    assert (windows[4].unsent, windows[4].oldest_unsent_s, windows[4].depth, windows[4].machine_cpu) == (
        7,
        0.25,
        9,
        0.5,
    )
    assert (windows[5].unsent, windows[5].depth) == (0, 0)
    assert windows[5].rss_mb == {"crm": 50.0}
    assert {window.cpu_cores["crm"] for window in windows[:20]} == {0.5}


def test_a_long_run_has_wider_windows(tmp_path: Path) -> None:
    run = LoadStory(steps=(step(2000, 0.1),)).measured(tmp_path)
    assert window_s(run) == 4
    assert len(series(run)) <= MOST_WINDOWS
    assert sum(window.arrivals for window in series(run)) == 200


def test_faults_stand_in_the_course_from_their_effect_to_their_end(tmp_path: Path) -> None:
    run = LoadStory(faults=[fault(8, 13, kind="cut", place="a→b"), fault(3, 4)]).measured(tmp_path)
    assert [(one.kind, one.place, one.since_s, one.until_s) for one in fault_windows(run)] == [
        ("latency", "pipeline→broker", 3.0, 4.0), ("cut", "a→b", 8.0, 13.0),
    ]  # fmt: skip


# --- the knee ---------------------------------------------------------------------------------------------------

RATES = (20, 40, 60, 80, 100)


def stepped(took_ms: Callable[[float], float], **parts: Any) -> LoadStory:
    """Five steps of ten seconds."""
    steps = tuple(step(10, rate) for rate in RATES)
    return LoadStory(steps=steps, profile="breakpoint", warm_up_s=0, queue_ms=took_ms, **parts)


def full_at(at_s: float, *, capacity: float = 60) -> float:
    """How long a queue is that takes so much and no more: what is offered beyond that adds up."""
    waiting = 0.0
    for number, rate in enumerate(RATES):
        waiting += max(0.0, rate - capacity) * min(10, max(0.0, at_s - 10 * number))
    return 1000 * waiting / capacity


def knee_of(story: LoadStory, folder: Path, **parts: Any) -> Knee:
    found = find_knee(story.measured(folder), **parts)
    assert found is not None
    return found


def test_the_knee_is_the_last_step_that_is_kept_up_with(tmp_path: Path) -> None:
    knee = knee_of(stepped(full_at), tmp_path)
    assert (knee.rate, knee.broke) == (60, 80)
    assert [step.kept_up for step in knee.steps] == [True, True, True, False, False]
    assert "of 80 flows a second" in knee.why


def test_a_step_that_is_too_slow_is_not_kept_up_with_though_all_of_it_ends(tmp_path: Path) -> None:
    story = stepped(lambda at_s: 700 if at_s >= 20 else 10)
    assert knee_of(story, tmp_path / "1").rate == 100
    slow = knee_of(story, tmp_path / "2", bound_ms=500)
    assert slow.rate == 40
    assert slow.why == "one flow in a hundred took 760 ms or more, at most 500 ms are allowed"


def test_requests_that_are_not_answered_as_fast_as_they_come_are_a_knee_as_well(tmp_path: Path) -> None:
    knee = knee_of(stepped(lambda at_s: 5, http_ms=full_at, flow=lambda number: False), tmp_path)
    assert knee.rate == 60
    assert knee.why.startswith("of 80 requests a second")


def test_where_every_step_is_kept_up_with_the_knee_lies_higher(tmp_path: Path) -> None:
    knee = knee_of(stepped(lambda at_s: 5), tmp_path)
    assert (knee.rate, knee.broke, knee.why) == (100, None, "every step was kept up with: the knee lies higher")


def test_where_none_is_the_knee_lies_below(tmp_path: Path) -> None:
    knee = knee_of(stepped(lambda at_s: 5000), tmp_path)
    assert (knee.rate, knee.broke) == (None, 20)


def test_a_run_at_one_rate_has_no_knee(tmp_path: Path) -> None:
    assert find_knee(LoadStory().measured(tmp_path)) is None


def busy(at_s: float) -> dict[str, Usage]:
    """The automation works more with each step, until it has a whole core."""
    used, cores = 0.0, (0.3, 0.6, 0.8, 0.98, 0.99)
    for number, share in enumerate(cores):
        used += share * min(10, max(0.0, at_s - 10 * number))
    return {"automation": Usage(cpu_s=used, rss_bytes=1), "crm": Usage(cpu_s=0.4 * at_s, rss_bytes=1)}


def test_what_gave_way_first_is_named_with_its_evidence(tmp_path: Path) -> None:
    def observed(at_s: float) -> dict[str, Any]:
        return {"depths": {"automation.events": round(full_at(at_s) / 1000 * 60)}}

    knee = knee_of(stepped(full_at, usage=busy, observed=observed), tmp_path)
    assert [(one.what, one.at_s, one.offered) for one in knee.saturated] == [
        ("CPU of automation", 30.0, 80.0), ("the queues", 30.0, 80.0),
    ]  # fmt: skip
    assert knee.saturated[0].evidence.startswith("it used 0.97 cores")


def test_what_has_no_more_to_give_is_told_of_where_it_showed_first(tmp_path: Path) -> None:
    found = saturation(stepped(lambda at_s: 5, usage=busy).measured(tmp_path))
    assert [(one.what, one.at_s) for one in found] == [("CPU of automation", 30.0)]


def test_a_generator_that_gave_way_first_is_named_as_well(tmp_path: Path) -> None:
    late = stepped(full_at, late_ms=lambda at_s: 80 if at_s > 30 else 1, observed=lambda at_s: {"machine_cpu": 0.99})
    names = [one.what for one in knee_of(late, tmp_path).saturated]
    assert names == ["CPU of the machine", "the generator"]


def test_an_outbox_that_falls_behind_is_named(tmp_path: Path) -> None:
    run = LoadStory(observed=lambda at_s: {"oldest_unsent_s": at_s / 2}).measured(tmp_path)
    assert [one.what for one in saturation(run)] == ["the outbox"]


def test_a_system_at_ease_has_saturated_nothing(tmp_path: Path) -> None:
    assert (
        saturation(LoadStory(usage=lambda at_s: {"crm": Usage(cpu_s=0.4 * at_s, rss_bytes=1)}).measured(tmp_path)) == []
    )


# --- memory -----------------------------------------------------------------------------------------------------


def memory(mb_at: Callable[[float], float], *, seconds: int = 3600) -> Track:
    """Observed twice a second."""
    moments = [BEGAN_NS + number * 500_000_000 for number in range(seconds * 2)]
    return Track(array("q", moments), array("d", [1e6 * mb_at((at - BEGAN_NS) / 1e9) for at in moments]))


def found(mb_at: Callable[[float], float], **parts: Any) -> Slope:
    made = slope(memory(mb_at, **parts), BEGAN_NS + 300e9)
    assert made is not None
    return made


def test_a_leak_is_a_slope_with_a_narrow_interval_whatever_came_in_the_warm_up() -> None:
    chance = Random(1)
    leak = found(lambda at_s: 80 + 40 * at_s / 3600 + chance.gauss(0, 1) + 100 * (at_s < 250))
    assert not leak.flat
    assert leak.low <= 40 <= leak.high
    assert leak.high - leak.low < 2
    assert leak.grew_mb == pytest.approx(40 * 55 / 60, rel=0.05)


@pytest.mark.parametrize(
    "mb_at",
    [
        lambda at_s: 80.0,
        lambda at_s: 80 + 5 * math.sin(at_s / 200),
        lambda at_s: 80 + at_s / 3600,
    ],
    ids=["level", "waves", "a megabyte in all"],
)
def test_what_does_not_grow_or_hardly_is_flat(mb_at: Callable[[float], float]) -> None:
    assert found(mb_at).flat


@pytest.mark.parametrize("seed", range(8))
def test_memory_that_wanders_is_not_taken_for_a_leak(seed: int) -> None:
    """Each value depends on the one before, so they prove less than as many independent ones would."""
    chance, level = Random(seed), [80.0]
    for _ in range(7200):
        level.append(80 + 0.995 * (level[-1] - 80) + chance.gauss(0, 1))
    assert found(lambda at_s: level[round(at_s * 2)]).flat


def test_of_a_few_observations_there_is_no_slope() -> None:
    assert slope(memory(lambda at_s: at_s, seconds=4), BEGAN_NS) is None


def test_the_run_says_what_it_measured(tmp_path: Path) -> None:
    run: Measurements = LoadStory(drained_s=2.5).measured(tmp_path)
    assert run.drain_s == 2.5
    assert (run.warm_ns - BEGAN_NS, run.scheduled_until_ns - BEGAN_NS) == (2_000_000_000, 20_000_000_000)
