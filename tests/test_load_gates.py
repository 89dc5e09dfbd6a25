"""Gates: what is written is what is asked; three answers; a breach says by how much, since when, and during what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence.records import Fault
from harness.evidence.run_directory import read_json, write_json
from harness.load.baseline import Baseline, Estimate, estimate
from harness.load.flows import follow
from harness.load.gate_language import EXAMPLE, GateError, parse
from harness.load.gates import PUNCTUAL, Gate, GateResult, judge_gates, load_gates, worst
from harness.load.measure import result_of
from harness.load.measurements import Measurements, observed
from harness.load.metrics import METRICS
from harness.load.percentiles import NEVER
from harness.load.records import LoadPlan, Sample, Usage
from harness.load.requests import traffic
from harness.target import PROJECT_ROOT
from tests.builders import steady, target
from tests.load_runs import BEGAN_NS, MOVE, READ, LoadStory, fault, step

PROFILES = ("smoke", "average", "stress", "spike", "soak", "breakpoint", "backlog", "drain", "race_storm")
GATES = PROJECT_ROOT / "scenarios" / "load" / "gates.toml"


def gate(text: str, **parts: Any) -> Gate:
    return Gate(text, parse(text), **parts)


def asked(
    seconds: int,
    took_ms: Callable[[float], float],
    *,
    a_second: int = 1,
    late_ms: float = 0,
    faults: Sequence[Fault] = (),
    meant: Callable[[int], bool] = lambda number: True,
    comes: Callable[[int], bool] = lambda number: True,
) -> Measurements:
    """A run in memory: so many requests a second, evenly spaced, no warm-up."""
    samples = []
    for number in filter(comes, range(seconds * a_second)):
        at_ns = BEGAN_NS + number * 1_000_000_000 // a_second
        ended_ns = at_ns + round(took_ms(number / a_second) * 1e6)
        samples.append(Sample(MOVE, at_ns, at_ns + round(late_ms * 1e6), ended_ns, 200, meant(number), ""))
    plan = LoadPlan(
        profile="average", seed=1, arrivals="constant", steps=(step(seconds, a_second),), warm_up_s=0, processes=1,
        scheduled=len(samples), began_ns=BEGAN_NS, ended_ns=BEGAN_NS + seconds * 1_000_000_000,
        drained_ns=BEGAN_NS + seconds * 1_000_000_000,
    )  # fmt: skip
    return Measurements(plan, traffic(samples), follow([], []), observed([], target()), tuple(faults), ())


def one(text: str, run: Measurements, baseline: Baseline | None = None, **parts: Any) -> GateResult:
    (result,) = judge_gates([gate(text, **({"fewest": 1} | parts))], run, baseline)
    return result


# --- the language -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "metric", "operator", "bound", "sustained_s"),
    [
        (EXAMPLE, "e2e.p99", "<", 250.0, 10.0),
        ("e2e.p99<1.5s", "e2e.p99", "<", 1500.0, None),
        ("  http.error_ratio   <=  0.1 %  ", "http.error_ratio", "<=", 0.001, None),
        ("http.error_ratio <= 0.001", "http.error_ratio", "<=", 0.001, None),
        ("completeness >= 100%", "completeness", ">=", 1.0, None),
        ("duplicate_deals == 0", "duplicate_deals", "==", 0.0, None),
        ("http.rate > 120/s sustained 2min", "http.rate", ">", 120.0, 120.0),
        ("http.rate >= 60/min", "http.rate", ">=", 1.0, None),
        ("wait.outbox.p50 < 20 ms", "wait.outbox.p50", "<", 20.0, None),
        ("generator.lateness.p99 < 50ms", "generator.lateness.p99", "<", 50.0, None),
        ("memory.slope < 20MB/h", "memory.slope", "<", 20.0, None),
        ("queue.depth.max < 5000 sustained 500ms", "queue.depth.max", "<", 5000.0, 0.5),
    ],
)
def test_what_is_written_is_what_is_asked(
    text: str, metric: str, operator: str, bound: float, sustained_s: float | None
) -> None:
    check = parse(text)
    assert (check.metric.name, check.operator, check.sustained_s) == (metric, operator, sustained_s)
    assert check.bound == pytest.approx(bound)
    assert not check.relative


@pytest.mark.parametrize(("text", "factor"), [("e2e.p99 <= baseline * 1.2", 1.2), ("http.rate >= baseline", 1.0)])
def test_a_baseline_may_be_the_bound(text: str, factor: float) -> None:
    check = parse(text)
    assert check.relative
    assert check.bound == factor


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "expected a metric; it ends here; metrics are http.p50, "),
        ("e2e.p9 < 1s", 1, "expected a metric; came 'e2e.p9': did you mean e2e.p99 or "),
        ("e2e < 1s", 1, "expected a metric; came 'e2e': did you mean e2e.p50, e2e.p90, "),
        ("zzz < 1s", 1, "came 'zzz'; metrics are "),
        ("e2e.p99 = 1s", 9, "expected one of < <= > >= ==; came '=': did you mean ==?"),
        ("e2e.p99", 8, "expected one of < <= > >= ==; it ends here"),
        ("e2e.p99 < fast", 11, "expected what e2e.p99 is: a time, such as 250ms, or baseline; came 'fast'"),
        ("e2e.p99 < basline", 11, "came 'basline': did you mean baseline?"),
        ("e2e.p99 < 250", 14, "expected a unit of what e2e.p99 is: ms or s or min; it ends here"),
        ("e2e.p99 < 250%", 14, "expected a unit of what e2e.p99 is: ms or s or min; came '%'"),
        ("duplicate_deals < 3ms", 20, "expected no unit, for it is a number; came 'ms'"),
        ("e2e.p99 < 250ms sustaned 10s", 17, "expected sustained TIME, or nothing more; came 'sustaned': did you mean"),
        ("e2e.p99 < 250ms sustained", 26, "expected how long: a time, such as 250ms; it ends here"),
        ("e2e.p99 < 250ms sustained 10s please", 31, "expected nothing more; came 'please'"),
        ("drain < 5s sustained 3s", 12, "expected nothing more, for drain is known once for the whole run"),
        ("e2e.max <= baseline", 12, "e2e.max has no interval to compare by; these have one: http.p50, "),
        ("http.p50 == baseline", 13, "no two runs are equal"),
        ("http.p50 <= baseline + 3", 22, "expected * FACTOR, or nothing more; came '+'"),
        ("http.p50 <= baseline * much", 24, "expected a factor, such as 1.2; came 'much'"),
    ],
)
def test_what_nobody_understands_is_refused_where_it_stands(text: str, column: int, says: str) -> None:
    with pytest.raises(GateError) as refused:
        parse(text)
    assert says in str(refused.value)
    assert refused.value.column == column


@steady
@given(st.text(alphabet="e2.p9<>= 1ms%*/bxß\n\"'[", max_size=30))
def test_whatever_is_written_is_understood_or_refused(text: str) -> None:
    column = 1
    try:
        parse(text)
    except GateError as refused:
        column = refused.column
    assert 1 <= column <= len(text) + 1


# --- the file ---------------------------------------------------------------------------------------------------


def written(folder: Path, text: str) -> Path:
    path = folder / "gates.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_profile_is_asked_its_own_gates_and_those_of_all(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        [[gate]]
        check = "e2e.p99 < 1s"
        [[gate]]
        check = "http.p99 < 1s"
        profile = ["soak"]
        endpoint = "POST /leads"
        minimum_samples = 7
        [[gate]]
        check = "generator.lateness.p50 < 1s"
        profile = ["soak"]
        """,
    )
    assert [one.text for one in load_gates(path, "smoke", PROFILES)] == ["e2e.p99 < 1s", PUNCTUAL]
    soak = load_gates(path, "soak", PROFILES)
    assert [one.text for one in soak] == ["e2e.p99 < 1s", "http.p99 < 1s", "generator.lateness.p50 < 1s"]
    assert (soak[1].endpoint, soak[1].needs, soak[0].needs) == ("POST /leads", 7, 100)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[gate]]\ncheck = "e2e.p9 < 1s"', "gates.toml: gate 1, column 1: expected a metric"),
        ('[[gate]]\ncheck = "e2e.p99 < 1s"\n[[gate]]\ncheck = "drain < 1"', "gate 2, column 10: expected a unit"),
        ('[[gate]]\ncheck = "drain < 1s"\nprofil = ["soak"]', "contains unknown field `profil`"),
        ('[[gate]]\ncheck = "drain < 1s"\nprofile = ["soap"]', "gate 1: no profile 'soap': did you mean soak?"),
        ('[[gate]]\ncheck = "drain < 1s"\nprofile = ["x"]', "gate 1: no profile 'x'; there are smoke, average"),
        ('[[gate]]\ncheck = "drain < 1s"\nendpoint = "POST /leads"', "endpoint is for http.*, and drain is about"),
        ('[[gate]]\ncheck = "drain < 1s"\nprofile = ["soak"]', "no gate for the profile 'smoke'"),
        ("[[gate]", "gates.toml: "),
        ("[[gate]]", "missing required field `check`"),
        ("", "no gate for the profile"),
    ],
)
def test_a_file_that_nobody_understands_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(GateError) as refused:
        load_gates(written(tmp_path, text), "smoke", PROFILES)
    assert says in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_a_mistake_is_pointed_at(tmp_path: Path) -> None:
    with pytest.raises(GateError) as refused:
        load_gates(written(tmp_path, '[[gate]]\ncheck = "drain < 5 sekunden"'), "smoke", PROFILES)
    assert str(refused.value).endswith("\n    drain < 5 sekunden\n              ^")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"no file of gates .*none\.toml"):
        load_gates(tmp_path / "none.toml", "smoke", PROFILES)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_has_gates_that_ask_for_all_deals_and_a_punctual_generator(profile: str) -> None:
    names = [one.check.metric.name for one in load_gates(GATES, profile, PROFILES)]
    assert {"completeness", "duplicate_deals", "dead_letters", "drain"} <= set(names)
    assert sum(name.startswith("generator.lateness") for name in names) == 1


