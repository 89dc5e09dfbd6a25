"""A flow as text: at most 15 lines, the way to the break, the missing step marked in its place, the whole tree."""

from __future__ import annotations

import pytest

from harness.contract.log_lines import kind_of
from harness.trace.render import MOST_LINES, claim_trace, line_text, shortest_trace, tree
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
    uid,
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


def test_a_tree_has_every_line_once_with_its_time_first_and_deeper_under_its_cause() -> None:
    story = qualified_lead()
    texts = list(tree(judged(story.lines).flow))
    flat = [" ".join(text.split()) for text in texts]
    assert sorted(flat) == sorted(" ".join(line_text(line).split()) for line in story.lines)  # type: ignore[arg-type]
    assert all(text[15:17] == "  " and not text.startswith(" ") for text in texts)
    depth = depths(texts)
    assert depth["rule.evaluated"] == depth["action.started"] == depth["event.received"] + 2
    assert depth["call.sent"] == depth["action.started"] + 2
    assert depth["event.published"] == depth["event.stored"] + 2


def depths(texts: list[str]) -> dict[str, int]:
    """How far each kind is indented where it stands first."""
    found: dict[str, int] = {}
    for text in texts:
        kind = text[29:].strip().split()[0]
        found.setdefault(kind, len(text[29:]) - len(text[29:].lstrip()))
    return found


def test_a_span_stands_in_one_piece_however_its_lines_interleave_with_another() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    received(story, "moved", "d2", redelivered=True)
    settled(story, "moved", "d1")
    settled(story, "moved", "d2")
    kinds = [text[29:].split()[0] for text in tree(judged(story.lines).flow)]
    at = kinds.index("event.received")
    assert kinds[at : at + 4] == ["event.received", "event.settled", "event.received", "event.settled"]


def test_spans_that_name_each_other_as_parents_are_shown_all_the_same() -> None:
    story = Story()
    story.write("crm", "http.request.received", "a", parent="b")
    story.write("crm", "http.request.received", "b", parent="a")
    story.write("crm", "http.request.received", "c", parent="c")
    assert len(list(tree(judged(story.lines).flow))) == 3


def test_a_tree_marks_every_break_at_its_line() -> None:
    found = judged(moved_lead(Story()).lines)
    texts = list(tree(found.flow, found.broken))
    (at,) = [number for number, text in enumerate(texts) if "✗" in text]
    assert texts[at].split(maxsplit=2)[::2] == ["automation", "published → received: MISSING  event.received"]
    assert "event.published" in texts[at - 1]


def test_a_tree_marks_what_should_have_gone_before_before_its_line() -> None:
    found = judged(duplicated_lead().without("event.deduplicated"))
    texts = list(tree(found.flow, found.broken))
    (at,) = [number for number, text in enumerate(texts) if "MISSING  event.deduplicated" in text]
    assert any("event.settled" in after for after in texts[at + 1 : at + 3])


# --- a flow in which no edge is broken --------------------------------------------------------------------------


def test_a_claim_about_an_entity_is_marked_after_what_the_flow_says_of_it() -> None:
    texts = claim_trace(judged(qualified_lead().lines).flow, {uid("deal")}, "crm", "there are two of them")
    assert texts[-1].split(maxsplit=1) == ["crm", "✗ there are two of them"]
    assert "change.committed" in texts[0]
    assert not any("patch" in text for text in texts)


def test_a_claim_about_nothing_that_the_flow_names_shows_all_of_it_cut_in_its_middle() -> None:
    story = exhausted_lead()
    texts = claim_trace(judged(story.lines).flow, {"nobody"}, "crm", "x" * 1000)
    assert len(texts) == MOST_LINES
    assert len(texts[-1]) < 200
    left_out = next(int(text.split()[1]) for text in texts if "…" in text and "lines" in text)
    assert left_out + MOST_LINES - 2 == len(story.lines)
