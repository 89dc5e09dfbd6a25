"""The way of each event, as each witness saw it pass: stored, published, routed, delivered, received, handled.

One pass over each witness makes a journey an event; then each hop is asked for alone. An event that is nowhere in the
end was lost at the first hop that nobody saw. Nothing here is believed because the log says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.contract.log_lines import (
    ActionCompleted,
    ActionStarted,
    DeadLetterDiscarded,
    DeadLetterReplayed,
    Envelope,
    EventDeadLettered,
    EventDeduplicated,
    EventPublished,
    EventReceived,
    EventSettled,
    EventStored,
    InBand,
    RuleEvaluated,
    kind_of,
)
from harness.evidence.evidence import Evidence
from harness.evidence.records import OutboxRow, TapMessage
from harness.trace.disagreement import Disagreement
from harness.trace.reliability import Reliability
from harness.trace.render import mark

CONSUMER = "automation"


@dataclass(slots=True)
class Journey:
    """What is known of one event. Counts of ``seen``, ``delivered`` are the broker's, of ``received`` the log's."""

    event_id: str
    row: OutboxRow | None = None
    stored: EventStored | None = None
    published: EventPublished | None = None
    confirmed: bool = False
    seen: int = 0
    queues: set[str] = field(default_factory=set)
    delivered: int = 0
    received: int = 0
    last_said: str = ""
    """Of the consumer's lines about it, what the last one says became of it."""
    places: set[str] = field(default_factory=set)
    """Where it is in the end: processed, discarded, or the queues that hold it."""
    first: InBand | None = None
    """The first line about it."""
    misnamed: InBand | None = None
    """The first line about it that names another flow, entity or cause than its outbox row."""
    sender: TapMessage | None = None
    """The first message with it that the broker saw its service publish."""

    @property
    def names(self) -> str:
        named = self.row or self.stored or self.published
        return f"{named.event_type if named else 'event'} {self.event_id}"

    @property
    def service(self) -> str:
        named = self.row or self.stored or self.published
        return named.service if named else (self.sender and self.sender.app_id) or ""

    @property
    def entity(self) -> str | None:
        named = self.row or self.first
        return f"{named.entity_type} {named.entity_id}" if named and named.entity_id else None

    @property
    def correlation_id(self) -> str | None:
        named = self.row or self.first or self.sender
        return named.correlation_id if named else None


def journeys(evidence: Evidence) -> dict[str, Journey]:
    """The journeys of all events that a service made. Messages of the harness's own are nobody's to account for."""
    made = _Journeys({planted.message_id for planted in evidence.scenario.planted})
    for row in evidence.rows.outbox:
        if journey := made.of(row.event_id):
            journey.row = row
    _listen_to_log(evidence, made)
    for message in evidence.tap:
        if journey := made.of(message.message_id):
            _listen_to_broker(evidence, message, journey)
    for processed in evidence.rows.processed:
        if journey := made.of(processed.event_id):
            journey.places.add("processed")
    for resting in evidence.resting:
        if journey := made.of(resting.message_id):
            journey.places.add(resting.queue)
    return made.by_id


@dataclass(slots=True)
class _Journeys:
    planted: set[str]
    by_id: dict[str, Journey] = field(default_factory=dict)

    def of(self, event_id: str | None) -> Journey | None:
        if event_id is None or event_id in self.planted:
            return None
        journey = self.by_id.get(event_id)
        if journey is None:
            journey = self.by_id[event_id] = Journey(event_id)
        return journey


_ABOUT = frozenset({
    EventStored, EventPublished, EventReceived, EventDeduplicated, RuleEvaluated, ActionStarted, ActionCompleted,
    EventSettled, EventDeadLettered, DeadLetterReplayed, DeadLetterDiscarded,
})  # fmt: skip

_BY_ITS_CAUSE = frozenset({EventStored, EventPublished})
"""Of these lines the cause is that of the event; of what is done about an event, the event itself is the cause."""


