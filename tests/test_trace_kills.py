"""What a kill explains, and what it does not: a line is a second later than the one before it in these stories."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness.checks.trace_complete import PROPERTY, surroundings_of
from harness.contract.log_lines import Line, kind_of
from harness.evidence.evidence import within
from harness.evidence.log_files import END, ProcessLog, last_line
from harness.trace.findings import FlowFinding, judge_flow
from harness.trace.flow import flows_of
from tests.builders import (
    RULES,
    Story,
    acted,
    asked,
    completed,
    dealt,
    deaths,
    evaluated,
    happy_evidence,
    logs_of,
    moment,
    move_asked,
    moved_lead,
    published,
    qualified_lead,
    raw,
    received,
    settled,
    started,
    uid,
)

CAUSED = {"event": "moved", "cause": "moved"}
UNSAID = [
    ("pipeline", "event.stored", "moved"),
    ("crm", "event.stored", "deal"),
    ("crm", "http.request.completed", "moved"),
    ("automation", "call.completed", "moved"),
    ("automation", "action.completed", "moved"),
    ("automation", "call.sent", "moved"),
    ("automation", "action.started", "moved"),
    ("automation", "rule.evaluated", "moved"),
    ("automation", "event.received", "moved"),
]


def judged(lines: list[Line], *killed: str, answered_at: str = "") -> FlowFinding:
    told = {uid("moved"): answered_at} if answered_at else {}
    around = surroundings_of(RULES, [], deaths(lines, killed), told)
    return judge_flow(flows_of(lines)[uid("moved")], around, ())


def missing(finding: FlowFinding) -> list[str]:
    return [broken.missing for broken in finding.broken]


def lived_on(story: Story, service: str, seconds: int = 5) -> Story:
    """The process had something else to do for a while, and then was killed; others took over."""
    for _ in range(seconds):
        story.write(service, "library.message")
    story.restart(service)
    return story


def calling(story: Story) -> Story:
    """A delivery in the middle of its action."""
    received(story, "moved", "d1")
    evaluated(story, "d1")
    started(story, "d1")
    story.write("automation", "call.sent", "call d1", parent="act d1", **CAUSED)  # type: ignore[arg-type]
    return story


def handled(story: Story, delivery: str, *, http_status: int = 201, attempt: int = 1) -> Story:
    received(story, "moved", delivery, redelivered=True, attempt=attempt)
    acted(story, delivery, http_status=http_status)
    settled(story, "moved", delivery, attempt=attempt)
    return dealt(story) if http_status == 201 else story


def without(story: Story, service: str, kind: str, event: str | None = None) -> list[Line]:
    """All lines but this one."""
    gone = (service, kind, uid(event) if event else None)
    lines = [line for line in story.lines if (line.service, kind_of(line), line.event_id) != gone]
    assert len(lines) == len(story.lines) - 1
    return lines


# --- what it does not explain -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("service", "kind", "event"), UNSAID)
def test_a_line_missing_in_the_middle_is_not_explained_by_a_kill_later_on(service: str, kind: str, event: str) -> None:
    story = lived_on(qualified_lead(), service)
    assert not judged(story.lines, f"{service}-1").broken
    assert judged(without(story, service, kind, event), f"{service}-1").broken


def test_a_request_that_its_client_had_answered_was_completed() -> None:
    story = handled(lived_on(moved_lead(Story()), "pipeline"), "d1")
    lines = without(story, "pipeline", "http.request.completed")
    assert not judged(lines, "pipeline-1").broken, "nobody was answered: it may have been at work still"
    assert missing(judged(lines, "pipeline-1", answered_at=moment(4))) == ["http.request.completed"]


def test_an_answer_is_dated_by_the_clock_of_the_log() -> None:
    """The whole property: the client's clock is another one, and only its answer proves anything here."""
    lines = without(lived_on(qualified_lead(), "pipeline"), "pipeline", "http.request.completed")
    told, untold = (
        dataclasses.replace(happy_evidence(lines, operations=(operation,)), logs=logs_of(lines, killed=["pipeline-1"]))
        for operation in (move_asked(), move_asked(None))
    )
    assert [finding.edge for finding in PROPERTY.check(told).findings] == ["request received → completed"]
    assert PROPERTY.check(untold).status == "pass"


def test_a_call_takes_no_longer_than_it_may() -> None:
    soon, late = (handled(lived_on(calling(moved_lead(Story())), "automation", s), "d2").lines for s in (5, 30))
    assert not judged(soon, "automation-1").broken
    assert missing(judged(late, "automation-1")) == ["call.completed"]


