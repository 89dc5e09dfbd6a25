"""An event of which nobody logged that it was stored: its service never learned how the COMMIT went, or hides it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from harness.checks.trace_complete import PROPERTY as TRACE
from harness.evidence.records import Fault
from tests.builders import (
    Story,
    answered,
    asked,
    evidence,
    lead_asked,
    moment,
    published,
    received,
    settled,
    uid,
)


def the_database_away(place: str = "postgres", *, since: int = 1, until: int = 5) -> Fault:
    return Fault(
        kind="SIGKILL", place=place, hits=1, proof="", injected_at=moment(since), healed_at=moment(until)
    )  # fmt: skip


def unlogged(http_status: int = 503, *, ends: str = "killed", lives_on_for: int = 0) -> Story:
    """POST /leads at second 1, answered at second 2; its event comes from the next process."""
    story = Story(flow="created")
    asked(story, "crm", "post")
    answered(story, "crm", "post", http_status)
    for _ in range(lives_on_for):
        story.write("crm", "metrics.snapshot")
    if ends == "stopped":
        story.write("crm", "service.stopped")
    if ends != "lives":
        story.restart("crm")
    published(story, "created", parent="post")
    received(story, "created", "c1")
    settled(story, "created", "c1")
    return story


def judged(story: Story, *faults: Fault, killed: Iterable[str] = (), answer: int = 503) -> str:
    result = TRACE.check(evidence(story.lines, operations=(lead_asked(answer),), faults=faults, killed=killed))
    if result.status == "fail":
        assert ("stored → published: missing event.stored", uid("created")) in [
            (finding.says, finding.correlation_id) for finding in result.findings
        ]
    return result.status


@pytest.mark.parametrize("place", ["postgres", "crm→database"])
def test_killed_before_it_could_ask_a_service_has_an_excuse(place: str) -> None:
    assert judged(unlogged(), the_database_away(place), killed=["crm-1"]) == "pass"


def test_so_it_has_if_it_was_stopped_before_it_could_ask() -> None:
    assert judged(unlogged(ends="stopped"), the_database_away()) == "pass"


@pytest.mark.parametrize("ends", ["lives", "crashed"])
def test_a_service_that_nobody_ended_has_none(ends: str) -> None:
    assert judged(unlogged(ends=ends), the_database_away()) == "fail"


@pytest.mark.parametrize("place", ["pipeline→database", "crm→broker", "database rows", "crm.leads"])
def test_a_fault_somewhere_else_is_none(place: str) -> None:
    assert judged(unlogged(), the_database_away(place), killed=["crm-1"]) == "fail"


def test_without_a_fault_a_commit_is_answered() -> None:
    assert judged(unlogged(), killed=["crm-1"]) == "fail"
    assert judged(unlogged(ends="stopped")) == "fail"


def test_a_fault_that_was_over_before_or_came_after_lost_no_answer() -> None:
    assert judged(unlogged(), the_database_away(since=0, until=0), killed=["crm-1"]) == "fail"
    assert judged(unlogged(), the_database_away(since=3, until=9), killed=["crm-1"]) == "fail"


def test_a_service_that_had_a_database_to_ask_for_long_enough_has_to_have_asked() -> None:
    assert judged(unlogged(lives_on_for=12), the_database_away(until=5), killed=["crm-1"]) == "pass"
    assert judged(unlogged(lives_on_for=14), the_database_away(until=5), killed=["crm-1"]) == "fail"


def test_whoever_gave_an_answer_for_good_knew() -> None:
    for status in (201, 409):
        assert judged(unlogged(status), the_database_away(), killed=["crm-1"], answer=status) == "fail"