# --- the answers ------------------------------------------------------------------------------------------------


@steady
@given(slow=st.lists(st.booleans(), min_size=3, max_size=25), seconds=st.integers(1, 6))
def test_sustained_is_broken_only_by_so_many_slow_seconds_on_end(slow: list[bool], seconds: int) -> None:
    run = asked(len(slow), lambda at_s: 300 if slow[round(at_s)] else 10)
    result = one(f"http.p50 < 250ms sustained {seconds}s", run)
    at, since_s = 0, None
    for broken, group in groupby(slow):
        length = len(list(group))
        if broken and length >= seconds and since_s is None:
            since_s = float(at)
        at += length
    assert (result.status, result.since_s) == ("pass" if since_s is None else "fail", since_s)


def test_a_second_in_which_nobody_came_does_not_end_a_stretch() -> None:
    run = asked(30, lambda at_s: 300, comes=lambda number: number % 3 != 1)
    assert len(run.traffic.all.took_ms.values) == 20
    result = one("http.p50 < 250ms sustained 20s", run)
    assert result.status == "fail"


def test_a_breach_says_by_how_much_since_when_and_during_what() -> None:
    run = asked(
        30, lambda at_s: 400 if 10 <= at_s < 18 or at_s == 3 else 20, a_second=10,
        faults=[fault(1, 5, kind="cut"), fault(9.5, 17.5), fault(20, 25, place="crm→database")],
    )  # fmt: skip
    result = one("http.p99 < 250ms sustained 5s", run)
    assert (result.status, result.value, result.bound, result.samples) == ("fail", 400.0, 250.0, 300)
    assert (result.since_s, result.since_at) == (10.0, "2026-01-01T00:00:20.000000Z")
    assert result.during == ("latency on pipeline→broker",)
    assert result.says == (
        "http.p99 was 400 ms, 150 ms (60%) over 250 ms, for 8 s from second 10 on (2026-01-01T00:00:20.000000Z), "
        "while latency on pipeline→broker"
    )


