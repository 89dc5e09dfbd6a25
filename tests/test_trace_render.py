"""A flow as text: at most 15 lines, the way to the break, the missing step marked in its place, the whole tree."""

from __future__ import annotations

import pytest

from harness.contract.log_lines import kind_of
from harness.trace.render import MOST_LINES, line_text, shortest_trace, tree
from tests.builders import (
    Story,
    duplicate,
    duplicated_lead,
    exhausted_lead,
    judged,
    moved_lead,
    qualified_lead,
    received,
    settled,
)


def trace_of(story: Story, *without: str) -> list[str]:
    found = judged(story.without(*without))
    return shortest_trace(found.flow, found.broken[0])


def marked(texts: list[str]) -> int:
    (place,) = [number for number, text in enumerate(texts) if "✗" in text]
    return place


def test_a_line_shows_its_time_service_kind_status_and_what_matters() -> None:
    line = next(line for line in qualified_lead().lines if kind_of(line) == "change.committed")
    assert line_text(line) == "00:00:02.000000  pipeline    change.committed  committed  new qualified 1"  # type: ignore[arg-type]


def test_null_and_false_are_not_shown_but_zero_is() -> None:
    story = Story()
    received(story, "moved", "d1")
    assert line_text(story.lines[0]).endswith("received  automation.events 1")  # type: ignore[arg-type]
    version = story.write("pipeline", "change.committed", "patch", event="moved", entity_version=0)
    assert line_text(version).endswith("committed  0")  # type: ignore[arg-type]


def test_a_missing_step_is_marked_right_after_the_line_that_demands_it() -> None:
    texts = trace_of(moved_lead(Story()))
    assert texts[marked(texts)].split() == ["automation", "✗", "MISSING", "event.received"]
    assert "event.published" in texts[marked(texts) - 1]


def test_a_missing_beginning_is_marked_right_before_the_line_that_needs_it() -> None:
    texts = trace_of(duplicated_lead(), "event.deduplicated")
    assert "MISSING  event.deduplicated" in texts[marked(texts)]
    assert "event.settled" in texts[marked(texts) + 1]


def test_a_line_too_many_is_marked_as_excess_right_after_it() -> None:
    story = qualified_lead()
    settled(story, "moved", "d1")
    texts = trace_of(story)
    assert "EXCESS  expected event.settled" in texts[marked(texts)]
    assert "event.received" in texts[marked(texts) - 1]


def test_a_trace_shows_the_request_that_began_it() -> None:
    assert "http.request.received" in trace_of(moved_lead(Story()))[0]


def test_a_long_trace_is_cut_to_15_lines_and_says_how_much_it_leaves_out() -> None:
    story = exhausted_lead()
    story.write("automation", "dead_letter.replayed", "replay", event="moved")
    texts = trace_of(story)
    assert len(texts) == MOST_LINES - 2
    assert texts[0].strip().endswith("earlier lines of this flow")
    left_out = int(texts[0].split()[1])
    assert left_out + len(texts) - 2 == len(story.lines)


@pytest.mark.parametrize("count", range(20))
def test_a_trace_is_never_longer_than_15_lines_and_always_marked(count: int) -> None:
    story = moved_lead(Story())
    received(story, "moved", "open")
    for number in range(count):
        duplicate(story, "moved", f"d{number}")
    found = judged(story.lines)
    for broken in found.broken:
        texts = shortest_trace(found.flow, broken)
        assert len(texts) <= MOST_LINES
        assert line_text(broken.line) in texts
        assert texts[marked(texts) - (broken.state != "orphan") + (broken.state == "orphan")] == line_text(broken.line)


def test_lines_of_other_events_are_left_out_of_a_trace() -> None:
    story = qualified_lead()
    settled(story, "deal", "deal 1")
    texts = "\n".join(trace_of(story))
    assert "deal.created" in texts
    other = qualified_lead()
    settled(other, "moved", "d1")
    assert "deal.created" not in "\n".join(trace_of(other))


def test_a_tree_has_every_line_once_and_deeper_under_its_cause() -> None:
    story = qualified_lead()
    texts = list(tree(judged(story.lines).flow))
    assert [text.strip() for text in texts] == [line_text(line) for line in story.lines]  # type: ignore[arg-type]
    depth = {text.split()[2]: len(text) - len(text.lstrip()) for text in texts}
    assert depth["rule.evaluated"] == 0 + depth["action.started"]
    assert depth["call.sent"] == depth["action.started"] + 2


def test_a_tree_marks_every_break_at_its_line() -> None:
    found = judged(moved_lead(Story()).lines)
    texts = list(tree(found.flow, found.broken))
    assert texts[-1].strip() == "✗ published → received: MISSING  event.received (by automation)"
    assert "event.published" in texts[-2]
