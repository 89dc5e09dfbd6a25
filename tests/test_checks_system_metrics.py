"""Counters are held against the very lines that they count, snapshot by snapshot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.checks.metrics_agree import PROPERTY
from harness.checks.verdict import Result
from harness.evidence.evidence import within
from tests.builders import Story, answered, asked, duplicate, evidence, logs_of, moment, received, settled, the_finding

POSTED = 'http_requests_total{method="POST",route="/things",status="ok"}'
TOOK = 'http_request_duration_seconds{method="POST",route="/things"}'
ANSWERED_S, SETTLED_S = 0.0015, 0.012
"""So long does in these stories what is answered, and what is settled."""
PROCESSED, DEDUPLICATED = "events_processed_total", "events_deduplicated_total"
ACKED, RETRIED, REQUEUED = (f'deliveries_total{{status="{status}"}}' for status in ("acked", "retried", "requeued"))


def counted(
    story: Story, counters: dict[str, int] | None = None, *, service: str = "automation", took: int | None = None
) -> None:
    """A snapshot. Of the histograms, one tells how many deliveries there were: as many as the counters say."""
    counters = counters or {}
    deliveries = sum(count for series, count in counters.items() if series.startswith("deliveries_total"))
    histograms = {}
    if service == "automation":
        histograms["delivery_duration_seconds"] = {"count": deliveries, "sum": deliveries * SETTLED_S}
    if took is not None:
        histograms[TOOK] = {"count": took, "sum": took * ANSWERED_S}
    story.write(service, "metrics.snapshot", counters=counters, histograms=histograms)


def posted(story: Story, times: int = 1) -> None:
    for _ in range(times):
        asked(story, "crm", "post")
        answered(story, "crm", "post", 200)


def judged(story: Story, **parts: Any) -> Result:
    return PROPERTY.check(evidence(story.lines, **parts))


def handled_and_again() -> Story:
    """One event, handled and then delivered a second time."""
    story = Story()
    counted(story)
    received(story, "moved", "d1")
    settled(story, "moved", "d1")
    duplicate(story, "moved", "d2")
    return story


# --- lines and series -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [0, 1, 3])
def test_a_counter_that_differs_from_its_lines_fails_and_names_series_and_place(told: int) -> None:
    story = Story()
    counted(story, {POSTED: 5}, service="crm", took=5)
    posted(story, 2)
    counted(story, {POSTED: 5 + told}, service="crm", took=7)
    finding = the_finding(judged(story))
    assert finding.says == f"crm-1: {POSTED} grew by {told} until seq 5, and 2 line(s) tell of it"
    assert finding.service == "crm"


def test_a_histogram_that_misses_a_line_fails() -> None:
    story = Story()
    counted(story, service="crm", took=0)
    posted(story)
    counted(story, {POSTED: 1}, service="crm", took=0)
    assert the_finding(judged(story)).says.startswith(f"crm-1: {TOOK} grew by 0")


@pytest.mark.parametrize(("sum_s", "fails"), [(0.0, True), (3.0, True), (0.0031, False), (0.003, False)])
def test_a_histogram_that_sums_up_something_else_than_its_lines_tell_fails(sum_s: float, fails: bool) -> None:
    story = Story()
    counted(story, service="crm", took=0)
    posted(story, 2)
    told = {TOOK: {"count": 2, "sum": sum_s}}
    story.write("crm", "metrics.snapshot", counters={POSTED: 2}, histograms=told)
    expected = f"crm-1: the sum of {TOOK} grew by {sum_s:.3f} until seq 5, and its line(s) tell of 0.003 s"
    assert [finding.says for finding in judged(story).findings] == [expected] * fails


def test_a_histogram_is_summed_up_from_the_first_snapshot_on() -> None:
    story = Story()
    story.write("crm", "metrics.snapshot", counters={POSTED: 9}, histograms={TOOK: {"count": 9, "sum": 77.0}})
    posted(story)
    summed = {TOOK: {"count": 10, "sum": 77.0 + ANSWERED_S}}
    story.write("crm", "metrics.snapshot", counters={POSTED: 10}, histograms=summed)
    assert judged(story).status == "pass"


def test_a_count_under_the_wrong_label_is_wrong_in_both_series() -> None:
    story = Story()
    counted(story, service="crm", took=0)
    posted(story)
    counted(story, {POSTED.replace("ok", "client_error"): 1}, service="crm", took=1)
    assert len(judged(story).findings) == 2


def test_a_series_that_no_line_speaks_of_fails() -> None:
    story = Story()
    counted(story, service="crm")
    counted(story, {"events_stored_total": 1}, service="crm")
    assert (
        the_finding(judged(story)).says == "crm-1: events_stored_total grew by 1 until seq 1, and 0 line(s) tell of it"
    )


def test_a_counter_that_falls_fails_once() -> None:
    story = Story()
    counted(story, {"alerts_total": 3}, service="crm")
    counted(story, {"alerts_total": 2}, service="crm")
    counted(story, {"alerts_total": 2}, service="crm")
    assert the_finding(judged(story)).says == "crm-1: alerts_total fell from 3 to 2 at seq 1"


def test_an_error_is_reported_where_it_happened_and_not_again() -> None:
    story = Story()
    counted(story, service="crm", took=0)
    posted(story)
    counted(story, service="crm", took=1)
    posted(story)
    counted(story, {POSTED: 1}, service="crm", took=2)
    assert "until seq 3" in the_finding(judged(story)).says


def test_a_process_counts_from_its_start() -> None:
    story = Story()
    story.write("crm", "service.started")
    posted(story)
    counted(story, {POSTED: 2}, service="crm", took=1)
    assert "grew by 2 until seq 3, and 1 line(s)" in the_finding(judged(story)).says


def test_a_restart_is_a_new_count() -> None:
    story = Story()
    counted(story, {POSTED: 7}, service="crm", took=7)
    posted(story)
    counted(story, {POSTED: 8}, service="crm", took=8)
    story.restart("crm")
    story.write("crm", "service.started")
    posted(story)
    counted(story, {POSTED: 1}, service="crm", took=1)
    result = judged(story)
    assert (result.status, result.seen) == ("pass", 2)


def test_what_a_target_does_not_name_is_nobodys_business() -> None:
    story = Story()
    counted(story, service="crm")
    counted(story, {"coffees_total": 9}, service="crm")
    assert judged(story).status == "pass"


def test_lines_after_the_last_snapshot_are_not_judged_yet() -> None:
    story = Story()
    counted(story, service="crm", took=0)
    counted(story, service="crm", took=0)
    posted(story)
    assert judged(story).status == "pass"


def test_a_hole_makes_the_next_snapshot_the_first() -> None:
    story = Story()
    counted(story, service="crm", took=0)
    posted(story)
    counted(story, {POSTED: 1}, service="crm", took=1)
    counted(story, {POSTED: 1}, service="crm", took=1)
    del story.lines[2]
    result = judged(story)
    assert (result.status, result.seen) == ("pass", 1)


def test_a_scenario_begins_with_the_last_snapshot_before_it() -> None:
    story = Story()
    counted(story, {POSTED: 4}, service="crm", took=4)
    posted(story)
    since = moment(len(story.lines))
    posted(story)
    counted(story, {POSTED: 7}, service="crm", took=6)
    (log,) = logs_of(story.lines)
    window = within(log, since, "~")
    assert [line.seq for line in window.before] == [0, 1, 2]
    assert (
        "grew by 3 until seq 5, and 2 line(s)" in the_finding(PROPERTY.check(replace(evidence(), logs=(window,)))).says
    )


def test_what_was_before_the_first_snapshot_is_not_counted_again() -> None:
    story = Story()
    posted(story, 2)
    counted(story, {POSTED: 2}, service="crm", took=2)
    posted(story)
    counted(story, {POSTED: 3}, service="crm", took=3)
    assert judged(story).status == "pass"


def test_one_snapshot_alone_says_nothing() -> None:
    story = Story()
    posted(story)
    counted(story, {POSTED: 9}, service="crm", took=9)
    assert judged(story).status == "idle"


# --- events that are done with ----------------------------------------------------------------------------------


def test_a_counter_that_counts_each_delivery_fails() -> None:
    story = handled_and_again()
    counted(story, {PROCESSED: 2, DEDUPLICATED: 1, ACKED: 2})
    finding = the_finding(judged(story))
    assert finding.says == (
        f"automation-1: {PROCESSED} grew by 2 until seq 6, and 1 event(s) were handled to their end"
    )


def test_an_event_that_is_done_with_and_not_counted_fails() -> None:
    story = handled_and_again()
    counted(story, {DEDUPLICATED: 1, ACKED: 2})
    assert "grew by 0" in the_finding(judged(story)).says


def test_a_retry_that_is_counted_as_done_fails() -> None:
    story = Story()
    counted(story)
    received(story, "moved", "d1")
    settled(story, "moved", "d1", "retried")
    counted(story, {PROCESSED: 1, RETRIED: 1})
    assert "and 0 event(s) were handled" in the_finding(judged(story)).says


def test_each_event_counted_once_passes() -> None:
    story = handled_and_again()
    counted(story, {PROCESSED: 1, DEDUPLICATED: 1, ACKED: 2})
    assert judged(story).status == "pass"


@pytest.mark.parametrize("done", [0, 1])
def test_what_is_in_hand_may_be_counted_already(done: int) -> None:
    story = Story()
    counted(story)
    received(story, "moved", "d1")
    counted(story, {PROCESSED: done})
    settled(story, "moved", "d1")
    counted(story, {PROCESSED: 1, ACKED: 1})
    assert judged(story).status == "pass"


def test_a_duplicate_in_hand_leaves_no_room_for_another_event() -> None:
    story = Story()
    counted(story)
    received(story, "moved", "d1", redelivered=True)
    story.write("automation", "event.deduplicated", "d1", event="moved")
    counted(story, {PROCESSED: 1, DEDUPLICATED: 1})
    assert "grew by 1 until seq 3, and 0 event(s) were handled" in the_finding(judged(story)).says


@pytest.mark.parametrize("done", [3, 4])
def test_what_was_in_hand_at_the_first_snapshot_may_have_been_counted_before_it(done: int) -> None:
    story = Story()
    counted(story, {PROCESSED: 3})
    settled(story, "moved", "d1")
    counted(story, {PROCESSED: done, ACKED: 1})
    assert judged(story).status == "pass"


@pytest.mark.parametrize("done", [0, 1])
def test_what_was_given_back_may_have_been_done_before_its_connection_went(done: int) -> None:
    story = Story()
    counted(story)
    received(story, "moved", "d1")
    settled(story, "moved", "d1", "requeued")
    counted(story, {PROCESSED: done, REQUEUED: 1})
    assert judged(story).status == "pass"
