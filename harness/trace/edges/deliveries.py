"""From the broker to the acknowledgement, by way of retries, redeliveries, dead letters and replays."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

from harness.contract.log_lines import (
    DeadLetterReplayed,
    EventDeadLettered,
    EventDeduplicated,
    EventPublished,
    EventReceived,
    EventSettled,
    EventStored,
)
from harness.evidence.log_files import BEGINNING
from harness.trace.flow import Flow, Surroundings
from harness.trace.kills import HANDLING_S, kills_in
from harness.trace.obligations import Obligation, State, at_least_one, exactly_one, tally

RECEIVED = "published → received"
SETTLED = "received → settled"
HANDLED = "received → handled once"


def published_received(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    """What the broker itself gave up on was received too, by whoever never settled it."""
    buried = (line for line in flow.of(EventDeadLettered) if line.reason == "delivery_limit")
    received = tally(line.event_id for line in (*flow.of(EventReceived), *buried))
    first_confirms = {line.event_id: line for line in reversed(flow.of(EventPublished)) if line.status == "confirmed"}
    for event_id, line in first_confirms.items():
        yield Obligation(RECEIVED, line, at_least_one(received[event_id]), "event.received", "automation")


def received_was_published(flow: Flow, around: Surroundings) -> Iterator[Obligation]:
    """A message may be received before its confirm is logged, or although its confirm was lost: any attempt will do."""
    if flow.correlation_id in around.planted_correlations:
        return
    sent = {line.event_id for line in flow.of(EventPublished)} | {line.event_id for line in flow.of(EventStored)}
    for line in flow.of(EventReceived):
        if line.event_id not in sent and line.event_id not in around.planted_events:
            yield Obligation(RECEIVED, line, "orphan", "event.published", "pipeline")


def received_settled(flow: Flow, around: Surroundings) -> Iterator[Obligation]:
    """Killed in hand, a delivery comes again: that redelivery closes it."""
    settled = tally(line.delivery_id for line in flow.of(EventSettled))
    received = flow.of(EventReceived)
    last, kills = {line.event_id: line.ts for line in received}, kills_in(flow, around)
    for line in received:
        count = settled[line.delivery_id]
        if count == 0 and kills.explain(line, within_s=HANDLING_S):
            again = last[line.event_id] > line.ts
            missing = "event.received: a redelivery, for its instance was killed"
            yield Obligation(SETTLED, line, "excused" if again else "open", missing, line.service)
        else:
            yield Obligation(SETTLED, line, exactly_one(count), "event.settled", line.service)


def settled_was_received(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    deliveries = {line.delivery_id for line in flow.of(EventReceived)}
    for line in flow.of(EventSettled):
        if line.delivery_id not in deliveries:
            yield Obligation(SETTLED, line, "orphan", "event.received", line.service)


def handled_once(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    """One delivery of an event is handled for good; every other one is recognised as its duplicate.

    An event that dies later, of what its timer had to do, is not done with after all: its replay is handled anew.
    """
    duplicates = {line.delivery_id for line in flow.of(EventDeduplicated)}
    handled: set[str | None] = set()
    for line in flow.lines if flow.of(EventDeadLettered) else flow.of(EventSettled):
        if isinstance(line, EventDeadLettered):
            handled.discard(line.event_id)
        if not isinstance(line, EventSettled):
            continue
        if line.status == "acked" and line.delivery_id not in duplicates:
            if line.event_id in handled:
                missing = "event.deduplicated: another delivery of this event was handled already"
                yield Obligation(HANDLED, line, "orphan", missing, line.service)
            handled.add(line.event_id)


def duplicate_has_original(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    duplicates = {line.delivery_id for line in flow.of(EventDeduplicated)}
    originals = {line.event_id for line in flow.of(EventReceived) if line.delivery_id not in duplicates}
    for line in flow.of(EventDeduplicated):
        if line.event_id not in originals:
            missing = "event.received: an earlier delivery that was handled"
            yield Obligation(HANDLED, line, "orphan", missing, line.service)


def retried_again(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    received = tally((line.event_id, line.attempt) for line in flow.of(EventReceived))
    for line in flow.of(EventSettled):
        if line.status == "retried":
            state = at_least_one(received[line.event_id, line.attempt + 1])
            missing = f"event.received with attempt {line.attempt + 1}"
            yield Obligation("retried → received again", line, state, missing, line.service)


def requeued_again(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    """A channel that is lost gives back what it had at once: the next one may have it before the first one knows."""
    received = flow.of(EventReceived)
    last = {line.event_id: line.ts for line in received}
    last_again = {line.event_id: line.ts for line in received if line.redelivered}
    began = {line.delivery_id: line.ts for line in received}
    for line in flow.of(EventSettled):
        if line.status == "requeued":
            came_after = last.get(line.event_id, BEGINNING) > line.ts
            came_again = last_again.get(line.event_id, BEGINNING) > began.get(line.delivery_id, line.ts)
            state: State = "closed" if came_after or came_again else "open"
            yield Obligation("requeued → received again", line, state, "event.received", line.service)


def dead_lettered_alert(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    """Each delivery that is settled as dead-lettered has raised an alert of its own."""
    alerts = tally(line.event_id for line in flow.of(EventDeadLettered))
    for line in flow.of(EventSettled):
        if line.status == "dead_lettered":
            alerts[line.event_id] -= 1
            state: State = "closed" if alerts[line.event_id] >= 0 else "orphan"
            yield Obligation("dead-lettered → alert", line, state, "event.dead_lettered", line.service)


def replayed_received(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    """A replayed event starts over at attempt 1. Its copy may be received before the replay has logged its line."""
    last = {line.event_id: line.ts for line in flow.of(EventReceived) if line.attempt == 1}
    deaths: dict[str | None, list[str]] = defaultdict(list)
    for death in flow.of(EventDeadLettered):
        deaths[death.event_id].append(death.ts)
    for line in flow.of(DeadLetterReplayed):
        died = deaths[line.event_id]
        before = bisect_left(died, line.ts)
        since = died[before - 1] if before else BEGINNING
        state: State = "closed" if last.get(line.event_id, BEGINNING) > since else "open"
        yield Obligation("replayed → received", line, state, "event.received with attempt 1", line.service)
