"""A flow as work and waits: who did what when, what was waited for where, what is missing, and what we had broken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from harness.checks.one_flow import flow_of
from harness.contract.log_lines import Line
from harness.evidence.evidence import Evidence
from harness.evidence.records import Fault, Received
from harness.trace.waterfall import MOST_STEPS, Claim, Step, Waterfall, waterfall
from reports.durations import took
from reports.page.picture import svg
from tests.builders import (
    Story,
    answered,
    created_lead,
    duplicated_lead,
    exhausted_lead,
    happy_evidence,
    logs_of,
    moment,
    move_asked,
    moved_lead,
    published,
    qualified_lead,
    received,
    replayed_lead,
    retried_lead,
    scenario,
    settled,
    uid,
)

MOVED = uid("moved")


def drawn(lines: Iterable[Line], claim: Claim | None = None, flow: str = MOVED, **parts: Any) -> Waterfall:
    evidence = happy_evidence(lines, **parts)
    found = flow_of(evidence, flow)
    return waterfall(evidence, flow, found.judged, claim)


def steps(shown: Waterfall, sort: str, lane: str | None = None) -> list[Step]:
    return [s for name, found in shown.lanes.items() for s in found if s.sort == sort and lane in (None, name)]


def names(found: Iterable[Step]) -> list[str]:
    return [step.name for step in found]


def seconds(step: Step, shown: Waterfall) -> tuple[float, float]:
    """Since the first line of a story, whose lines are a second apart."""
    return round(step.began - shown.began, 3), round(step.ended - shown.began, 3)


def test_work_stands_in_the_lane_of_who_did_it_and_lanes_in_the_order_in_which_they_joined() -> None:
    shown = drawn(qualified_lead().lines)
    assert list(shown.lanes) == ["pipeline", "broker", "automation", "crm"]
    assert names(steps(shown, "work", "pipeline")) == ["POST /things", "publish lead.stage.changed"]
    assert names(steps(shown, "work", "crm")) == ["POST /things", "publish deal.created"]
    assert names(steps(shown, "work", "automation")) == [
        "handle lead.stage.changed", "action create_deal", "handle deal.created",
    ]  # fmt: skip
    assert steps(shown, "missing") == []


def test_an_event_waits_in_the_outbox_until_it_is_published_and_in_the_queue_until_it_is_received() -> None:
    shown = drawn(moved_and_received_late().lines)
    (outbox,), (queue, *_) = steps(shown, "wait", "pipeline"), steps(shown, "wait", "broker")
    assert (outbox.name, *seconds(outbox, shown)) == ("outbox wait: lead.stage.changed", 2.0, 3.998)
    assert (queue.name, *seconds(queue, shown)) == ("queue wait: lead.stage.changed", 3.998, 5.0)


def moved_and_received_late() -> Story:
    """Asked, changed, stored, answered, published (after 2 ms of waiting for the confirm), received."""
    story = moved_lead(Story())
    received(story, "moved", "d1")
    settled(story, "moved", "d1")
    return story


def test_a_message_that_came_before_its_confirm_was_logged_waited_from_its_publish_on() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    early = [msgspec.structs.replace(line, ts=moment(5)) if type(line).__name__ == "EventReceived" else line
             for line in story.lines]  # fmt: skip
    shown = drawn(early)
    (queue,) = steps(shown, "wait", "broker")
    assert seconds(queue, shown) == (3.998, 4.0)


def test_a_call_is_a_wait_of_the_caller_while_the_peer_works() -> None:
    shown = drawn(qualified_lead().lines)
    (call,) = steps(shown, "wait", "automation")
    (served, _) = steps(shown, "work", "crm")
    assert (call.name, call.says) == ("call wait: crm POST /deals", "201")
    assert call.began < served.began < served.ended < call.ended


def test_a_retry_waits_from_the_attempt_that_failed() -> None:
    shown = drawn(retried_lead().lines)
    assert names(steps(shown, "wait", "broker")) == [
        "queue wait: lead.stage.changed", "retry wait: lead.stage.changed", "queue wait: deal.created",
    ]  # fmt: skip
    assert [step.says for step in steps(shown, "work", "automation") if step.name.startswith("handle lead")] == [
        "retried · rule lead-qualified-create-deal", "acked · attempt 2 · rule lead-qualified-create-deal",
    ]  # fmt: skip


def test_a_dead_letter_its_replay_and_a_duplicate_are_told() -> None:
    assert names(steps(drawn(exhausted_lead().lines), "moment")) == ["dead letter: exhausted"]
    replayed = drawn(replayed_lead().lines)
    assert names(steps(replayed, "moment")) == ["dead letter: exhausted", "dead letter replayed"]
    assert "replayed, wait: lead.stage.changed" in names(steps(replayed, "wait", "broker"))
    assert any("a duplicate" in step.says for step in steps(drawn(duplicated_lead().lines), "work", "automation"))


def test_a_client_waits_for_its_answer_where_both_clocks_are_known() -> None:
    asked = msgspec.structs.replace(move_asked(), invoked_ns=500_000_000, returned_ns=2_000_000_000)
    shown = drawn(qualified_lead().lines, operations=(asked,), scenario=scenario(clock=(moment(0), 0)))
    (client,) = shown.lanes["client"]
    assert (client.sort, client.name, client.says, *seconds(client, shown)) == (
        "wait", "move stage qualified", "200", 0.0, 1.5,
    )  # fmt: skip
    assert "client" not in drawn(qualified_lead().lines, operations=(asked,)).lanes


def test_what_a_sink_received_stands_in_a_lane_of_its_own() -> None:
    came = Received(
        kind="webhook", place="/hooks", received_at=moment(9), key="k", signed=True, status=503, digest="", body="",
        correlation_id=MOVED,
    )  # fmt: skip
    (step,) = drawn(qualified_lead().lines, received=(came,)).lanes["webhook"]
    assert (step.sort, step.name, step.says) == ("moment", "came to /hooks", "answered 503")


# --- what is wrong ----------------------------------------------------------------------------------------------


def test_what_is_missing_is_missed_from_the_line_that_demands_it_to_the_end_of_the_picture() -> None:
    shown = drawn(qualified_lead().without("event.published", "event.received", "event.settled", event="deal"))
    (gone,) = steps(shown, "missing", "crm")
    assert gone.name == "event.published, confirmed"
    assert gone.ended == shown.ended > max(step.ended for step in steps(shown, "work"))
    assert "outbox wait: deal.created" not in names(steps(shown, "wait"))


def test_what_must_have_gone_before_is_missed_until_its_line() -> None:
    shown = drawn(qualified_lead().without("event.stored", event="deal"))
    (publish,) = (step for step in steps(shown, "work", "crm") if step.name == "publish deal.created")
    ends = {step.ended for step in steps(shown, "missing") if step.name == "event.stored" and step.began == shown.began}
    assert publish.ended in ends


def test_what_came_once_too_often_is_marked_where_it_came() -> None:
    story = qualified_lead()
    answered(story, "pipeline", "patch", 200)
    shown = drawn(story.lines)
    (extra,) = steps(shown, "excess", "pipeline")
    assert extra.name == "http.request.completed"
    assert "missing-text" in svg(shown)


def test_a_name_that_begins_like_a_mark_is_none() -> None:
    lines = [msgspec.structs.replace(line, method="✗") if hasattr(line, "method") else line
             for line in qualified_lead().lines]  # fmt: skip
    assert "missing-text" not in svg(drawn(lines))


def test_of_many_faults_some_are_shown_and_the_rest_is_counted() -> None:
    faults = [Fault(kind=f"cut {n}", place="a→b", injected_at=moment(1), healed_at=moment(9), hits=1, proof="p")
              for n in range(9)]  # fmt: skip
    picture = svg(drawn(qualified_lead().lines, faults=tuple(faults)))
    assert "cut 5 on a→b" in picture
    assert "cut 6 on a→b" not in picture
    assert "… 3 faults more" in picture


def test_a_claim_is_drawn_where_the_flow_itself_shows_nothing_broken_and_only_there() -> None:
    claim = Claim("automation", "no deal")
    (gone,) = steps(drawn(qualified_lead().lines, claim), "missing")
    assert gone.name == "no deal"
    broken = drawn(moved_lead(Story()).lines, claim)
    assert names(steps(broken, "missing")) == ["event.received"]


def test_unfinished_work_of_a_killed_process_lasts_until_its_end() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    story.restart("automation")
    received(story, "moved", "d2", redelivered=True)
    settled(story, "moved", "d2")
    logs = logs_of(story.lines, killed=["automation-1"])
    evidence = with_death(happy_evidence(story.lines), logs, "automation-1", moment(6)[:20] + "500000Z")
    shown = waterfall(evidence, MOVED, flow_of(evidence, MOVED).judged)
    first, second = steps(shown, "work", "automation")
    assert (first.says, *seconds(first, shown)) == ("killed", 5.0, 5.5)
    assert second.says == "acked"
    assert "redelivery wait: lead.stage.changed" in names(steps(shown, "wait", "broker"))


def with_death(evidence: Evidence, logs: Any, instance: str, ended_at: str) -> Evidence:
    return replace(
        evidence, logs=tuple(replace(log, ended_at=ended_at) if log.instance == instance else log for log in logs)
    )


@pytest.mark.parametrize(
    ("window", "expected"), [((0, 2), True), ((3, 5), True), ((0, 99), True), ((40, 50), False)],
)  # fmt: skip
def test_faults_that_were_active_meanwhile_are_shown(window: tuple[int, int], expected: bool) -> None:
    first, last = (moment(at) for at in window)
    fault = Fault(kind="cut", place="a→b", injected_at=first, healed_at=last, hits=1, proof="p")
    shown = drawn(moved_lead(Story()).lines, faults=(fault,))
    assert [found.name for found in shown.faults] == (["cut on a→b"] if expected else [])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.00004, "<0.1 ms"), (0.0123, "12.3 ms"), (0.5, "500 ms"), (1.204, "1.20 s"), (59, "59 s"),
     (125, "2 min 5 s"), (7380, "2 h 3 min")],
)  # fmt: skip
def test_a_duration_is_told_as_exactly_as_people_care_for(seconds: float, text: str) -> None:
    assert took(seconds) == text


# --- what is odd ------------------------------------------------------------------------------------------------


def test_a_long_flow_is_bounded_and_says_so_and_what_is_missing_stays() -> None:
    story = moved_lead(Story())
    for number in range(MOST_STEPS):
        published(story, "moved", span=f"again {number}", attempt=number + 2)
    shown = drawn(story.lines)
    assert sum(len(found) for found in shown.lanes.values()) <= MOST_STEPS + len(steps(shown, "missing"))
    assert shown.left_out > 0
    assert "event.received" in names(steps(shown, "missing"))


def test_a_line_whose_ts_is_no_date_is_passed_over() -> None:
    lines = qualified_lead().lines
    odd = [msgspec.structs.replace(line, ts="2026-99-99T00:00:00.000000Z") if at == 0 else line
           for at, line in enumerate(lines)]  # fmt: skip
    assert names(steps(drawn(odd), "work", "pipeline")) == ["publish lead.stage.changed"]


def test_a_flow_of_which_no_line_tells_is_drawn_as_far_as_it_is_known() -> None:
    shown = drawn(created_lead(Story()).lines)
    assert (shown.lanes, shown.state) == ({}, "no line of the log tells of it")
