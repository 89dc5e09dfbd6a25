"""The log contract ``crm.log/1.0`` as a tagged union of msgspec structs, one struct a kind.

A field without a default must be present in the JSON, so "forgotten" (an error) and "not applicable" (null) differ.
Unknown fields and unknown kinds are refused. The tag is the field ``event``.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

SCHEMA_VERSION = "crm.log/1.0"

Timestamp = Annotated[str, Meta(min_length=27, max_length=27)]
"""RFC 3339 UTC with exactly six fraction digits: text order is time order."""
Uuid = Annotated[str, Meta(min_length=36, max_length=36)]
SpanId = Annotated[str, Meta(min_length=16, max_length=16)]
Count = Annotated[int, Meta(ge=0)]
Attempt = Annotated[int, Meta(ge=1)]
Milliseconds = Annotated[float, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1)]

Service = Literal["crm", "pipeline", "automation"]
SERVICES: tuple[str, ...] = get_args(Service)
DomainService = Literal["crm", "pipeline"]
CallingService = Literal["pipeline", "automation"]
Automation = Literal["automation"]


class Envelope(Struct, forbid_unknown_fields=True, tag_field="event", eq=False, gc=False):
    """The fields of every line. Kinds narrow a field's type where the contract does."""

    ts: Timestamp
    schema: Literal["crm.log/1.0"]
    service: str
    instance: Text
    seq: Count
    level: Literal["debug", "info", "warning", "error"]
    correlation_id: Uuid | None
    event_id: Uuid | None
    causation_id: Uuid | None
    rule_id: str | None
    entity_type: Literal["lead", "deal", "user"] | None
    entity_id: Uuid | None
    status: str
    span_id: SpanId | None
    parent_span_id: SpanId | None


class InBand(Envelope):
    """A line that belongs to one flow."""

    service: Service
    correlation_id: Uuid
    span_id: SpanId


class AboutAFlow(InBand):
    """A line of a flow that no rule is concerned with."""

    rule_id: None


class HttpRequestReceived(AboutAFlow, tag="http.request.received"):
    method: Text
    route: Text
    status: Literal["accepted"]


class HttpRequestCompleted(AboutAFlow, tag="http.request.completed"):
    method: Text
    route: Text
    http_status: int
    duration_ms: Milliseconds
    status: Literal["ok", "client_error", "server_error"]


class ChangeCommitted(AboutAFlow, tag="change.committed"):
    service: DomainService
    entity_type: Literal["lead", "deal", "user"]
    entity_id: Uuid
    table: Text
    entity_version: int
    from_stage: str | None
    to_stage: str | None
    status: Literal["committed"]


class EventStored(AboutAFlow, tag="event.stored"):
    service: DomainService
    event_id: Uuid
    entity_type: Literal["lead", "deal"]
    entity_id: Uuid
    event_type: Text
    status: Literal["pending"]


class EventPublished(AboutAFlow, tag="event.published"):
    service: DomainService
    event_id: Uuid
    entity_type: Literal["lead", "deal"]
    entity_id: Uuid
    event_type: Text
    routing_key: Text
    attempt: Attempt
    confirm_ms: Milliseconds | None
    status: Literal["confirmed", "nacked", "returned", "unknown"]


class EventReceived(AboutAFlow, tag="event.received"):
    service: Automation
    queue: Text
    delivery_id: Uuid
    attempt: Attempt
    redelivered: bool
    status: Literal["received"]


class EventDeduplicated(AboutAFlow, tag="event.deduplicated"):
    service: Automation
    event_id: Uuid
    queue: Text
    delivery_id: Uuid
    status: Literal["duplicate"]


class AboutARule(InBand):
    service: Automation
    event_id: Uuid
    causation_id: Uuid
    entity_type: Literal["lead", "deal"]
    entity_id: Uuid
    rule_id: Text


class RuleEvaluated(AboutARule, tag="rule.evaluated"):
    event_type: Text
    status: Literal["matched", "not_matched", "error"]


class ActionStarted(AboutARule, tag="action.started"):
    action: Text
    execution_id: Uuid
    attempt: Attempt
    status: Literal["started"]


class ActionCompleted(AboutARule, tag="action.completed"):
    action: Text
    execution_id: Uuid
    attempt: Attempt
    duration_ms: Milliseconds
    status: Literal["succeeded", "failed", "skipped"]


class CallSent(AboutAFlow, tag="call.sent"):
    service: CallingService
    peer: Text
    method: Text
    route: Text
    attempt: Attempt
    status: Literal["sent"]


class CallCompleted(AboutAFlow, tag="call.completed"):
    service: CallingService
    peer: Text
    http_status: int | None
    duration_ms: Milliseconds
    status: Literal["ok", "client_error", "server_error", "timeout", "connection_error"]


class EventSettled(AboutAFlow, tag="event.settled"):
    service: Automation
    queue: Text
    delivery_id: Uuid
    attempt: Attempt
    duration_ms: Milliseconds
    status: Literal["acked", "retried", "requeued", "dead_lettered"]


class EventDeadLettered(AboutAFlow, tag="event.dead_lettered"):
    service: Automation
    level: Literal["error"]
    reason: Literal["exhausted", "non_retryable", "schema_invalid", "delivery_limit", "loop_guard"]
    error: str | None
    attempts: Count
    status: Literal["dead_lettered"]


class DeadLetterReplayed(AboutAFlow, tag="dead_letter.replayed"):
    service: Automation
    actor: Text
    status: Literal["replayed"]