def test_a_timer_that_nobody_set_is_explained_only_by_whoever_was_about_to() -> None:
    def told(*, was_through: bool) -> list[Line]:
        story = moved_lead(Story())
        received(story, "moved", "d1")
        evaluated(story, "d1")
        started(story, "d1")
        if was_through:
            completed(story, "d1")
        story.restart("automation")
        received(story, "moved", "d2", redelivered=True)
        evaluated(story, "d2")
        settled(story, "moved", "d2")
        story.write("automation", "timer.cancelled", "timer", **CAUSED)  # type: ignore[arg-type]
        return story.lines

    assert "timer.scheduled" in missing(judged(told(was_through=False)))
    assert "timer.scheduled" in missing(judged(told(was_through=True), "automation-1"))


def test_who_died_before_explains_nothing_that_another_process_left_unsaid_later() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d0")
    story.restart("automation")
    lines = without(handled(story, "d1"), "crm", "event.stored", "deal")
    assert "change → event stored" in {broken.edge for broken in judged(lines, "automation-1").broken}


def test_who_was_killed_after_the_scenario_excuses_nothing_in_it() -> None:
    lines = qualified_lead().lines
    log = ProcessLog("crm", "crm-1", "crm-1.ndjson", True, tuple(lines), (), (), ended_at=moment(1000))
    assert not within(log, "", moment(999)).killed
    assert within(log, "", moment(1000)).killed
    assert within(log, "", END).killed


# --- what it does explain ---------------------------------------------------------------------------------------


def test_a_call_in_flight_is_explained_whatever_else_its_process_does_meanwhile() -> None:
    """A second delivery of the same event, the relay of another service, a timer: none of them waits for the call."""
    story = calling(moved_lead(Story()))
    received(story, "moved", "d0", redelivered=True)
    story.write("automation", "timer.scheduled", "timer", parent="d1", **CAUSED)  # type: ignore[arg-type]
    story.write("automation", "timer.fired", "timer", parent="d1", **CAUSED)  # type: ignore[arg-type]
    story.restart("automation")
    assert not judged(handled(story, "d2").lines, "automation-1").broken


def test_a_timer_that_was_set_in_the_last_moment_is_explained() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    evaluated(story, "d1")
    story.restart("automation")
    story.write("automation", "timer.cancelled", "timer", **CAUSED)  # type: ignore[arg-type]
    lines = handled(story, "d2").lines
    assert "timer.scheduled" in missing(judged(lines))
    assert not judged(lines, "automation-1").broken


@pytest.mark.parametrize("how", [0, 1])
def test_a_request_answered_in_the_moment_of_death_may_lack_its_line(how: int) -> None:
    story = Story()
    asked(story, "pipeline", "patch")
    for kind in ("change.committed", "event.stored")[: 2 * how]:
        story.write("pipeline", kind, "patch", event="moved")
    died_at = story.lines[-1].ts
    story.restart("pipeline")
    published(story, "moved", parent="patch")
    assert not judged(handled(story, "d1").lines, "pipeline-1", answered_at=died_at).broken


def test_a_deal_was_made_by_a_crm_that_died_before_it_could_tell() -> None:
    story = calling(moved_lead(Story()))
    asked(story, "crm", "serve d1", parent="call d1", cause="moved")
    story.restart("crm")
    gone = {"status": "connection_error", "http_status": None, "parent": "act d1", **CAUSED}
    story.write("automation", "call.completed", "call d1", **gone)  # type: ignore[arg-type]
    completed(story, "d1", "failed")
    settled(story, "moved", "d1", "retried")
    published(story, "deal", parent="serve d1")
    received(story, "deal", "deal 1")
    settled(story, "deal", "deal 1")
    lines = handled(story, "d2", http_status=409, attempt=2).lines
    assert not judged(lines, "crm-1").broken
    assert judged(lines, "crm-2").broken, "another one's kill explains nothing"


def test_the_last_line_of_a_killed_process_is_found_before_what_is_torn(tmp_path: Path) -> None:
    lines, path = qualified_lead().lines, tmp_path / "log"
    path.write_bytes(b"\n".join([*map(raw, lines), raw(lines[0])[:50]]))
    found = last_line(path)
    assert found is not None
    assert found.ts == lines[-1].ts
    path.write_bytes(b"")
    assert last_line(path) is None
