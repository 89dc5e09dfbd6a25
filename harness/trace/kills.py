"""What a kill explains: that a line is missing which could not have been written before the process died.

What it was through with already, it had to say. Three things prove that: a later line of its own that stands around the
missing one or beside it, since within a span one thing is done after the other; an answer that somebody got; and the
time that such a thing takes at the very most.
"""

from __future__ import annotations

from harness.contract.log_lines import (
    ActionCompleted,
    ActionStarted,
    CallCompleted,
    CallSent,
    HttpRequestReceived,
    InBand,
    RuleEvaluated,
)
from harness.evidence.clock import later
from harness.evidence.log_files import END
from harness.trace.flow import Flow, Surroundings

CALL_S, REQUEST_S, HANDLING_S = 15, 60, 90
"""Longer than a call may take (2 s to connect and 8 s to answer), a request, and the handling of an event (60 s)."""
ANSWERED_S = 0.05
"""The line about an answer is written in the step that sends it: so much later, it is there."""
_IN_TURN = (RuleEvaluated, ActionStarted, ActionCompleted, CallSent, CallCompleted)
"""What is done one after the other below one span. Timers and relays work beside it, on things that it has begun."""


class Kills:
    """The kills that one flow has seen, and what its lines prove of each."""

    def __init__(self, flow: Flow | None, around: Surroundings) -> None:
        self._died = around.killed_instances
        self._answered_client = around.answered.get(flow.correlation_id, END) if flow else END
        self._lines = flow.lines if flow else []
        self._signs: dict[tuple[str, str], tuple[str, str, str]] | None = None
        self._parents: dict[tuple[str, str], str | None] = {}
        self._answered: dict[str, str] = {}

    def explain(self, line: InBand, *, within_s: float) -> bool:
        """Is what had to follow this line missing because of a kill?"""
        died = self._died.get(line.instance)
        if died is None or later(line.ts, within_s) < died:
            return False
        return not self._went_on(line)

    def explain_next(self, line: InBand) -> bool:
        """The same, where the two are written in one step: no other line comes between them."""
        died = self._died.get(line.instance)
        return died is not None and line.ts >= died

    def explain_request(self, line: HttpRequestReceived) -> bool:
        """The same, of a request that was not completed: whoever asked may have been answered."""
        if not self.explain(line, within_s=REQUEST_S):
            return False
        self._index()
        answered = self._answered.get(line.parent_span_id, END) if line.parent_span_id else self._answered_client
        return answered == END or later(answered, ANSWERED_S) >= self._died[line.instance]

    def _went_on(self, line: InBand) -> bool:
        """Did the same process do something, later, around this line or beside it?"""
        signs, around, seen = self._index(), line.parent_span_id, {line.span_id}
        while around is not None and around not in seen and (line.instance, around) in self._parents:
            seen.add(around)
            ts, span, ts_of_others = signs[line.instance, around]
            if (ts_of_others if span == line.span_id else ts) > line.ts:
                return True
            around = self._parents[line.instance, around]
        return False

    def _index(self) -> dict[tuple[str, str], tuple[str, str, str]]:
        """(instance, span) → the last line in that span or right below it, its span, and the last one of another."""
        if self._signs is None:
            self._signs = {}
            for line in self._lines:
                if line.instance in self._died:
                    self._parents[line.instance, line.span_id] = line.parent_span_id
                    self._note(line, line.span_id)
                    if line.parent_span_id is not None and isinstance(line, _IN_TURN):
                        self._note(line, line.parent_span_id)
                if isinstance(line, CallCompleted) and line.http_status is not None:
                    self._answered[line.span_id] = line.ts
        return self._signs

    def _note(self, line: InBand, span: str) -> None:
        assert self._signs is not None
        key = (line.instance, span)
        ts, of, ts_of_others = self._signs.get(key, ("", line.span_id, ""))
        self._signs[key] = (line.ts, line.span_id, ts_of_others if of == line.span_id else ts)


_NO_KILLS = Kills(None, Surroundings())


def kills_in(flow: Flow, around: Surroundings) -> Kills:
    """The kills that concern a flow: mostly none."""
    return Kills(flow, around) if around.killed_instances else _NO_KILLS
