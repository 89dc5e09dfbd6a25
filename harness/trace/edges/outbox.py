"""From a committed change to a confirmed publish."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contract.log_lines import (
    ChangeCommitted,
    EventPublished,
    EventStored,
    HttpRequestCompleted,
    HttpRequestReceived,
)
from harness.trace.flow import Flow, Surroundings
from harness.trace.kills import kills_in
from harness.trace.obligations import Obligation, State, at_least_one, exactly_one, tally

STORED = "change → event stored"
PUBLISHED = "stored → published"


def change_stored_event(flow: Flow, around: Surroundings) -> Iterator[Obligation]:
    """The two are told of in one step, so that a kill can only come between them at the very end of a log."""
    stored, kills = tally((line.span_id, line.entity_id) for line in flow.of(EventStored)), kills_in(flow, around)
    for line in flow.of(ChangeCommitted):
        if line.entity_type == "user":
            continue  # nobody subscribes to users: they have no event
        state = exactly_one(stored[line.span_id, line.entity_id], excused=kills.explain_next(line))
        yield Obligation(STORED, line, state, "event.stored", line.service)


def stored_by_change(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    changed = {(line.span_id, line.entity_id) for line in flow.of(ChangeCommitted)}
    for line in flow.of(EventStored):
        if (line.span_id, line.entity_id) not in changed:
            yield Obligation(STORED, line, "orphan", "change.committed", line.service)


def stored_published(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    """A kill excuses nothing here: the row outlives the process, and the next relay publishes it."""
    confirmed = tally(line.event_id for line in flow.of(EventPublished) if line.status == "confirmed")
    for line in flow.of(EventStored):
        state = at_least_one(confirmed[line.event_id])
        yield Obligation(PUBLISHED, line, state, "event.published, confirmed", line.service)


def published_was_stored(flow: Flow, around: Surroundings) -> Iterator[Obligation]:
    """Killed between the commit and its line, a service leaves an event that was stored but never logged so: then the
    request that the event came of was never completed either, or its service never learned how the COMMIT went."""
    stored = {line.event_id for line in flow.of(EventStored)}
    for line in flow.of(EventPublished):
        if line.event_id not in stored and line.event_id not in around.planted_events:
            state: State = "excused" if line.parent_span_id in _could_not_tell(flow, around) else "orphan"
            yield Obligation(PUBLISHED, line, state, "event.stored", line.service)


def _could_not_tell(flow: Flow, around: Surroundings) -> set[str | None]:
    """Spans of requests that were ended, for all that is known, before they could tell of what they had committed."""
    kills = kills_in(flow, around)
    completed = {line.span_id for line in flow.of(HttpRequestCompleted)}
    told = {line.span_id for line in flow.of(ChangeCommitted) if not kills.explain_next(line)}
    return {
        line.span_id
        for line in flow.of(HttpRequestReceived)
        if line.span_id not in told
        and (line.span_id in around.in_doubt if line.span_id in completed else kills.explain_request(line))
    }


def attempts_are_gapless(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    """A relay counts its tries to publish an event: an attempt without the one before it was not the next."""
    tried = {(line.instance, line.event_id, line.attempt) for line in flow.of(EventPublished)}
    for line in flow.of(EventPublished):
        if line.attempt > 1 and (line.instance, line.event_id, line.attempt - 1) not in tried:
            missing = f"event.published, attempt {line.attempt - 1}"
            yield Obligation(PUBLISHED, line, "orphan", missing, line.service)