def test_over_the_whole_run_it_began_with_the_longest_stretch_and_not_with_a_single_slow_second() -> None:
    run = asked(30, lambda at_s: 400 if 10 <= at_s < 18 or at_s == 3 else 20, a_second=10)
    result = one("http.p99 < 250ms", run)
    assert (result.status, result.since_s) == ("fail", 10.0)


def test_what_holds_over_the_whole_run_needs_no_second_to_hold() -> None:
    run = asked(30, lambda at_s: 400 if at_s == 3 else 20, a_second=10)
    result = one("http.p95 < 250ms", run)
    assert (result.status, result.since_s, result.during) == ("pass", None, ())


def test_at_least_is_asked_as_well_as_at_most() -> None:
    assert one("http.rate >= 10/s", asked(20, lambda at_s: 1, a_second=10)).status == "pass"
    slow = one("http.rate >= 20/s", asked(20, lambda at_s: 1, a_second=10))
    assert slow.status == "fail"
    assert "http.rate was 10 /s, 10 /s (50%) under 20 /s" in slow.says


def test_when_nobody_is_answered_any_more_the_rate_is_nothing() -> None:
    run = asked(20, lambda at_s: 10 if at_s < 8 else 60_000, a_second=10)
    assert one("http.rate > 5/s sustained 5s", run).since_s == 8.0