def _listen_to_log(evidence: Evidence, made: _Journeys) -> None:
    for line in evidence.lines:
        if type(line) not in _ABOUT or (journey := made.of(line.event_id)) is None:
            continue
        if journey.first is None:
            journey.first = line  # type: ignore[assignment]  # all kinds about an event are in band
        if journey.row and journey.misnamed is None and _names_another(line, journey.row):
            journey.misnamed = line  # type: ignore[assignment]
        match line:
            case EventStored():
                journey.stored = line
            case EventPublished():
                journey.published = line
                journey.confirmed = journey.confirmed or line.status == "confirmed"
            case EventReceived():
                journey.received += 1
                journey.last_said = "received"
            case EventSettled():
                journey.last_said = line.status
            case EventDeadLettered():
                journey.last_said = "dead_lettered"
            case DeadLetterReplayed():
                journey.last_said = "replayed"
            case DeadLetterDiscarded():
                journey.places.add("discarded")


def _names_another(line: Envelope, row: OutboxRow) -> bool:
    if type(line) in _BY_ITS_CAUSE and line.causation_id != row.causation_id:
        return True
    return line.correlation_id != row.correlation_id or line.entity_id not in (None, row.entity_id)


def _listen_to_broker(evidence: Evidence, message: TapMessage, journey: Journey) -> None:
    broker = evidence.target.broker
    if message.what == "delivered":
        journey.delivered += broker.work_queue in message.queues
    elif message.exchange == broker.exchange:
        journey.seen += 1
        journey.queues.update(message.queues)
        journey.sender = journey.sender or message


# --- an event that is nowhere -----------------------------------------------------------------------------------


def where_it_stopped(journey: Journey, trust: Reliability) -> Disagreement | None:
    """The hop at which an event was lost; None if it has arrived somewhere. The last witness who saw it decides."""
    if journey.places:
        return None
    if journey.received:
        return _lost_by_consumer(journey, trust)
    doubt = trust.doubted(CONSUMER)
    if journey.delivered:
        says = "the broker delivered it to automation; automation logged nothing of it: lost in automation before"
        return _lost(journey, f"{says} event.received", CONSUMER, "automation→broker", doubt)
    if journey.queues:
        says = f"the broker put it into {' and '.join(sorted(journey.queues))}; it was delivered to nobody and no queue"
        return _lost(journey, f"{says} holds it: lost in the broker", "broker", "automation→broker", doubt)
    return _lost_on_the_way_to_the_broker(journey, trust)


def _lost_by_consumer(journey: Journey, trust: Reliability) -> Disagreement:
    nowhere = "the database has no processed row and no queue holds it"
    says, edge = {
        "acked": (f"acked; {nowhere}: lost between automation and database", "automation→database"),
        "dead_lettered": (f"dead-lettered; {nowhere}: lost between automation and broker", "automation→broker"),
        "replayed": (f"replayed; {nowhere}: lost between automation and broker", "automation→broker"),
        "retried": (f"retried; {nowhere}: lost on the ladder, between automation and broker", "automation→broker"),
        "requeued": (f"requeued; {nowhere}: lost between automation and broker", "automation→broker"),
    }.get(journey.last_said, (f"received, and no more; {nowhere}: lost in automation", "automation→broker"))
    doubt = trust.doubted(CONSUMER)
    return _lost(journey, f"automation logged that it was {says}", CONSUMER, edge, doubt)


def _lost_on_the_way_to_the_broker(journey: Journey, trust: Reliability) -> Disagreement | None:
    service, edge = journey.service, f"{journey.service}→broker"
    between = f"lost between {service} and broker"
    row = "the database has the outbox row, marked sent" if journey.row else f"{service} logged it as confirmed"
    if journey.seen:
        return _lost(journey, f"{row}; the broker saw it and had no queue for it: {between}", service, edge)
    if journey.confirmed or (journey.row and journey.row.sent):
        told = f"{row}, and {service} logged it as confirmed" if journey.confirmed and journey.row else row
        if not trust.tap_is_whole:
            says = f"{told}; nobody received it: lost in the broker, which was killed"
            return _lost(journey, says, "broker", edge, trust.doubted(CONSUMER))
        return _lost(journey, f"{told}; the broker never saw it: {between}", service, edge)
    if journey.row:
        tried = f"its last try was {journey.published.status}" if journey.published else f"{service} logged no try"
        says = f"the database has the outbox row, unsent; {tried}, and the broker never saw it: it stopped in {service}"
        return _lost(journey, says, service, edge)
    if journey.stored:
        says = f"{service} logged event.stored; the outbox has no such row, and the broker never saw it"
        return _lost(journey, f"{says}: lost between {service} and database", service, f"{service}→database")
    return None  # a try to publish what neither the outbox nor the broker knows: contradictions tell of it


