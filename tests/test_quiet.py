"""Waiting for quiet, with a clock and a log of our own: no thread, no sleep."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from harness.contract.log_lines import Line, kind_of
from harness.trace import quiet
from harness.trace.flow import Surroundings
from harness.trace.quiet import CALM_S, LATE_S, POLL_S, QuietWatch, Rest
from tests.builders import AROUND, Story, created_lead, moved_lead, qualified_lead, received, uid


@dataclass
class Clock:
    now: float = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(quiet, "time", clock)
    return clock


@dataclass
class System:
    """A log that grows by one batch a look, and what the looks beyond the log find unfinished, look by look."""

    batches: list[list[Line]]
    found: list[list[str]] = field(default_factory=list)
    around: list[Surroundings] = field(default_factory=lambda: [AROUND])
    lines: list[Line] = field(default_factory=list)
    looks: int = 0

    def read_on(self) -> list[Line]:
        if self.batches:
            self.lines += self.batches.pop(0)
        return self.lines

    def unfinished(self) -> list[str]:
        self.looks += 1
        return self.found.pop(0) if self.found else []

    def surroundings(self) -> Surroundings:
        return self.around.pop(0) if len(self.around) > 1 else self.around[0]

    def watch(self) -> QuietWatch:
        return QuietWatch(self.read_on, self.surroundings, self.unfinished)


HAPPY = qualified_lead().lines


def wait(system: System, *, within_s: float = 30.0, stalled_s: float = 7.0) -> Rest:
    return system.watch().await_quiet(within_s=within_s, stalled_s=stalled_s)


def test_a_whole_flow_is_quiet_after_a_moment_without_lines() -> None:
    system = System([HAPPY])
    rest = wait(system)
    assert (rest.quiet, rest.awaited, system.looks) == (True, (), 1)
    assert CALM_S <= rest.waited_s <= CALM_S + 2 * POLL_S


def test_no_line_at_all_is_quiet() -> None:
    assert wait(System([])).quiet


def test_it_waits_until_the_last_line_has_come() -> None:
    system = System([[line] for line in HAPPY])
    rest = wait(system)
    assert (rest.quiet, len(system.lines)) == (True, len(HAPPY))
    assert rest.waited_s >= (len(HAPPY) - 1) * POLL_S + CALM_S


@pytest.mark.parametrize("count", range(1, len(HAPPY)))
def test_a_flow_that_stops_anywhere_on_its_way_is_not_quiet(count: int) -> None:
    rest = wait(System([HAPPY[:count]]))
    assert not rest.quiet
    assert f"in flow {uid('moved')}" in rest.awaited[0]


def test_what_is_awaited_is_named_with_service_and_flow() -> None:
    rest = wait(System([moved_lead(Story()).lines]))
    assert rest.awaited == (f"event.received by automation in flow {uid('moved')}",)


def test_each_open_flow_is_named_and_the_closed_ones_are_not() -> None:
    story = created_lead(Story())
    moved_lead(story)
    story.flow = "other"
    story.write("crm", "http.request.received", "x")
    rest = wait(System([story.lines]))
    assert sorted(text.rpartition(" ")[2] for text in rest.awaited) == sorted([uid("moved"), uid("other")])


def test_it_gives_up_when_no_line_has_come_for_long() -> None:
    rest = wait(System([moved_lead(Story()).lines]), stalled_s=2.0)
    assert not rest.quiet
    assert 2.0 < rest.waited_s <= 2.0 + 2 * POLL_S


def test_lines_that_keep_coming_are_hope_until_the_time_is_over() -> None:
    story = moved_lead(Story())
    batches = [story.lines[:1]]
    for number in range(400):
        story.write("pipeline", "call.sent", f"call {number}")
        batches.append([story.lines[-1]])
    rest = wait(System(batches), within_s=5.0, stalled_s=1.0)
    assert not rest.quiet
    assert 5.0 < rest.waited_s <= 5.0 + 2 * POLL_S


def test_lines_about_the_process_are_no_news() -> None:
    story = Story()
    for _ in range(100):
        story.write("crm", "library.message")
    assert wait(System([[line] for line in story.lines])).waited_s <= CALM_S + 2 * POLL_S


def test_what_should_have_gone_before_may_come_late() -> None:
    stored = [line for line in HAPPY if kind_of(line) in ("change.committed", "event.stored")]
    others = [line for line in HAPPY if line not in stored]
    system = System([others, *[[] for _ in range(round(LATE_S / POLL_S) - 3)], stored])
    assert wait(system).quiet
    assert len(system.lines) == len(HAPPY)


def test_what_should_have_gone_before_and_never_comes_is_for_the_judge() -> None:
    for stalled_s, waited_s in ((7.0, LATE_S), (2.0, 2.0)):
        rest = wait(System([[line for line in HAPPY if kind_of(line) != "change.committed"]]), stalled_s=stalled_s)
        assert rest.quiet
        assert waited_s <= rest.waited_s <= waited_s + 2 * POLL_S


def test_what_the_log_cannot_tell_is_looked_at_only_when_all_flows_are_closed() -> None:
    system = System([HAPPY[:5], *[[] for _ in range(20)], HAPPY[5:]])
    assert wait(system).quiet
    assert system.looks == 1


def test_unfinished_work_is_awaited_and_named() -> None:
    system = System([HAPPY], found=[["2 unsent rows"]] * 1000)
    assert wait(system, stalled_s=1.0).awaited == ("2 unsent rows",)


def test_unfinished_work_that_ends_leads_to_quiet() -> None:
    system = System([HAPPY], found=[["2 unsent rows"]] * 3)
    assert wait(system).quiet
    assert system.looks == 4


def test_a_line_that_comes_during_the_last_look_is_not_missed() -> None:
    """Open again after the look: a quiet that was told before the last line had come would be wrong."""
    calm: list[list[Line]] = [[] for _ in range(round(CALM_S / POLL_S))]
    later = created_lead(Story()).lines
    system = System([HAPPY, *calm, later[:1], *[[] for _ in range(5)], later[1:]])
    assert wait(system).quiet
    assert len(system.lines) == len(HAPPY) + len(later)


def test_a_kill_that_becomes_known_later_excuses_what_was_open() -> None:
    lines = [Story().write("pipeline", "http.request.received", "patch")]
    killed = Surroundings({"pipeline-1": lines[-1].ts}, rules_by_event_type=AROUND.rules_by_event_type)
    assert wait(System([lines], around=[AROUND, AROUND, AROUND, killed])).quiet
    assert not wait(System([list(lines)])).quiet


def test_a_redelivery_after_a_kill_is_awaited() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    killed = Surroundings({"automation-1": story.lines[-1].ts}, rules_by_event_type=AROUND.rules_by_event_type)
    rest = wait(System([story.lines], around=[killed]))
    assert "a redelivery, for its instance was killed by automation" in rest.awaited[0]


def test_a_watch_may_wait_again_and_reads_on_from_where_it_was() -> None:
    system = System([HAPPY])
    watch = system.watch()
    assert watch.await_quiet().quiet
    system.batches.append([created_lead(Story()).lines[0]])
    assert not watch.await_quiet().quiet
    system.batches.append(created_lead(Story()).lines[1:])
    assert watch.await_quiet().quiet