def test_failures_are_a_share_of_all() -> None:
    run = asked(10, lambda at_s: 1, a_second=10, meant=lambda number: number % 50 != 0)
    assert one("http.error_ratio <= 2%", run).status == "pass"
    assert one("http.error_ratio <= 1%", run).status == "fail"


def test_one_endpoint_may_be_asked_by_itself_and_one_that_nobody_asked_is_no_pass() -> None:
    run = asked(30, lambda at_s: 1)
    assert one("http.p50 < 250ms", run, endpoint=MOVE).status == "pass"
    result = one("http.p50 < 250ms", run, endpoint="PATCH /lead/{lead_id}/stage")
    assert result.status == "inconclusive"
    assert "nobody asked PATCH /lead/{lead_id}/stage: did you mean PATCH /leads/{lead_id}/stage?" in result.says
    assert "there are" in one("http.p50 < 250ms", run, endpoint="x").says


@pytest.mark.parametrize(("share", "needs"), [("p50", 10), ("p90", 10), ("p95", 20), ("p99", 100), ("p999", 1000)])
def test_too_few_samples_are_no_pass_and_no_failure(share: str, needs: int) -> None:
    for took_ms in (1, 9999):
        result = one(f"http.{share} < 250ms", asked(needs - 1, lambda at_s, ms=took_ms: ms), fewest=None)  # type: ignore[misc]
        assert result.status == "inconclusive"
        assert f"needed at least {needs:,}" in result.says
    assert one(f"http.{share} < 250ms", asked(needs, lambda at_s: 1), fewest=None).status == "pass"


def test_how_many_are_needed_may_be_said() -> None:
    assert one("http.p99 < 250ms", asked(50, lambda at_s: 1), fewest=50).status == "pass"
    assert one("http.p99 < 250ms", asked(50, lambda at_s: 1), fewest=51).status == "inconclusive"


def test_a_run_without_flows_proves_nothing_about_them() -> None:
    run = asked(30, lambda at_s: 1)
    assert {one(text, run).status for text in ("completeness >= 100%", "duplicate_deals == 0", "e2e.p50 < 1s")} == {
        "inconclusive"
    }


def test_a_run_that_nobody_observed_proves_nothing_about_queues() -> None:
    run = asked(30, lambda at_s: 1)
    for text in ("queue.depth.max < 10", "outbox.age.max < 1s", "dead_letters == 0", "memory.slope < 1MB/h"):
        assert one(text, run).status == "inconclusive"


def test_no_gates_are_no_pass() -> None:
    assert worst([]) == "inconclusive"


# --- a late generator -------------------------------------------------------------------------------------------


def test_with_a_late_generator_nothing_is_known_of_latency_whichever_way_it_is() -> None:
    run = asked(30, lambda at_s: 100, a_second=10, late_ms=80)
    results = judge_gates([gate("http.p50 < 250ms"), gate("http.p50 < 50ms"), gate(PUNCTUAL)], run)
    assert [result.status for result in results] == ["inconclusive"] * 3
    assert worst(results) == "inconclusive"
    assert f"but the generator was late, so this says nothing about the system ({PUNCTUAL} does not hold)" in (
        results[1].says
    )
    assert "generator.lateness.p99 was 80 ms, 30 ms (60%) over 50 ms" in results[2].says


def test_a_deal_that_is_missing_or_doubled_is_no_fault_of_a_late_generator(tmp_path: Path) -> None:
    run = LoadStory(late_ms=lambda at_s: 90, deals=lambda number: {5: -1, 7: 2}.get(number, 1)).measured(tmp_path)
    gates = [gate(text) for text in ("completeness >= 100%", "duplicate_deals == 0", "e2e.p99 < 1s", PUNCTUAL)]
    results = judge_gates(gates, run)
    assert [result.status for result in results] == ["fail", "fail", "inconclusive", "inconclusive"]
    assert worst(results) == "fail"
    assert (results[0].since_s, results[1].since_s) == (0.0, 0.0)


