"""The causal edges of the contract, one function each: a flow in, obligations out.

Each function's name says which line closes which. Whoever adds an edge appends it to ``EDGES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from harness.contract.log_lines import (
    ActionCompleted,
    ActionStarted,
    CallCompleted,
    CallSent,
    ChangeCommitted,
    DeadLetterReplayed,
    Envelope,
    EventDeduplicated,
    EventPublished,
    EventReceived,
    EventSettled,
    EventStored,
    HttpRequestCompleted,
    HttpRequestReceived,
    InBand,
    RuleEvaluated,
    TimerCancelled,
    TimerFired,
    TimerScheduled,
)
from harness.trace.edges import actions, calls, causes, deliveries, outbox, requests
from harness.trace.flow import Flow, Surroundings
from harness.trace.obligations import Obligation

Edge = Callable[[Flow, Surroundings], Iterator[Obligation]]

EDGES: tuple[Edge, ...] = (
    requests.one_root,
    requests.request_completed,
    requests.completed_was_received,
    requests.request_changed,
    requests.change_has_request,
    outbox.change_stored_event,
    outbox.stored_by_change,
    outbox.stored_published,
    outbox.published_was_stored,
    outbox.attempts_are_gapless,
    deliveries.published_received,
    deliveries.received_was_published,
    deliveries.received_settled,
    deliveries.settled_was_received,
    deliveries.handled_once,
    deliveries.duplicate_has_original,
    deliveries.retried_again,
    deliveries.requeued_again,
    deliveries.dead_lettered_alert,
    deliveries.replayed_received,
    actions.received_evaluated,
    actions.matched_acted,
    actions.action_completed,
    actions.action_was_matched,
    actions.timer_ends,
    actions.timer_was_scheduled,
    calls.call_completed,
    calls.completed_was_sent,
    calls.call_reached_peer,
    calls.request_was_called,
    causes.cause_resolves,
    causes.causes_form_no_circle,
    causes.change_names_its_trigger,
    causes.parent_resolves,
)

_OPENED_BY: dict[Edge, tuple[type[InBand], ...]] = {
    requests.request_completed: (HttpRequestReceived,),
    requests.completed_was_received: (HttpRequestCompleted,),
    requests.request_changed: (HttpRequestCompleted,),
    requests.change_has_request: (ChangeCommitted,),
    outbox.change_stored_event: (ChangeCommitted,),
    outbox.stored_by_change: (EventStored,),
    outbox.stored_published: (EventStored,),
    outbox.published_was_stored: (EventPublished,),
    outbox.attempts_are_gapless: (EventPublished,),
    deliveries.published_received: (EventPublished,),
    deliveries.received_was_published: (EventReceived,),
    deliveries.received_settled: (EventReceived,),
    deliveries.settled_was_received: (EventSettled,),
    deliveries.handled_once: (EventSettled,),
    deliveries.duplicate_has_original: (EventDeduplicated,),
    deliveries.retried_again: (EventSettled,),
    deliveries.requeued_again: (EventSettled,),
    deliveries.dead_lettered_alert: (EventSettled,),
    deliveries.replayed_received: (DeadLetterReplayed,),
    actions.received_evaluated: (EventSettled,),
    actions.matched_acted: (RuleEvaluated,),
    actions.action_completed: (ActionStarted,),
    actions.action_was_matched: (ActionStarted, ActionCompleted),
    actions.timer_ends: (TimerScheduled,),
    actions.timer_was_scheduled: (TimerFired, TimerCancelled),
    calls.call_completed: (CallSent,),
    calls.completed_was_sent: (CallCompleted,),
    calls.call_reached_peer: (CallSent,),
    calls.request_was_called: (HttpRequestReceived,),
    causes.causes_form_no_circle: (EventStored,),
    causes.change_names_its_trigger: (EventStored,),
    causes.parent_resolves: (RuleEvaluated, ActionStarted, CallSent),
}
"""Kinds without which a flow has no such edge. An edge that is not named here is always looked at."""


def obligations(flow: Flow, around: Surroundings) -> list[Obligation]:
    """All obligations of a flow, held and broken."""
    return [obligation for edge in _edges_among(flow.kinds) for obligation in edge(flow, around)]


@cache
def _edges_among(kinds: frozenset[type[Envelope]]) -> tuple[Edge, ...]:
    """The edges that a flow of these kinds can have."""
    return tuple(edge for edge in EDGES if edge not in _OPENED_BY or kinds.intersection(_OPENED_BY[edge]))
