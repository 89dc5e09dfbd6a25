"""What was in flight while a fault lasted, as the log tells it: the general proof that a fault hit something."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from harness.contract.log_lines import (
    CallCompleted,
    CallSent,
    EventPublished,
    EventReceived,
    EventSettled,
    EventStored,
    HttpRequestCompleted,
    HttpRequestReceived,
    Line,
)

_BEGINS: dict[type, str] = {
    HttpRequestReceived: "span_id",
    CallSent: "span_id",
    EventReceived: "delivery_id",
    EventStored: "event_id",
}
_ENDS: dict[type, str] = {
    HttpRequestCompleted: "span_id",
    CallCompleted: "span_id",
    EventSettled: "delivery_id",
    EventPublished: "event_id",
}
"""Which field joins an end to its beginning. Ids of different things never meet: a span's are not a delivery's."""


def in_flight(lines: Iterable[Line], services: Collection[str] | None, *, since: str) -> int:
    """How many requests, calls, deliveries and unsent events these services (None: all) had in hand since a moment."""
    in_hand: set[object] = set()
    touched: set[object] = set()
    theirs = [line for line in lines if services is None or line.service in services]
    for line in sorted(theirs, key=lambda line: line.ts):
        if line.ts > since and in_hand:
            touched |= in_hand
        if (begins := _BEGINS.get(type(line))) is not None:
            in_hand.add(getattr(line, begins))
        elif (ends := _ENDS.get(type(line))) is not None and _is_the_end(line):
            in_hand.discard(getattr(line, ends))
    return len(touched | in_hand)


def _is_the_end(line: Line) -> bool:
    return not isinstance(line, EventPublished) or line.status == "confirmed"
