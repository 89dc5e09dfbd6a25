"""The causal edges one by one: what breaks each, what only looks like it, and what a kill of ours explains."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.contract.log_lines import Line, kind_of
from harness.evidence.log_files import LostLines
from harness.trace.edges import EDGES, obligations
from harness.trace.flow import Surroundings, flows_of
from tests.builders import (
    Story,
    acted,
    answered,
    asked,
    called,
    changed,
    completed,
    created_lead,
    dealt,
    died,
    duplicate,
    duplicated_lead,
    evaluated,
    exhausted_lead,
    judged,
    missing,
    moment,
    moved_lead,
    published,
    qualified_lead,
    received,
    replayed_lead,
    retried,
    settled,
    started,
    uid,
)


def broken_edges(lines: list[Line], **around: object) -> list[tuple[str, str, str]]:
    """Each broken obligation as (edge, state, service that owes it), each once."""
    found = judged(lines, **around)  # type: ignore[arg-type]
    return sorted({(o.edge, o.state, o.by) for o in found.broken})


# --- requests and changes ---------------------------------------------------------------------------------------


def test_a_second_request_without_parent_in_one_flow_is_a_second_root() -> None:
    story = qualified_lead()
    asked(story, "crm", "another")
    answered(story, "crm", "another", 200)
    assert broken_edges(story.lines) == [("root", "excess", "crm")]


def test_a_request_answered_twice_is_broken() -> None:
    story = qualified_lead()
    answered(story, "pipeline", "patch", 200)
    assert broken_edges(story.lines) == [("request received → completed", "excess", "pipeline")]


def test_an_answer_to_a_request_that_nobody_received_is_an_orphan() -> None:
    story = qualified_lead()
    answered(story, "pipeline", "unheard", 200)
    assert judged(story.lines).state == "orphan"
    assert broken_edges(story.lines) == [("request received → completed", "orphan", "pipeline")]


def test_a_creation_answered_201_that_committed_nothing_is_broken() -> None:
    story = Story()
    asked(story, "crm", "post")
    answered(story, "crm", "post", 201)
    assert broken_edges(story.lines) == [("request → change committed", "orphan", "crm")]


@pytest.mark.parametrize("http_status", [400, 409, 422, 499])
def test_a_refused_request_that_committed_something_is_broken(http_status: int) -> None:
    story = Story()
    asked(story, "pipeline", "patch")
    changed(story, "moved", "patch")
    answered(story, "pipeline", "patch", http_status)
    assert ("request → change committed", "excess", "pipeline") in broken_edges(story.lines)


@pytest.mark.parametrize("http_status", [200, 404, 409, 422, 500])
def test_a_request_that_changes_nothing_is_complete(http_status: int) -> None:
    story = Story()
    asked(story, "pipeline", "patch")
    answered(story, "pipeline", "patch", http_status)
    assert judged(story.lines).state == "complete"


def test_a_change_whose_answer_failed_with_500_is_complete() -> None:
    story = Story()
    asked(story, "crm", "post")
    changed(story, "created", "post")
    answered(story, "crm", "post", 500)
    published(story, "created")
    received(story, "created", "c1")
    settled(story, "created", "c1")
    assert judged(story.lines).state == "complete"


def test_a_change_outside_of_any_request_is_an_orphan() -> None:
    story = qualified_lead()
    story.write("pipeline", "change.committed", "nowhere", event="moved")
    story.write("pipeline", "event.stored", "nowhere", event="moved")
    assert ("request → change committed", "orphan", "pipeline") in broken_edges(story.lines)


# --- outbox -----------------------------------------------------------------------------------------------------


def test_a_change_with_two_events_is_broken() -> None:
    story = moved_lead(Story())
    story.write("pipeline", "event.stored", "patch", event="moved")
    received(story, "moved", "d1")
    acted(story, "d1")
    settled(story, "moved", "d1")
    assert broken_edges(dealt(story).lines) == [("change → event stored", "excess", "pipeline")]


def test_an_event_stored_for_another_entity_than_the_one_changed_is_broken() -> None:
    story = Story()
    asked(story, "pipeline", "patch")
    story.write("pipeline", "change.committed", "patch", event="moved", entity=("lead", "another"))
    story.write("pipeline", "event.stored", "patch", event="moved")
    answered(story, "pipeline", "patch", 200)
    edges = broken_edges(story.lines)
    assert ("change → event stored", "open", "pipeline") in edges
    assert ("change → event stored", "orphan", "pipeline") in edges


@pytest.mark.parametrize("status", ["nacked", "returned", "unknown"])
def test_an_event_whose_publish_was_never_confirmed_is_unpublished(status: str) -> None:
    story = Story()
    asked(story, "pipeline", "patch")
    changed(story, "moved", "patch")
    answered(story, "pipeline", "patch", 200)
    published(story, "moved", status=status, confirm_ms=None)
    assert broken_edges(story.lines) == [("stored → published", "open", "pipeline")]


def test_a_confirm_that_is_lost_and_a_second_publish_is_a_duplicate_not_a_break() -> None:
    story = Story()
    asked(story, "pipeline", "patch")
    changed(story, "moved", "patch")
    answered(story, "pipeline", "patch", 200)
    published(story, "moved", status="unknown", confirm_ms=None)
    received(story, "moved", "d1")
    acted(story, "d1")
    settled(story, "moved", "d1")
    published(story, "moved", span="publish again", attempt=2)
    duplicate(story, "moved", "d2")
    assert judged(dealt(story).lines).state == "complete_with_duplicates"


def test_a_try_to_publish_that_nobody_logged_is_missed() -> None:
    story = qualified_lead()
    published(story, "moved", span="publish again", attempt=3)
    assert broken_edges(story.lines) == [("stored → published", "orphan", "pipeline")]
    published(story, "moved", span="publish in between", attempt=2)
    assert broken_edges(story.lines) == []


def test_an_event_published_that_was_never_stored_is_an_orphan() -> None:
    lines = qualified_lead().without("event.stored", "change.committed", event="moved")
    assert ("stored → published", "orphan", "pipeline") in broken_edges(lines)


# --- deliveries -------------------------------------------------------------------------------------------------


def test_a_message_received_before_its_confirm_is_logged_is_complete() -> None:
    lines = qualified_lead().lines
    lines[4].ts, lines[5].ts = lines[5].ts, lines[4].ts
    assert judged(lines).state == "complete"


def test_a_message_that_no_service_sent_is_an_orphan() -> None:
    story = qualified_lead()
    received(story, "poison", "x1")
    settled(story, "poison", "x1")
    assert ("published → received", "orphan", "pipeline") in broken_edges(story.lines)


def test_a_message_that_the_harness_planted_needs_no_root_and_no_publisher() -> None:
    story = Story(flow="poison")
    received(story, "poison", "x1")
    died(story, "x1", event="poison", attempts=1, reason="schema_invalid")
    assert judged(story.lines, flow="poison", planted=["poison"]).state == "dead_lettered"
    assert judged(story.lines, flow="poison").state == "orphan"


def test_a_delivery_settled_twice_is_broken() -> None:
    story = qualified_lead()
    settled(story, "moved", "d1")
    assert ("received → settled", "excess", "automation") in broken_edges(story.lines)


def test_what_is_there_twice_is_broken_although_lines_were_lost() -> None:
    """A hole may hold a line that is missing, never one that is too many."""
    story = qualified_lead()
    settled(story, "moved", "d1")
    hole = LostLines("automation", "automation-1", "automation-1.ndjson", 4, 4, moment(0), moment(99))
    assert [(o.edge, o.state) for o in judged(story.lines, lost=[hole]).broken] == [("received → settled", "excess")]


def test_a_delivery_that_is_never_settled_is_broken_even_if_the_event_comes_again() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d0")
    received(story, "moved", "d1", redelivered=True)
    acted(story, "d1")
    settled(story, "moved", "d1")
    assert broken_edges(dealt(story).lines) == [("received → settled", "open", "automation")]


def test_a_settlement_of_a_delivery_that_never_came_is_an_orphan() -> None:
    story = qualified_lead()
    story.write("automation", "event.deduplicated", "d7", event="moved")
    settled(story, "moved", "d7")
    assert broken_edges(story.lines) == [("received → settled", "orphan", "automation")]


def test_an_event_handled_twice_is_broken() -> None:
    lines = duplicated_lead().without("event.deduplicated")
    assert set(broken_edges(lines)) == {
        ("received → handled once", "orphan", "automation"),
        ("received → rule evaluated", "orphan", "automation"),
    }


def test_a_duplicate_of_nothing_is_an_orphan() -> None:
    story = moved_lead(Story())
    duplicate(story, "moved", "d1")
    assert broken_edges(story.lines) == [("received → handled once", "orphan", "automation")]


def test_a_retry_that_never_comes_again_is_broken() -> None:
    story = moved_lead(Story())
    retried(story, until=1)
    settled(story, "moved", "d1", "retried")
    assert ("retried → received again", "open", "automation") in broken_edges(story.lines)


def test_an_earlier_retry_that_came_again_does_not_stand_for_a_later_one() -> None:
    story = moved_lead(Story())
    retried(story, until=3)
    settled(story, "moved", "d3", "retried", attempt=3)
    assert "event.received with attempt 4" in missing(judged(story.lines))
    assert "event.received with attempt 3" not in missing(judged(story.lines))


def test_a_retry_that_comes_again_with_its_old_attempt_is_broken() -> None:
    story = moved_lead(Story())
    retried(story, until=1)
    settled(story, "moved", "d1", "retried")
    received(story, "moved", "d2", attempt=1)
    acted(story, "d2")
    settled(story, "moved", "d2", attempt=1)
    assert broken_edges(dealt(story).lines) == [("retried → received again", "open", "automation")]


def test_a_delivery_given_back_has_to_come_again() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    settled(story, "moved", "d1", "requeued")
    assert broken_edges(story.lines) == [("requeued → received again", "open", "automation")]
    received(story, "moved", "d2", redelivered=True)
    acted(story, "d2")
    settled(story, "moved", "d2")
    assert judged(dealt(story).lines).state == "complete_with_duplicates"


def test_what_is_received_again_before_its_first_delivery_is_requeued_closes_it_but_not_itself() -> None:
    for last in ("acked", "requeued"):
        story = moved_lead(Story())
        received(story, "moved", "d1")
        received(story, "moved", "d2", redelivered=True)
        settled(story, "moved", "d1", "requeued")
        settled(story, "moved", "d2", last)
        open_ones = [edge for edge, _, _ in broken_edges(story.lines)].count("requeued → received again")
        assert open_ones == (last == "requeued")


def test_an_earlier_delivery_does_not_stand_for_the_one_given_back() -> None:
    story = qualified_lead()
    received(story, "moved", "d2", redelivered=True)
    settled(story, "moved", "d2", "requeued")
    assert broken_edges(story.lines) == [("requeued → received again", "open", "automation")]


def test_what_a_lost_channel_gave_back_may_come_again_before_its_first_handler_knows() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    received(story, "moved", "d2", redelivered=True)
    settled(story, "moved", "d1", "requeued")
    acted(story, "d2")
    settled(story, "moved", "d2")
    assert judged(dealt(story).lines).state == "complete_with_duplicates"


def test_a_second_copy_does_not_stand_for_the_one_given_back() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    received(story, "moved", "d2")
    settled(story, "moved", "d1", "requeued")
    acted(story, "d2")
    settled(story, "moved", "d2")
    assert broken_edges(dealt(story).lines) == [("requeued → received again", "open", "automation")]


# --- rules and actions ------------------------------------------------------------------------------------------


def test_an_enabled_rule_that_is_not_evaluated_is_broken() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    settled(story, "moved", "d1")
    assert broken_edges(story.lines) == [("received → rule evaluated", "orphan", "automation")]


def test_a_rule_that_does_not_match_owes_no_action() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    evaluated(story, "d1", status="not_matched")
    settled(story, "moved", "d1")
    assert judged(story.lines).state == "complete"


def test_a_rule_that_matches_and_does_nothing_is_broken() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    evaluated(story, "d1")
    settled(story, "moved", "d1")
    assert broken_edges(story.lines) == [("matched → action started → completed", "open", "automation")]


def test_a_failed_action_that_is_acknowledged_all_the_same_is_broken() -> None:
    story = moved_lead(Story())
    retried(story, until=1)
    settled(story, "moved", "d1")
    assert broken_edges(story.lines) == [("matched → action started → completed", "open", "automation")]


def test_an_action_that_succeeds_twice_is_broken() -> None:
    story = qualified_lead()
    evaluated(story, "d1")
    story.write("automation", "action.started", "again", parent="d1", event="moved", cause="moved")
    story.write("automation", "action.completed", "again", parent="d1", event="moved", cause="moved")
    assert broken_edges(story.lines) == [("matched → action started → completed", "excess", "automation")]


def test_an_action_that_was_done_before_is_skipped_and_complete() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    evaluated(story, "d1")
    started(story, "d1")
    completed(story, "d1", "skipped")
    settled(story, "moved", "d1")
    assert judged(story.lines).state == "complete"


def test_an_action_without_a_rule_that_matched_is_an_orphan() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    evaluated(story, "d1", status="not_matched")
    started(story, "d1")
    completed(story, "d1")
    settled(story, "moved", "d1")
    assert broken_edges(story.lines) == [("matched → action started → completed", "orphan", "automation")]


def test_an_action_completed_twice_in_one_span_is_broken() -> None:
    story = qualified_lead()
    completed(story, "d1", "failed")
    assert broken_edges(story.lines) == [("matched → action started → completed", "excess", "automation")]


@pytest.mark.parametrize("end", ["timer.fired", "timer.cancelled"])
def test_a_timer_ends_once(end: str) -> None:
    story = qualified_lead()
    story.write("automation", "timer.scheduled", "timer", event="moved", cause="moved")
    timer = ("timer scheduled → fired or cancelled", "automation")
    assert broken_edges(story.lines) == [(timer[0], "open", timer[1])]
    story.write("automation", end, "timer", event="moved", cause="moved")
    assert judged(story.lines).state == "complete"
    story.write("automation", "timer.fired", "timer", event="moved", cause="moved")
    assert broken_edges(story.lines) == [(timer[0], "excess", timer[1])]


# --- calls ------------------------------------------------------------------------------------------------------


def test_a_call_that_is_answered_twice_is_broken() -> None:
    story = qualified_lead()
    again = next(line for line in story.lines if kind_of(line) == "call.completed")
    assert broken_edges([*story.lines, again]) == [("call sent → completed", "excess", "automation")]


def test_a_call_that_reaches_its_peer_twice_is_broken() -> None:
    story = qualified_lead()
    asked(story, "crm", "serve again", parent="call d1", cause="moved")
    answered(story, "crm", "serve again", 409, parent="call d1", cause="moved")
    assert broken_edges(story.lines) == [("call sent → request received at the peer", "excess", "crm")]
    assert broken_edges(story.lines, repeating=["automation→pipeline"])
    assert broken_edges(story.lines, repeating=["automation→crm"]) == []


@pytest.mark.parametrize("arrives", [False, True])
def test_a_call_without_answer_may_have_reached_its_peer_or_not(arrives: bool) -> None:
    story = moved_lead(Story())
    retried(story, until=1)
    if arrives:
        asked(story, "crm", "serve d1", parent="call d1", cause="moved")
        answered(story, "crm", "serve d1", 409, parent="call d1", cause="moved")
    settled(story, "moved", "d1", "retried")
    received(story, "moved", "d2", attempt=2)
    acted(story, "d2")
    settled(story, "moved", "d2", attempt=2)
    assert judged(dealt(story).lines).state == "complete_with_duplicates"


def test_a_call_without_answer_that_reaches_its_peer_twice_is_broken() -> None:
    story = moved_lead(Story())
    retried(story, until=1)
    for serve in ("serve d1", "serve again"):
        asked(story, "crm", serve, parent="call d1", cause="moved")
        answered(story, "crm", serve, 409, parent="call d1", cause="moved")
    assert ("call sent → request received at the peer", "excess", "crm") in broken_edges(story.lines)


def test_a_call_to_somebody_outside_leaves_no_line_at_its_peer() -> None:
    story = qualified_lead()
    told = {"parent": "act d1", "event": "moved", "cause": "moved", "peer": "webhook"}
    story.write("automation", "call.sent", "hook", **told)  # type: ignore[arg-type]
    story.write("automation", "call.completed", "hook", http_status=200, **told)  # type: ignore[arg-type]
    assert judged(story.lines).state == "complete"


def test_a_request_of_a_caller_that_nobody_knows_is_an_orphan() -> None:
    story = qualified_lead()
    asked(story, "crm", "serve", parent="call of a ghost", cause="moved")
    answered(story, "crm", "serve", 200, parent="call of a ghost", cause="moved")
    assert judged(story.lines).state == "orphan"
    assert any("call.sent with span" in text for text in missing(judged(story.lines)))


# --- causes -----------------------------------------------------------------------------------------------------


def test_a_cause_from_another_flow_does_not_resolve() -> None:
    lines = qualified_lead().lines
    for line in lines:
        if line.event_id == uid("deal"):
            line.causation_id = uid("somebody else's event")
    texts = missing(judged(lines))
    assert f"any line about event {uid('somebody else' + chr(39) + 's event')}" in texts


def test_events_that_cause_each_other_are_broken() -> None:
    lines = qualified_lead().lines
    for line in lines:
        if kind_of(line) == "event.stored" and line.event_id == uid("moved"):
            line.causation_id = uid("deal")
    assert ("event X → event Y it caused", "excess", "crm") in broken_edges(lines)


@pytest.mark.parametrize("cause", [None, "another event of this flow"])
def test_a_change_that_does_not_name_its_callers_trigger_is_an_orphan(cause: str | None) -> None:
    story = qualified_lead()
    for line in story.lines:
        if kind_of(line) == "event.stored" and line.event_id == uid("deal"):
            line.causation_id = cause and uid("poison")
    if cause:
        published(story, "poison")
    assert f"causation_id {uid('moved')}, its caller's trigger" in missing(judged(story.lines))


def test_what_another_process_was_given_is_no_parent_of_what_this_one_does() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    story.restart("automation")
    acted(story, "d1")
    settled(story, "moved", "d1")
    assert broken_edges(dealt(story).lines) == [("span → its parent", "orphan", "automation")]


# --- dead letters -----------------------------------------------------------------------------------------------


def test_a_dead_letter_without_its_alert_is_broken() -> None:
    lines = exhausted_lead().without("event.dead_lettered")
    assert ("dead-lettered → alert", "orphan", "automation") in broken_edges(lines)


def test_one_alert_does_not_stand_for_two_dead_letters() -> None:
    story = exhausted_lead()
    received(story, "moved", "d6", attempt=5)
    settled(story, "moved", "d6", "dead_lettered", attempt=5)
    assert broken_edges(story.lines) == [("dead-lettered → alert", "orphan", "automation")]


def test_a_replay_that_is_never_received_is_broken() -> None:
    story = exhausted_lead()
    story.write("automation", "dead_letter.replayed", "replay", event="moved")
    edges = broken_edges(story.lines)
    assert ("replayed → received", "open", "automation") in edges
    assert ("matched → action started → completed", "open", "automation") in edges


def test_a_replay_that_starts_at_its_old_attempt_is_broken() -> None:
    story = exhausted_lead()
    story.write("automation", "dead_letter.replayed", "replay", event="moved")
    received(story, "moved", "r1", attempt=5)
    acted(story, "r1")
    settled(story, "moved", "r1", attempt=5)
    assert broken_edges(dealt(story).lines) == [("replayed → received", "open", "automation")]


def test_a_replay_received_before_it_is_logged_is_closed() -> None:
    story = exhausted_lead()
    received(story, "moved", "r1")
    story.write("automation", "dead_letter.replayed", "replay", event="moved")
    acted(story, "r1")
    settled(story, "moved", "r1")
    assert judged(dealt(story).lines).state == "dead_lettered"


def test_a_replay_that_dies_again_is_dead_lettered_not_broken() -> None:
    story = exhausted_lead()
    story.write("automation", "dead_letter.replayed", "replay", event="moved")
    for attempt in range(1, 6):
        received(story, "moved", f"r{attempt}", attempt=attempt)
        evaluated(story, f"r{attempt}")
        started(story, f"r{attempt}")
        completed(story, f"r{attempt}", "failed")
        if attempt < 5:
            settled(story, "moved", f"r{attempt}", "retried", attempt=attempt)
    died(story, "r5")
    assert judged(story.lines).state == "dead_lettered", missing(judged(story.lines))


def test_a_discarded_dead_letter_owes_nothing_more() -> None:
    story = exhausted_lead()
    story.write("automation", "dead_letter.discarded", "discard", event="moved")
    assert judged(story.lines).state == "dead_lettered"


# --- kills ------------------------------------------------------------------------------------------------------


def pipeline_dies_before(kind: str) -> Story:
    """Pipeline commits, and is killed before it writes this line or any later one; its successor publishes."""
    story = Story()
    for step in ("http.request.received", "change.committed", "event.stored", "http.request.completed"):
        if step == kind:
            break
        story.write("pipeline", step, "patch", event=None if step.startswith("http") else "moved")
    story.restart("pipeline")
    published(story, "moved", parent="patch")
    received(story, "moved", "d1")
    acted(story, "d1")
    settled(story, "moved", "d1")
    return dealt(story)


def automation_dies_before(kind: str, *, http_status: int = 201) -> Story:
    """Automation is killed in hand before it writes this line; the message is redelivered to its successor."""
    story = moved_lead(Story())
    received(story, "moved", "d0")
    if kind != "rule.evaluated":
        evaluated(story, "d0")
    if kind not in ("rule.evaluated", "action.started"):
        started(story, "d0")
    if kind == "call.completed":
        told = {"parent": "act d0", "event": "moved", "cause": "moved"}
        story.write("automation", "call.sent", "call d0", **told)  # type: ignore[arg-type]
        asked(story, "crm", "serve d0", parent="call d0", cause="moved")
        changed(story, "deal", "serve d0", parent="call d0")
        answered(story, "crm", "serve d0", 201, parent="call d0", cause="moved")
    story.restart("automation")
    received(story, "moved", "d1", redelivered=True)
    acted(story, "d1", http_status=409 if kind == "call.completed" else 201)
    settled(story, "moved", "d1")
    return dealt(story)


def crm_dies_before(kind: str) -> Story:
    """crm commits the deal and is killed before it writes this line; the call fails and is tried again."""
    story = moved_lead(Story())
    received(story, "moved", "d1")
    evaluated(story, "d1")
    started(story, "d1")
    told = {"parent": "act d1", "event": "moved", "cause": "moved"}
    story.write("automation", "call.sent", "call d1", **told)  # type: ignore[arg-type]
    asked(story, "crm", "serve d1", parent="call d1", cause="moved")
    for step in ("change.committed", "event.stored"):
        if step == kind:
            break
        story.write("crm", step, "serve d1", parent="call d1", event="deal")
    gone = {"status": "connection_error", "http_status": None}
    story.write("automation", "call.completed", "call d1", **told, **gone)  # type: ignore[arg-type]
    completed(story, "d1", "failed")
    settled(story, "moved", "d1", "retried")
    story.restart("crm")
    published(story, "deal", parent="serve d1")
    received(story, "deal", "deal 1")
    settled(story, "deal", "deal 1")
    received(story, "moved", "d2", attempt=2)
    acted(story, "d2", http_status=409)
    settled(story, "moved", "d2", attempt=2)
    return story


KILLS = [
    (pipeline_dies_before, "change.committed", "pipeline-1"),
    (pipeline_dies_before, "event.stored", "pipeline-1"),
    (pipeline_dies_before, "http.request.completed", "pipeline-1"),
    (automation_dies_before, "rule.evaluated", "automation-1"),
    (automation_dies_before, "action.started", "automation-1"),
    (automation_dies_before, "call.sent", "automation-1"),
    (automation_dies_before, "call.completed", "automation-1"),
    (crm_dies_before, "change.committed", "crm-1"),
    (crm_dies_before, "event.stored", "crm-1"),
    (crm_dies_before, "http.request.completed", "crm-1"),
]


@pytest.mark.parametrize(("tell", "kind", "instance"), KILLS)
def test_a_kill_explains_the_lines_that_its_process_never_wrote(
    tell: Callable[[str], Story], kind: str, instance: str
) -> None:
    found = judged(tell(kind).lines, killed=[instance])
    assert found.state in ("complete", "complete_with_duplicates"), missing(found)


@pytest.mark.parametrize(("tell", "kind", "instance"), KILLS)
def test_the_same_lines_missing_without_a_kill_break_the_flow(
    tell: Callable[[str], Story], kind: str, instance: str
) -> None:
    lines = tell(kind).lines
    assert judged(lines).state in ("broken", "orphan")
    assert judged(lines, killed=["somebody-else-1"]).state in ("broken", "orphan")


def test_a_kill_does_not_explain_an_event_that_its_successor_never_publishes() -> None:
    story = Story()
    asked(story, "pipeline", "patch")
    changed(story, "moved", "patch")
    assert broken_edges(story.lines, killed=["pipeline-1"]) == [("stored → published", "open", "pipeline")]


def test_a_kill_does_not_explain_a_message_that_is_never_redelivered() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    assert broken_edges(story.lines, killed=["automation-1"]) == [("received → settled", "open", "automation")]
    assert "a redelivery, for its instance was killed" in missing(judged(story.lines, killed=["automation-1"]))[0]


def test_a_kill_does_not_explain_a_message_that_nobody_received() -> None:
    story = moved_lead(Story())
    assert broken_edges(story.lines, killed=["pipeline-1", "automation-1"]) == [
        ("published → received", "open", "automation")
    ]


def test_a_kill_after_the_acknowledgement_was_logged_brings_a_duplicate() -> None:
    story = qualified_lead()
    story.restart("automation")
    duplicate(story, "moved", "d2")
    assert judged(story.lines, killed=["automation-1"]).state == "complete_with_duplicates"


def test_a_kill_of_another_service_does_not_excuse_an_event_without_its_stored_line() -> None:
    lines = qualified_lead().without("event.stored", "change.committed", event="moved")
    assert ("stored → published", "orphan", "pipeline") in broken_edges(lines, killed=["crm-1"])


def test_two_excused_effects_are_still_one_too_many() -> None:
    """A kill excuses what is missing, never what is there twice."""
    story = qualified_lead()
    answered(story, "pipeline", "patch", 200)
    completed(story, "d1", "failed")
    killed = ["pipeline-1", "automation-1"]
    assert {state for _, state, _ in broken_edges(story.lines, killed=killed)} == {"excess"}


# --- the list of edges ------------------------------------------------------------------------------------------


def test_every_edge_speaks_in_some_story() -> None:
    """An edge that yields nothing anywhere would be dead code."""
    stories = (qualified_lead(), duplicated_lead(), replayed_lead(), created_lead(Story()))
    whole = Surroundings(rules_by_event_type={"lead.stage.changed": frozenset({"lead-qualified-create-deal"})})
    spoken = {
        obligation.edge for story in stories for flow in flows_of(story.lines).values()
        for obligation in obligations(flow, whole)
    }  # fmt: skip
    assert spoken >= {
        "request received → completed", "request → change committed", "change → event stored", "stored → published",
        "published → received", "received → settled", "received → rule evaluated",
        "matched → action started → completed", "call sent → completed", "call sent → request received at the peer",
        "retried → received again", "dead-lettered → alert", "replayed → received",
    }  # fmt: skip
    assert len(EDGES) == len(set(EDGES))


def test_a_line_outside_of_any_flow_belongs_to_no_flow() -> None:
    story = qualified_lead()
    story.write("automation", "service.started")
    story.write("automation", "library.message")
    assert set(flows_of(story.lines)) == {uid("moved")}
    assert judged(story.lines).state == "complete"


def test_lines_of_a_flow_are_ordered_by_time_whatever_their_order_in_the_files() -> None:
    lines = qualified_lead().lines
    assert judged(reversed(lines)).flow.lines == lines


def test_called_without_an_answer_leaves_no_line_at_crm() -> None:
    """The builder itself: a call that reaches nobody."""
    story = Story()
    called(story, "d1", http_status=None)
    assert {line.service for line in story.lines} == {"automation"}


# --- timers and the broker's own burials ------------------------------------------------------------------------


def _waiting() -> Story:
    """A lead moves, its rule matches and sets a timer; the event is done with."""
    story = moved_lead(Story())
    received(story, "moved", "d1")
    evaluated(story, "d1")
    story.write("automation", "timer.scheduled", "timer", event="moved", cause="moved")
    settled(story, "moved", "d1")
    return story


def test_a_rule_that_waits_is_open_until_its_timer_is_cancelled() -> None:
    story = _waiting()
    assert {edge for edge, _, _ in broken_edges(story.lines)} == {
        "matched → action started → completed",
        "timer scheduled → fired or cancelled",
    }
    story.write("automation", "timer.cancelled", "timer", event="moved", cause="moved")
    assert judged(story.lines).state == "complete"


def test_a_timer_that_fired_owes_its_action() -> None:
    story = _waiting()
    story.write("automation", "timer.fired", "timer", event="moved", cause="moved")
    assert [edge for edge, _, _ in broken_edges(story.lines)] == ["matched → action started → completed"]


def test_an_event_that_died_of_its_timer_is_handled_anew_when_it_is_replayed() -> None:
    story = _waiting()
    story.write("automation", "timer.fired", "timer", event="moved", cause="moved")
    story.write("automation", "event.dead_lettered", "timer", event="moved", attempts=5)
    story.write("automation", "dead_letter.replayed", "replay", event="moved")
    received(story, "moved", "r1")
    evaluated(story, "r1")
    settled(story, "moved", "r1")
    acted(story, "t1")
    assert broken_edges(dealt(story).lines) == []


def test_an_event_that_only_the_broker_gave_up_on_was_received_by_somebody() -> None:
    story = moved_lead(Story())
    assert [edge for edge, _, _ in broken_edges(story.lines)] == ["published → received"]
    story.write("automation", "event.dead_lettered", "burial", event="moved", attempts=1, reason="delivery_limit")
    assert judged(story.lines).state == "dead_lettered"