class DeadLetterDiscarded(AboutAFlow, tag="dead_letter.discarded"):
    service: Automation
    actor: Text
    status: Literal["discarded"]


class AboutATimer(AboutARule):
    due_at: Timestamp


class TimerScheduled(AboutATimer, tag="timer.scheduled"):
    status: Literal["scheduled"]


class TimerFired(AboutATimer, tag="timer.fired"):
    status: Literal["fired"]


class TimerCancelled(AboutATimer, tag="timer.cancelled"):
    status: Literal["cancelled"]


class OutOfBand(Envelope):
    """A line about the process rather than about a flow: the correlation may be null."""

    service: Service
    rule_id: None


class ServiceStarted(OutOfBand, tag="service.started"):
    version: Text
    pid: int
    status: Literal["ok"]


class ServiceStopped(OutOfBand, tag="service.stopped"):
    version: Text
    pid: int
    status: Literal["graceful"]


class DependencyChanged(OutOfBand, tag="dependency.changed"):
    dependency: Text
    error: str | None
    status: Literal["up", "degraded", "down"]


class Histogram(Struct, frozen=True):
    count: Count
    sum: float


class MetricsSnapshot(OutOfBand, tag="metrics.snapshot"):
    counters: dict[str, int]
    histograms: dict[str, Histogram]
    status: Literal["ok"]


class LibraryMessage(OutOfBand, tag="library.message"):
    logger: Text
    message: str
    status: Literal["ok"]


Line: TypeAlias = (
    HttpRequestReceived | HttpRequestCompleted | ChangeCommitted | EventStored | EventPublished | EventReceived
    | EventDeduplicated | RuleEvaluated | ActionStarted | ActionCompleted | CallSent | CallCompleted | EventSettled
    | EventDeadLettered | DeadLetterReplayed | DeadLetterDiscarded | TimerScheduled | TimerFired | TimerCancelled
    | ServiceStarted | ServiceStopped | DependencyChanged | MetricsSnapshot | LibraryMessage
)  # fmt: skip

KINDS: tuple[type[Envelope], ...] = Line.__args__

OF_NO_FLOW = frozenset(kind for kind in KINDS if issubclass(kind, OutOfBand))

_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


class ContractViolation(Exception):
    """A line breaks the contract. ``str()`` says what was expected and what came, and at which key."""


def kind_of(line: Envelope) -> str:
    """The line's kind as it stands in the field ``event``: ``"event.published"``."""
    return kind_of_struct(type(line))


def kind_of_struct(kind: type[Envelope]) -> str:
    """The tag by which lines of a kind are known."""
    return str(kind.__struct_config__.tag)


def decode_line(raw: bytes) -> Line:
    """One line of log, without its newline. Raises ContractViolation."""
    try:
        line = _decoder.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise ContractViolation(str(error)) from None
    _check_shape(line)
    return line


def decode_block(block: bytes) -> list[Line]:
    """All lines of a block at once, which is much faster than one after the other. Blank lines are passed over.

    Raises ContractViolation without saying where: whoever wants to know asks ``decode_line`` of each. What
    ``has_half_an_entity`` and ``http_status_agrees`` tell is not asked here, for not everybody needs to look at each.
    """
    try:
        lines = _decoder.decode_lines(block)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise ContractViolation(str(error)) from None
    moments = "".join(map(_ts, lines))
    if not (moments.isascii() and moments.encode().translate(_DIGITS) == _SHAPE_OF_TS * len(lines)):
        raise ContractViolation("a ts: expected YYYY-MM-DDTHH:MM:SS.ffffffZ")
    return lines


_ts = attrgetter("ts")
_DIGITS = bytes.maketrans(b"0123456789", b"0" * 10)
_SHAPE_OF_TS = b"0000-00-00T00:00:00.000000Z"


def is_timestamp(text: str) -> bool:
    """Is it written as every ``ts`` has to be?"""
    return text.isascii() and text.encode().translate(_DIGITS) == _SHAPE_OF_TS


def has_half_an_entity(line: Envelope) -> bool:
    """Type and id of an entity go together: both or neither."""
    return (line.entity_type is None) is not (line.entity_id is None)


def _check_shape(line: Envelope) -> None:
    """What a type cannot say, without a regular expression a line (they cost more than the whole decode)."""
    if not is_timestamp(line.ts):
        raise ContractViolation(f"ts {line.ts!r}: expected YYYY-MM-DDTHH:MM:SS.ffffffZ")
    if has_half_an_entity(line):
        raise ContractViolation("entity_type and entity_id: expected both or neither")
    if isinstance(line, HttpRequestCompleted | CallCompleted) and not http_status_agrees(line):
        expected = " or ".join(_statuses_of(line.http_status))
        raise ContractViolation(f"status {line.status!r} beside http_status {line.http_status}: expected {expected}")


def http_status_agrees(line: HttpRequestCompleted | CallCompleted) -> bool:
    """Does the status of a line say the same as its ``http_status``?"""
    return line.status in _statuses_of(line.http_status)


def _statuses_of(http_status: int | None) -> tuple[str, ...]:
    if http_status is None:
        return ("timeout", "connection_error")
    return ("ok",) if http_status < 400 else ("client_error",) if http_status < 500 else ("server_error",)


def as_fields(line: Envelope) -> dict[str, Any]:
    """A line as a plain mapping, the tag included: for display."""
    fields: dict[str, Any] = msgspec.to_builtins(line)
    return fields
