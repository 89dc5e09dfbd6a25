"""Honest witnesses of a chaotic world never contradict each other; one that leaves something out is always caught.

The world: confirms and answers are lost, connections break with deliveries in hand, attempts fail, processes die and
start again. Whatever happens, each event ends somewhere, and everybody tells what he saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.checks.sources_agree import PROPERTY
from harness.checks.verdict import Result
from harness.contract.log_lines import Line
from harness.evidence.records import OutboxRow, ProcessedRow, RestingMessage, Rows, TapMessage
from tests.builders import (
    DEAD_LETTERS,
    WORK_QUEUE,
    Story,
    answered,
    asked,
    changed,
    decoded,
    delivered,
    evidence,
    raw,
    resting,
    steady,
    step,
    stored,
    tapped,
    uid,
)

End = Literal["processed", "dead", "discarded", "waiting"]


@dataclass(frozen=True)
class Fate:
    """What happens to one event."""

    refused: int = 0
    """Tries to publish that reach no broker."""
    unconfirmed: int = 0
    """Publishes of which the confirm is lost."""
    dropped: int = 0
    """Deliveries that a broken connection takes away before anybody has seen them."""
    orphaned: int = 0
    """Deliveries in the hand of a process that dies; another one receives them again."""
    duplicates: int = 0
    end: End = "processed"


FATES = st.builds(
    Fate,
    refused=st.integers(0, 2), unconfirmed=st.integers(0, 2), dropped=st.integers(0, 2), orphaned=st.integers(0, 2),
    duplicates=st.integers(0, 2), end=st.sampled_from(["processed", "dead", "discarded", "waiting"]),
)  # fmt: skip


class World:
    """Lets each event live through its fate, and keeps what the witnesses saw."""

    def __init__(self) -> None:
        self.story = Story()
        self.outbox: list[OutboxRow] = []
        self.tap: list[TapMessage] = []
        self.processed: list[ProcessedRow] = []
        self.resting: list[RestingMessage] = []

    def live(self, number: int, fate: Fate) -> None:
        ids = {
            "event_id": uid(f"e{number}"),
            "correlation_id": uid(f"flow {number}"),
            "entity_id": uid(f"lead {number}"),
        }
        begin = len(self.story.lines)
        self._store()
        self._publish(fate)
        if fate.end != "waiting":
            self._deliver(fate)
        for index, line in enumerate(self.story.lines[begin:], start=begin):
            self.story.lines[index] = renamed(line, ids)
        message = {"message_id": ids["event_id"], "correlation_id": ids["correlation_id"]}
        self.outbox.append(stored("moved", **ids))
        self.tap = [m if m.message_id != uid("moved") else msgspec.structs.replace(m, **message) for m in self.tap]
        row = ProcessedRow(ids["event_id"], "lead.stage.changed", ids["correlation_id"])
        self.processed += [row] if fate.end == "processed" else []
        queue = WORK_QUEUE if fate.end == "waiting" else DEAD_LETTERS
        self.resting += [resting("moved", queue, **message)] if fate.end in ("waiting", "dead") else []

    def _store(self) -> None:
        self.story.flow = "moved"
        asked(self.story, "pipeline", "patch")
        changed(self.story, "moved", "patch")
        answered(self.story, "pipeline", "patch", 200)

    def _publish(self, fate: Fate) -> None:
        for status in ("nacked",) * fate.refused + ("unknown",) * fate.unconfirmed + ("confirmed",):
            self.story.write("pipeline", "event.published", f"p{len(self.story.lines)}", event="moved", status=status)
            self.tap += [] if status == "nacked" else [tapped("moved")]

    def _deliver(self, fate: Fate) -> None:
        self.tap += [delivered("moved")] * fate.dropped
        for _ in range(fate.orphaned):
            self._receive()
        self._settle(self._receive(), "acked" if fate.end == "processed" else "dead_lettered")
        for _ in range(fate.duplicates):
            again = self._receive()
            self.story.write("automation", "event.deduplicated", again, event="moved")
            self._settle(again, "acked")
        if fate.end == "discarded":
            self.story.write("automation", "dead_letter.discarded", "discard", event="moved")

    def _receive(self) -> str:
        self.tap.append(delivered("moved"))
        delivery = f"d{len(self.story.lines)}"
        self.story.write("automation", "event.received", delivery, event="moved")
        return delivery

    def _settle(self, delivery: str, status: str) -> None:
        if status == "dead_lettered":
            self.story.write("automation", "event.dead_lettered", delivery, event="moved")
        self.story.write("automation", "event.settled", delivery, event="moved", status=status)

    def judged(self, *, without: tuple[str, int] | None = None) -> Result:
        """``without``: one witness says nothing of one event."""
        witness, number = without or ("nobody", 0)
        event_id = uid(f"e{number}")
        lines = [line for line in self.story.lines if not (line.event_id == event_id and line.service == witness)]
        history = tuple(
            step(1, "new", "qualified", by=f"flow {number}", lead=f"lead {number}")
            for number in range(len(self.outbox))
        )
        rows = Rows(
            history=history,
            outbox=tuple(row for row in self.outbox if not (witness == "outbox" and row.event_id == event_id)),
            processed=tuple(row for row in self.processed if not (witness == "processed" and row.event_id == event_id)),
        )
        tap = tuple(m for m in self.tap if not (witness == "broker" and m.message_id == event_id))
        rest = tuple(m for m in self.resting if not (witness == "queues" and m.message_id == event_id))
        return PROPERTY.check(evidence(lines, rows=rows, tap=tap, resting=rest))


def renamed(line: Line, ids: dict[str, str]) -> Line:
    fields = msgspec.json.decode(raw(line))
    known = {name: value for name, value in ids.items() if fields[name] is not None}
    return decoded(fields | known)


def a_world(fates: list[Fate]) -> World:
    world = World()
    for number, fate in enumerate(fates):
        world.live(number, fate)
    return world


@steady
@given(st.lists(FATES, min_size=1, max_size=5))
def test_honest_witnesses_agree_whatever_happens(fates: list[Fate]) -> None:
    result = a_world(fates).judged()
    assert (result.status, result.findings, result.doubts) == ("pass", (), ())
    assert result.seen == len(fates)


SPOKE: dict[str, tuple[End, ...]] = {
    "pipeline": ("processed", "dead", "discarded", "waiting"),
    "outbox": ("processed", "dead", "discarded", "waiting"),
    "broker": ("processed", "dead", "discarded", "waiting"),
    "automation": ("processed", "discarded"),
    "processed": ("processed",),
    "queues": ("dead", "waiting"),
}
"""Whose silence about an event can be told from something that may happen, by how the event ended. Of a delivery that
ended in the dead-letter queue without a line, dead_letter_accounting tells."""


@steady
@given(st.lists(FATES, min_size=1, max_size=5), st.sampled_from(sorted(SPOKE)), st.integers(0, 4))
def test_a_witness_that_is_silent_about_one_event_is_caught_and_nobody_else_is(
    fates: list[Fate], witness: str, number: int
) -> None:
    number %= len(fates)
    assume(fates[number].end in SPOKE[witness])
    result = a_world(fates).judged(without=(witness, number))
    assert result.status == "fail"
    assert {finding.correlation_id for finding in result.findings} == {uid(f"flow {number}")}
