"""End to end, from the request as it was meant to the deal, as the log lines tell; and where the time went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.log_lines import decode_line
from harness.evidence.clock import unix_ns
from harness.evidence.run_directory import read_json, write_json
from harness.load.measure import result_of
from harness.load.measurements import Measurements, read_measurements
from harness.load.percentiles import NEVER
from harness.load.result import LoadResult
from harness.load.tracks import Track
from tests.builders import target, uid
from tests.load_runs import BEGAN_NS, MOVE, READ, LoadStory, step

SHORT = (step(3, 10),)


def told(run: Measurements) -> dict[str, set[float]]:
    """Every value there is."""
    tracks: list[tuple[str, Track]] = [("e2e", run.flows.took_ms), *run.flows.waits_ms.items()]
    return {name: {round(value, 3) for value in track.values} for name, track in tracks}


def story(**parts: Any) -> LoadStory:
    return LoadStory(steps=SHORT, **({"warm_up_s": 1.0} | parts))


def test_a_moment_is_exact_to_the_microsecond() -> None:
    assert unix_ns("2026-01-01T00:00:59.123456Z") == 1_767_225_659_123_456_000


def test_the_stories_lines_keep_the_contract(tmp_path: Path) -> None:
    directory = story().write(tmp_path)
    for log in directory.run.logs("main").iterdir():
        for raw in log.read_bytes().splitlines():
            decode_line(raw)


def test_a_flow_takes_from_when_it_was_meant_to_begin_until_crm_has_answered_with_its_deal(tmp_path: Path) -> None:
    run = story(late_ms=lambda at_s: 7).measured(tmp_path)
    assert told(run) == {"e2e": {65.0}, "outbox": {20.0}, "queue": {5.0}, "handler": {30.0}, "call": {15.0}}
    assert run.flows.took_ms.moments_ns[0] == BEGAN_NS + 50_000_000
    assert set(run.traffic.all.late_ms.values) == {7.0}
    assert len(run.flows.done_at_end.values) == 30


def test_samples_of_all_processes_are_one_run(tmp_path: Path) -> None:
    run = story(processes=3, http_ms=lambda at_s: 1 + at_s).measured(tmp_path)
    assert list(run.traffic.all.took_ms.values) == pytest.approx([1.05 + number / 10 for number in range(30)])
    assert list(run.traffic.by_endpoint) == [MOVE]


def test_a_flow_that_never_ends_took_forever_and_is_named(tmp_path: Path) -> None:
    run = story(deals=lambda number: -1 if number in (3, 17) else 1).measured(tmp_path)
    assert run.flows.unfinished == [uid("flow 3"), uid("flow 17")]
    assert list(run.flows.took_ms.values).count(NEVER) == 2
    e2e = result_of(run, []).e2e
    assert (e2e.begun, e2e.finished, e2e.latency.p50, e2e.latency.max) == (30, 28, 65.0, None)


def test_a_conflict_about_the_deal_is_no_end(tmp_path: Path) -> None:
    run = story(deals=lambda number: number != 5).measured(tmp_path)
    assert run.flows.unfinished == [uid("flow 5")]


def test_a_second_deal_is_one_too_many(tmp_path: Path) -> None:
    run = story(deals=lambda number: 3 if number == 9 else 1).measured(tmp_path)
    assert result_of(run, []).e2e.excess_deals == 2
    assert told(run)["e2e"] == {65.0}  # with the first it was there


def test_what_was_refused_has_not_begun(tmp_path: Path) -> None:
    run = story(status=lambda number: 409 if number < 4 else 200).measured(tmp_path)
    assert len(run.flows.finished.values) == 26
    assert run.flows.unfinished == []


def test_without_an_answer_the_log_says_whether_it_has_begun(tmp_path: Path) -> None:
    """Of status 0 the story tells what happened all the same, of 503 it does not."""
    run = story(status=lambda number: {4: 0, 8: 503}.get(number, 200)).measured(tmp_path)
    assert len(run.flows.finished.values) == 29
    assert run.flows.unfinished == []


def test_an_acknowledged_request_of_which_the_log_knows_nothing_has_begun(tmp_path: Path) -> None:
    """That its event was never stored is no excuse."""
    directory = story().write(tmp_path)
    log = directory.run.logs("main") / "pipeline-1.ndjson"
    log.write_bytes(b"")
    assert len(read_measurements(directory, target()).flows.finished.values) == 30


def test_a_consumer_that_is_faster_than_the_line_about_the_confirm_has_not_waited(tmp_path: Path) -> None:
    assert told(story(queue_ms=lambda at_s: -2).measured(tmp_path))["queue"] == {0.0}


def test_reads_are_no_flows_and_have_an_endpoint_of_their_own(tmp_path: Path) -> None:
    run = story(flow=lambda number: number % 2 == 0).measured(tmp_path)
    assert {name: len(one.took_ms.values) for name, one in run.traffic.by_endpoint.items()} == {READ: 15, MOVE: 15}
    assert len(run.flows.finished.values) == 15


def test_lines_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    directory = story().write(tmp_path)
    log = directory.run.logs("main") / "crm-1.ndjson"
    whole = log.read_bytes()
    log.write_bytes(b"\xff\n" + whole[: len(whole) // 2 + 40] + b"\n{}\n" + whole[len(whole) // 2 :])
    unfinished = read_measurements(directory, target()).flows.unfinished
    assert len(unfinished) <= 1


def test_a_line_with_a_time_that_is_none_is_passed_over(tmp_path: Path) -> None:
    directory = story().write(tmp_path)
    log = directory.run.logs("main") / "crm-1.ndjson"
    log.write_bytes(log.read_bytes().replace(b'"ts":"2026-', b'"ts":"2O26-', 1))
    assert read_measurements(directory, target()).flows.unfinished == [uid("flow 0")]


def test_a_clock_that_is_fast_makes_nothing_slow(tmp_path: Path) -> None:
    directory = story().write(tmp_path)
    log = directory.run.logs("main") / "crm-1.ndjson"
    log.write_bytes(log.read_bytes().replace(b'"ts":"2026-01-01T00:00', b'"ts":"2026-01-01T00:01'))
    stack = msgspec.json.decode(directory.run.stack_file("main").read_bytes())
    assert told(read_measurements(directory, target()))["e2e"] == {60_065.0}
    stack["records"]["crm"]["starts"][0]["skew_s"] = 60
    write_json(directory.run.stack_file("main"), stack)
    assert told(read_measurements(directory, target()))["e2e"] == {65.0}


@pytest.mark.parametrize("warm_up_s", [0.0, 1.0])
def test_the_warm_up_is_in_no_percentile_but_a_deal_that_is_lost_in_it_is_lost(
    tmp_path: Path, warm_up_s: float
) -> None:
    slow_at_first = story(
        warm_up_s=warm_up_s,
        http_ms=lambda at_s: 500 if at_s < 1 else 10,
        deals=lambda number: -1 if number == 2 else 1,
    )
    result = result_of(slow_at_first.measured(tmp_path), [])
    assert result.all.latency.max == (10 if warm_up_s else 500)
    assert result.all.count == (20 if warm_up_s else 30)
    assert (result.e2e.begun, result.e2e.finished) == (30, 29)


def test_an_event_that_is_delivered_twice_has_two_stays_in_the_handler(tmp_path: Path) -> None:
    directory = LoadStory(steps=(step(1, 1),), warm_up_s=0).write(tmp_path)
    log = directory.run.logs("main") / "automation-1.ndjson"
    log.write_bytes(log.read_bytes() * 2)
    run = read_measurements(directory, target())
    assert [round(value) for value in run.flows.waits_ms["handler"].values] == [30, 30]
    assert [round(value) for value in run.flows.waits_ms["call"].values] == [15, 15]
    assert len(run.flows.waits_ms["queue"].values) == 1


def test_what_a_run_has_left_is_read_back_as_it_was(tmp_path: Path) -> None:
    result = result_of(story(deals=lambda number: -1 if number == 1 else 1).measured(tmp_path), [])
    write_json(tmp_path / "load.json", result)
    assert read_json(tmp_path / "load.json", LoadResult) == result
