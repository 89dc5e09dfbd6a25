"""Calls between services."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contract.log_lines import CallCompleted, CallSent, HttpRequestReceived
from harness.trace.flow import Flow, Surroundings
from harness.trace.kills import CALL_S, kills_in
from harness.trace.obligations import Obligation, State, exactly_one, tally

INSIDE = ("crm", "pipeline", "automation")
"""Peers whose log we read. A webhook's receiver or a mail server is none of them."""
REACHED = "call sent → request received at the peer"


def call_completed(flow: Flow, around: Surroundings) -> Iterator[Obligation]:
    completed, kills = tally(line.span_id for line in flow.of(CallCompleted)), kills_in(flow, around)
    for line in flow.of(CallSent):
        count = completed[line.span_id]
        state = exactly_one(count, excused=not count and kills.explain(line, within_s=CALL_S))
        yield Obligation("call sent → completed", line, state, "call.completed", line.service)


def completed_was_sent(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    sent = {line.span_id for line in flow.of(CallSent)}
    for line in flow.of(CallCompleted):
        if line.span_id not in sent:
            yield Obligation("call sent → completed", line, "orphan", "call.sent", line.service)


def call_reached_peer(flow: Flow, around: Surroundings) -> Iterator[Obligation]:
    """An answer proves that the peer received the call; a call without answer may have been received or not. It is
    received once, unless a fault of ours has repeated it on its way."""
    received = tally(line.parent_span_id for line in flow.of(HttpRequestReceived))
    answered = {line.span_id for line in flow.of(CallCompleted) if line.http_status is not None}
    for line in flow.of(CallSent):
        if line.peer in INSIDE:
            count = received[line.span_id]
            excess = count > 1 and f"{line.service}→{line.peer}" not in around.repeating_edges
            state: State = "excess" if excess else "open" if not count and line.span_id in answered else "closed"
            yield Obligation(REACHED, line, state, f"http.request.received at {line.peer}", line.peer)


def request_was_called(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    calls = {line.span_id for line in flow.of(CallSent)}
    for line in flow.of(HttpRequestReceived):
        if line.parent_span_id is not None and line.parent_span_id not in calls:
            yield Obligation(REACHED, line, "orphan", f"call.sent with span {line.parent_span_id}", "automation")
