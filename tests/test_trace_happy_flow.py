"""Take any one line away from the happy flow: the judge must miss it, and name it.

No removal is invisible in this flow: each of its lines is demanded by another one. What would be invisible is listed
in ``test_what_no_line_demands_is_not_missed``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.log_lines import Line, kind_of
from harness.trace.findings import judge_flow
from harness.trace.flow import Surroundings, flows_of
from harness.trace.render import MOST_LINES, shortest_trace
from tests.builders import (
    Story,
    created_lead,
    duplicated_lead,
    evaluated,
    exhausted_lead,
    judged,
    lost_from,
    missing,
    moved_lead,
    published,
    qualified_lead,
    received,
    replayed_lead,
    retried_lead,
    settled,
    span_id,
    steady,
    uid,
)

HAPPY = qualified_lead().lines
STORIES: tuple[Callable[[], Story], ...] = (
    qualified_lead, retried_lead, duplicated_lead, exhausted_lead, replayed_lead,
)  # fmt: skip


def _name(index: int) -> str:
    line = HAPPY[index]
    return f"{index}-{line.service}-{kind_of(line)}"


EACH_LINE = pytest.mark.parametrize("index", range(len(HAPPY)), ids=_name)


def without(index: int, lines: list[Line] = HAPPY) -> list[Line]:
    return lines[:index] + lines[index + 1 :]


def test_the_happy_flow_has_every_step_of_the_chain() -> None:
    assert [kind_of(line) for line in HAPPY] == [
        "http.request.received", "change.committed", "event.stored", "http.request.completed", "event.published",
        "event.received", "rule.evaluated", "action.started", "call.sent",
        "http.request.received", "change.committed", "event.stored", "http.request.completed",
        "call.completed", "action.completed", "event.settled",
        "event.published", "event.received", "event.settled",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tell", "state"),
    [
        (qualified_lead, "complete"),
        (retried_lead, "complete_with_duplicates"),
        (duplicated_lead, "complete_with_duplicates"),
        (exhausted_lead, "dead_lettered"),
        (replayed_lead, "dead_lettered"),
    ],
)
def test_a_whole_flow_is_found_whole(tell: Callable[[], Story], state: str) -> None:
    found = judged(tell().lines)
    assert (found.state, found.broken, found.lost) == (state, (), ())


def test_a_lead_is_created_in_a_flow_of_its_own() -> None:
    lines = qualified_lead(created_lead(Story())).lines
    assert judged(lines, flow="created").state == judged(lines, flow="moved").state == "complete"


@EACH_LINE
def test_a_line_that_was_never_written_breaks_the_flow_and_is_named(index: int) -> None:
    found = judged(without(index))
    assert found.state in ("broken", "orphan")
    assert any(text.startswith(kind_of(HAPPY[index])) for text in missing(found)) or _is_the_root(index), missing(found)


def _is_the_root(index: int) -> bool:
    return index == 0


def test_the_missing_root_is_called_the_root() -> None:
    assert "a request without parent that began this flow" in missing(judged(without(0)))


@EACH_LINE
def test_the_service_that_owes_the_line_is_named(index: int) -> None:
    line = HAPPY[index]
    owed = {obligation.by for obligation in judged(without(index)).broken}
    assert line.service in owed


@EACH_LINE
def test_a_line_that_was_lost_makes_the_flow_unknown_and_the_doubt_names_it(tmp_path: Path, index: int) -> None:
    found = judged(without(index), lost=lost_from(tmp_path, HAPPY, [index]))
    assert found.state == "unknown", missing(found)
    assert any(f"seq {HAPPY[index].seq} of instance {HAPPY[index].instance}" in str(hole) for hole in found.lost)


@EACH_LINE
def test_a_line_lost_later_by_pipeline_puts_only_what_pipeline_still_had_to_write_in_doubt(
    tmp_path: Path, index: int
) -> None:
    later = Story(lines=list(HAPPY), flow="later", instances={"pipeline": "pipeline-9"})
    for number in range(3):
        later.write("pipeline", "http.request.received", f"later {number}")
    lost = lost_from(tmp_path, later.lines, [len(HAPPY) + 1])
    assert len(lost) == 1
    owed_later = kind_of(HAPPY[index]) in ("http.request.completed", "event.published") and index < 5
    assert (judged(without(index), lost=lost).state == "unknown") == owed_later


def test_what_no_line_demands_is_not_missed() -> None:
    """Legitimately invisible: a second confirm, a publish that was not confirmed, and the evaluation of a rule that
    did not match where nobody knows that the rule was enabled."""
    story = moved_lead(Story())
    published(story, "moved", span="again", attempt=2)
    published(story, "moved", span="nacked", attempt=3, status="nacked")
    received(story, "moved", "d1")
    evaluated(story, "d1", status="not_matched")
    settled(story, "moved", "d1")
    whole = judge_flow(flows_of(story.lines)[uid("moved")], Surroundings(), ())
    assert whole.state == "complete_with_duplicates"
    bare = [
        line
        for line in story.lines
        if kind_of(line) != "rule.evaluated" and line.span_id not in _spans("again", "nacked")
    ]
    assert judge_flow(flows_of(bare)[uid("moved")], Surroundings(), ()).state == "complete"


def _spans(*names: str) -> set[str]:
    return {span_id(f"moved/{name}") for name in names}


@steady
@given(st.sampled_from(STORIES), st.data())
def test_lines_lost_from_the_files_never_make_an_honest_flow_broken(
    tell: Callable[[], Story], data: st.DataObject
) -> None:
    lines = tell().lines
    gone = data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=4))
    kept = [line for index, line in enumerate(lines) if index not in gone]
    with tempfile.TemporaryDirectory() as folder:
        lost = lost_from(Path(folder), lines, gone)
    found = judged(kept, lost=lost)
    assert found.state not in ("broken", "orphan"), [(o.edge, o.state, o.missing) for o in found.broken]


@steady
@given(st.sampled_from(STORIES), st.data())
def test_a_trace_is_short_and_marks_the_missing_step_whatever_is_missing(
    tell: Callable[[], Story], data: st.DataObject
) -> None:
    lines = tell().lines
    gone = data.draw(st.sets(st.integers(0, len(lines) - 1), min_size=1, max_size=8))
    found = judged([line for index, line in enumerate(lines) if index not in gone])
    for broken in found.broken:
        trace = shortest_trace(found.flow, broken)
        assert len(trace) <= MOST_LINES == 15
        assert sum("✗" in text for text in trace) == 1