def _lost(journey: Journey, says: str, service: str, edge: str, doubt: str | None = None) -> Disagreement:
    return _about(journey, says, service, edge, lost=True, in_doubt=doubt)


# --- an event that has arrived, of which witnesses contradict each other ----------------------------------------


def contradictions(journey: Journey, trust: Reliability) -> Iterator[Disagreement]:
    """What one witness says and another would have to know."""
    service = journey.service
    to_broker, to_database = f"{service}→broker", f"{service}→database"
    if not journey.seen and trust.tap_is_whole and journey.places:
        if journey.confirmed:
            yield _about(journey, f"{service} logged it as confirmed; the broker never saw it", service, to_broker)
        elif journey.row and journey.row.sent:
            yield _about(journey, "its outbox row is marked sent; the broker never saw it", service, to_broker)
    if journey.seen and journey.published is None and not trust.may_be_silent(service):
        says = f"the broker saw it; {service} logged no event.published"
        yield _about(journey, says, service, to_broker, in_doubt=trust.doubted(service))
    if journey.seen and journey.row and not journey.row.sent:
        says = f"the broker saw it {journey.seen} times; its outbox row is still unsent"
        yield _about(journey, says, service, to_database)
    if journey.stored and journey.row is None and (journey.seen or journey.places):
        yield _about(journey, f"{service} logged event.stored; the outbox has no such row", service, to_database)
    if journey.row and journey.stored is None and not trust.may_not_know(service, journey.correlation_id):
        says = f"the outbox has its row; {service} logged no event.stored"
        yield _about(journey, says, service, to_database, in_doubt=trust.doubted(service))
    if journey.misnamed:
        line = journey.misnamed
        says = f"{kind_of(line)} of {line.service} names {line.entity_type} {line.entity_id} in flow"
        says = f"{says} {line.correlation_id}, caused by {line.causation_id or 'no event'}, unlike its outbox row"
        yield _about(journey, says, line.service, f"{line.service}→database")
    if journey.first and not (journey.row or journey.stored or journey.seen):
        line = journey.first
        says = f"{kind_of(line)} of {line.service} tells of it; no outbox holds it, and the broker never saw it"
        yield _about(journey, says, line.service, f"{line.service}→broker")
    yield from _consumer_contradicted(journey, trust)


def _consumer_contradicted(journey: Journey, trust: Reliability) -> Iterator[Disagreement]:
    if journey.received > journey.delivered and trust.tap_is_whole:
        says = f"automation logged event.received {journey.received} times; the broker delivered it {journey.delivered}"
        yield _about(journey, f"{says} times", CONSUMER, "automation→broker")
    if "processed" in journey.places and not journey.received and journey.last_said != "dead_lettered":
        says = "the database has its processed row; automation logged nothing of it"
        yield _about(journey, says, CONSUMER, "automation→database", in_doubt=trust.doubted(CONSUMER))


def _about(
    journey: Journey, says: str, service: str, edge: str, *, lost: bool = False, in_doubt: str | None = None
) -> Disagreement:
    return Disagreement(
        f"{journey.names}: {says}", service, edge, journey.entity, journey.correlation_id, lost=lost, in_doubt=in_doubt,
        trace=tuple(_hops(journey, says, service)),
    )  # fmt: skip


def _hops(journey: Journey, says: str, service: str) -> Iterator[str]:
    """Hop by hop, who saw it pass."""
    row, stored, published = journey.row, journey.stored, journey.published
    yield _hop("log", f"event.stored at {stored.ts[11:26]}" if stored else "no event.stored")
    yield _hop("database", f"outbox row, {'sent' if row.sent else 'unsent'}" if row else "no outbox row")
    told = f"event.published, {'confirmed' if journey.confirmed else published.status}" if published else ""
    yield _hop("log", told or "no event.published")
    routed = f", routed to {' and '.join(sorted(journey.queues)) or 'no queue'}" if journey.seen else ""
    yield _hop("broker", f"published {journey.seen} times{routed}")
    yield _hop("broker", f"delivered {journey.delivered} times")
    yield _hop(
        "log", f"event.received {journey.received} times{f', last {journey.last_said}' * bool(journey.last_said)}"
    )
    yield _hop("end", " and ".join(sorted(journey.places)) or "neither processed, nor discarded, nor in any queue")
    yield mark(service, says)


def _hop(witness: str, says: str) -> str:
    return f"{'':>15}  {witness:<10}  {says}"