def test_a_punctual_generator_casts_no_doubt() -> None:
    run = asked(30, lambda at_s: 100, a_second=10, late_ms=30)
    assert [one.status for one in judge_gates([gate("http.p50 < 50ms"), gate(PUNCTUAL)], run)] == ["fail", "pass"]


# --- what was seen of the system --------------------------------------------------------------------------------


def seen(at_s: float) -> dict[str, Any]:
    stuck = 6 <= at_s < 9
    return {
        "depths": {"automation.events": 300 * stuck, "automation.dlq": 1000}, "oldest_unsent_s": 2.0 * stuck,
        "dead_letters": 4 * (at_s > 15),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "status", "value", "since_s"),
    [
        ("queue.depth.max < 200", "fail", 300.0, 6.0),
        ("queue.depth.max < 200 sustained 5s", "pass", 300.0, None),
        ("outbox.age.max < 1s sustained 3s", "fail", 2000.0, 6.0),
        ("dead_letters == 0", "fail", 4.0, 15.0),
        ("drain < 1s", "pass", 500.0, None),
        ("drain < 100ms", "fail", 500.0, None),
    ],
)
def test_queues_outbox_and_dead_letters_are_asked_as_they_were_seen(
    tmp_path: Path, text: str, status: str, value: float, since_s: float | None
) -> None:
    result = one(text, LoadStory(observed=seen).measured(tmp_path))
    assert (result.status, result.value, result.since_s) == (status, value, since_s)


def test_a_run_that_never_came_to_rest_has_drained_never(tmp_path: Path) -> None:
    result = one("drain < 60s", LoadStory(drained_s=None).measured(tmp_path))
    assert (result.status, result.value) == ("fail", None)
    assert result.says == "drain was without end, over 60 s without measure"


def test_flows_that_never_end_break_a_percentile_without_measure(tmp_path: Path) -> None:
    run = LoadStory(deals=lambda number: -1 if number % 20 == 0 else 1).measured(tmp_path)
    assert one("e2e.p50 < 250ms", run).status == "pass"
    result = one("e2e.p99 < 250ms", run)
    assert (result.status, result.value) == ("fail", None)
    assert one("e2e.error_ratio < 4%", run).status == "fail"


@pytest.mark.parametrize(
    ("machine", "ours", "status"),
    [(1.0, 0.4, "inconclusive"), (1.0, 1.8, "fail"), (0.7, 0.4, "fail")],
    ids=["full of others", "full of ours", "not full"],
)
def test_a_machine_that_others_fill_makes_what_is_slow_inconclusive_and_what_is_missing_fails(
    tmp_path: Path, machine: float, ours: float, status: str
) -> None:
    run = LoadStory(
        http_ms=lambda at_s: 400,
        deals=lambda number: -1 if number == 7 else 1,
        observed=lambda at_s: {"machine_cpu": machine},
        usage=lambda at_s: {"crm": Usage(cpu_s=ours * at_s, rss_bytes=1)},
    ).measured(tmp_path)
    slow = one("http.p50 < 250ms", run)
    assert (slow.status, "others used 80% of this machine" in slow.says) == (status, status == "inconclusive")
    assert one("completeness >= 100%", run).status == "fail"


def test_memory_is_asked_by_the_service_that_grows_most_and_no_server_counts(tmp_path: Path) -> None:
    def usage(at_s: float) -> dict[str, Usage]:
        mb = {"crm": 50.0, "automation": 50 + at_s, "postgres": 50 + 2 * at_s}
        return {name: Usage(cpu_s=0, rss_bytes=round(1e6 * size)) for name, size in mb.items()}

    result = one("memory.slope < 20MB/h", LoadStory(usage=usage, steps=(step(90, 2),)).measured(tmp_path))
    assert result.status == "fail"
    assert result.value == pytest.approx(3600, rel=0.01)


# --- baselines --------------------------------------------------------------------------------------------------


def noisy(seed: int, *, slower: float = 1.0, seconds: int = 60) -> Measurements:
    chance = Random(seed)
    return asked(seconds, lambda at_s: slower * chance.lognormvariate(3, 0.5), a_second=20)


