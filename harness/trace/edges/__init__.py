"""The causal edges of the contract, one function each: a flow in, obligations out.

Each function's name says which line closes which. Whoever adds an edge appends it to ``EDGES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
    calls.call_completed,
    calls.call_reached_peer,
    calls.request_was_called,
    causes.cause_resolves,
    causes.causes_form_no_circle,
    causes.change_names_its_trigger,
)


def obligations(flow: Flow, around: Surroundings) -> list[Obligation]:
    """All obligations of a flow, held and broken."""
    return [obligation for edge in EDGES for obligation in edge(flow, around)]