@pytest.mark.parametrize("metric", ["http.p50", "http.p95", "http.p99"])
def test_only_what_lies_beyond_both_intervals_is_slower_than_the_baseline(metric: str) -> None:
    then = Baseline(profile="average", estimates=result_of(noisy(1), []).estimates)
    text = f"{metric} <= baseline * 1.2"
    assert one(text, noisy(2), then).status == "pass"
    assert one(text, noisy(2, slower=2.5), then).status == "fail"


def test_a_difference_within_chance_is_none_however_small_the_factor_and_is_told_with_both_intervals() -> None:
    then = Baseline(profile="average", estimates=result_of(noisy(1), []).estimates)
    reds = [one("http.p95 <= baseline", noisy(seed), then).status for seed in range(2, 42)]
    assert reds.count("fail") <= 1
    slower = one("http.p95 <= baseline", noisy(3, slower=1.5), then)
    assert slower.status == "fail"
    assert "of the baseline, 95% each" in slower.says


def test_less_than_the_baseline_is_a_breach_where_more_is_better() -> None:
    then = Baseline(profile="average", estimates=result_of(asked(60, lambda at_s: 1, a_second=20), []).estimates)
    assert one("http.rate >= baseline", asked(60, lambda at_s: 1, a_second=19), then).status == "pass"
    assert one("http.rate >= baseline", asked(60, lambda at_s: 1, a_second=10), then).status == "fail"
    assert one("http.rate >= baseline * 0.4", asked(60, lambda at_s: 1, a_second=10), then).status == "pass"


@pytest.mark.parametrize("share", ["p50", "p90", "p99"])
def test_the_interval_of_a_percentile_holds_the_true_one_as_often_as_it_says(share: str) -> None:
    metric = METRICS[f"http.{share}"]
    true = 100 * metric.share
    hits = 0
    for seed in range(100):
        chance = Random(seed)
        found = estimate(metric, asked(40, lambda at_s, c=chance: c.uniform(0, 100), a_second=25))  # type: ignore[misc]
        assert found is not None
        hits += (found.low or 0) <= true <= (NEVER if found.high is None else found.high)
    assert hits >= 90


def test_a_baseline_of_too_few_samples_to_know_how_slow_it_may_have_been_is_no_bound() -> None:
    few = asked(10, lambda at_s: 20, a_second=10)
    then = Baseline(profile="average", estimates=result_of(few, []).estimates)
    assert then.estimates["http.p99"].high is None
    assert one("http.p99 <= baseline", asked(10, lambda at_s: 900, a_second=10), then).status == "pass"


def test_without_a_baseline_nothing_is_compared() -> None:
    assert one("http.p95 <= baseline", noisy(1)).status == "inconclusive"
    result = one("http.p95 <= baseline", noisy(1), Baseline(profile="smoke"))
    assert (result.status, result.says) == (
        "inconclusive", "http.p95 cannot be told: the baseline of smoke does not tell it"
    )  # fmt: skip


def test_a_result_is_a_baseline_and_a_small_file_will_do(tmp_path: Path) -> None:
    result = result_of(noisy(1), [])
    write_json(tmp_path / "load.json", result)
    read = read_json(tmp_path / "load.json", Baseline)
    assert read.estimates == result.estimates
    assert f"http.p99 {MOVE}" in read.estimates
    write_json(tmp_path / "baseline.json", read)
    assert (tmp_path / "baseline.json").stat().st_size < 5_000
    assert READ not in str(msgspec.json.encode(read))


def test_what_never_came_then_can_be_no_worse_now() -> None:
    never = Estimate(value=None, low=None, high=None, count=100)
    then = Baseline(profile="average", estimates={"http.p95": never})
    assert one("http.p95 <= baseline", noisy(1), then).status == "pass"


def test_of_all_metrics_each_can_be_asked_of_a_run(tmp_path: Path) -> None:
    usage = {"crm": Usage(cpu_s=0, rss_bytes=1)}
    run = LoadStory(observed=seen, usage=lambda at_s: usage, steps=(step(90, 2),)).measured(tmp_path)
    texts = [f"{name} >= 0{ {'time': 'ms', 'rate': '/s', 'MB/h': 'MB/h'}.get(metric.dimension, '') }"
             for name, metric in METRICS.items()]  # fmt: skip
    results = judge_gates([gate(text, fewest=1) for text in texts], run)
    assert {result.status for result in results} == {"pass"}
