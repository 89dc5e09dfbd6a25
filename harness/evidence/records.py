"""The records that a scenario's evidence consists of, besides log lines: each is one line or one row in a file."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Outcome = Literal["ok", "refused", "unknown"]
"""``ok``: answered 2xx. ``refused``: answered 4xx. ``unknown``: no answer or 5xx, so it may have happened or not."""


class Operation(Struct, frozen=True, kw_only=True):
    """What one client asked for and what it was told. Times are monotonic nanoseconds of the harness's one clock.

    ``session``: what one client does in one thread, one operation after the other; empty where nobody wrote it down.
    ``flow_told``: the flow that the answer's X-Correlation-Id names, empty if it has none; None where nobody looked.
    """

    operation_id: int
    action: Literal[
        "create_lead", "create_deal", "change_lead", "change_user", "move_stage", "read", "replay", "discard", "raw"
    ]
    entity_type: Literal["lead", "deal"] | None
    entity_id: str | None
    correlation_id: str
    arguments: dict[str, Any]
    invoked_ns: int
    returned_ns: int
    outcome: Outcome
    http_status: int | None
    answer: dict[str, Any]
    session: str = ""
    flow_told: str | None = None


class Planted(Struct, frozen=True, kw_only=True):
    """A message that the harness itself put on the wire. ``expect``: processed, or the reason of its dead letter."""

    message_id: str
    correlation_id: str
    expect: Literal["processed", "exhausted", "non_retryable", "schema_invalid", "delivery_limit", "loop_guard"]
    why: str


PLANTED = "planted "
"""So begins the kind of a fault that is nothing but a message of ours. It excuses nobody: messages break nothing."""
OVERLOAD = "overload"
"""So is called what clients of ours do who, on purpose, ask more than can be done, and what others do who fill the
machine: reason enough to be refused for now (503), and no reason for an error that nobody has thought of (500)."""
MACHINE = "machine"
"""The place of an overload that is not ours: others filled it."""
OURS = "gauntlet"
"""The application that messages of ours name as their sender."""


class ExpectedDeadLetter(Struct, frozen=True, kw_only=True):
    """A scenario announces that the event of this correlation will be dead-lettered by a fault of its own making."""

    correlation_id: str
    reason: str


class Fault(Struct, frozen=True, kw_only=True):
    """A fault from effect to undo, with the proof that it hit something. With 0 ``hits`` it proves nothing: a scenario
    that aimed it knows less than it should, unless it was ``drawn`` and nobody aimed it."""

    kind: str
    place: str
    injected_at: str
    healed_at: str
    hits: int
    proof: str
    effective_at: str = ""
    """When its effect was there: what shows it is proven only from here on."""
    healing_at: str = ""
    """When its undoing began, which may take effect before ``healed_at``."""
    drawn: bool = False

    @property
    def repeats(self) -> bool:
        """Something passed twice where it should have passed once."""
        return self.kind.startswith("duplicate")


class HealthProbe(Struct, frozen=True, kw_only=True):
    """One question whether a service is ready, and the answer. ``process``: which of its processes was asked.

    ``consumers``: of the queues that the service consumes, the fewest consumers that the broker knew of right before;
    None where nobody looked.
    """

    service: str
    process: str
    asked_at: str
    answered_at: str
    ready: bool
    consumers: int | None = None


class ScenarioRecord(Struct, frozen=True, kw_only=True):
    """What a scenario was and which part of its stack's log belongs to it: ``since < ts <= until``."""

    name: str
    stack: str
    target: str
    seed: int
    since: str
    until: str
    planted: tuple[Planted, ...] = ()
    expected_dead_letters: tuple[ExpectedDeadLetter, ...] = ()
    personal: tuple[str, ...] = ()
    """Personal data that were sent otherwise than as an operation's arguments."""
    quiet: bool = True
    awaited: tuple[str, ...] = ()
    error: str | None = None
    format: int = 1
    """Which evidence there has to be: 1 (the oldest runs) had neither ``health.ndjson`` nor ``schema.json``, and 2 no
    ``topology.json``."""
    clock: tuple[str, int] | None = None
    """One moment on both clocks, wall and monotonic, so that operations and lines can be compared."""
    again: str | None = None
    """The command that does it once more, for what is no scenario of a gate."""
    began: str = ""
    """When its stack was up and it could begin (older runs do not tell)."""
    shared: bool = False
    """Others used the system as well: its evidence is what was ours (see ``harness.evidence.ours``)."""
    lacks: tuple[str, ...] = ()
    """Witnesses that this system does not have: what needs them is not asked."""


class Message(Struct, frozen=True, kw_only=True):
    """One message as the broker saw it. ``body`` is text; bytes that are no UTF-8 are escaped."""

    exchange: str
    routing_key: str
    message_id: str | None
    correlation_id: str | None
    type: str | None
    app_id: str | None
    headers: dict[str, Any]
    body: str
    delivery_mode: int | None = None
    expiration: str | None = None
    """When it may be thrown away, if nobody has taken it by then."""


class TapMessage(Message, frozen=True, kw_only=True):
    """A copy from the broker's firehose: a publish with the queues it was routed to, or a delivery from one queue."""

    what: Literal["published", "delivered"]
    queues: tuple[str, ...]
    redelivered: bool = False


class RestingMessage(Message, frozen=True, kw_only=True):
    """A message that lay in a queue when the scenario had ended."""

    queue: str


class Received(Struct, frozen=True, kw_only=True):
    """What came to one of the sinks, and how that answered. ``key``: Idempotency-Key, or Message-ID of a mail."""

    kind: Literal["webhook", "mail"]
    place: str
    received_at: str
    key: str | None
    signed: bool | None
    status: int
    digest: str
    body: str
    correlation_id: str | None
    rule_id: str | None = None
    event_id: str | None = None
    entity_id: str | None = None

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


class LeadRow(Struct, frozen=True):
    id: str
    email: str
    external_id: str | None
    version: int
    owner_id: str | None = None


class DealRow(Struct, frozen=True):
    id: str
    lead_id: str
    version: int


class StageRow(Struct, frozen=True):
    entity_type: str
    entity_id: str
    stage: str
    version: int


class HistoryRow(Struct, frozen=True):
    entity_type: str
    entity_id: str
    version: int
    from_stage: str
    to_stage: str
    source: str
    correlation_id: str
    causation_id: str | None


class OutboxRow(Struct, frozen=True):
    service: str
    id: int
    event_id: str
    event_type: str
    entity_type: str
    entity_id: str
    entity_version: int
    correlation_id: str
    causation_id: str | None
    sent: bool


class RuleRow(Struct, frozen=True):
    rule_id: str
    event_type: str
    to_stage: str | None
    action: str
    enabled: bool
    parameters: dict[str, Any] = {}


class ExecutionRow(Struct, frozen=True):
    rule_id: str
    entity_type: str
    entity_id: str
    trigger_event_id: str
    status: str
    attempts: int
    correlation_id: str
    id: str = ""


class ProcessedRow(Struct, frozen=True):
    event_id: str
    event_type: str
    correlation_id: str


class AlertRow(Struct, frozen=True):
    alert_id: str
    event_id: str | None
    correlation_id: str
    reason: str
    delivered: bool


class Rows(Struct, frozen=True):
    """The database at the end of a scenario, in one snapshot."""

    leads: tuple[LeadRow, ...] = ()
    deals: tuple[DealRow, ...] = ()
    stages: tuple[StageRow, ...] = ()
    history: tuple[HistoryRow, ...] = ()
    outbox: tuple[OutboxRow, ...] = ()
    rules: tuple[RuleRow, ...] = ()
    executions: tuple[ExecutionRow, ...] = ()
    processed: tuple[ProcessedRow, ...] = ()
    alerts: tuple[AlertRow, ...] = ()


class ColumnRow(Struct, frozen=True):
    """``type`` as PostgreSQL writes it out: ``timestamp with time zone``."""

    table: str
    column: str
    type: str


class UniqueRow(Struct, frozen=True):
    """A valid unique index (with or without a constraint) that covers every row, by its columns or expressions."""

    table: str
    keys: tuple[str, ...]


class Schema(Struct, frozen=True):
    """What the database itself knows of its tables, whatever any model of them says."""

    columns: tuple[ColumnRow, ...] = ()
    unique: tuple[UniqueRow, ...] = ()


class QueueRow(Struct, frozen=True):
    """``arguments``: those in force, whether the queue was declared with them or a policy gives them; no ``x-``.

    ``passing``: it goes with its connection or with its last consumer.
    """

    name: str
    durable: bool
    passing: bool
    arguments: dict[str, Any]


class ExchangeRow(Struct, frozen=True):
    name: str
    durable: bool


class BindingRow(Struct, frozen=True):
    exchange: str
    routing_key: str
    queue: str


class ConsumerRow(Struct, frozen=True):
    """``prefetch``: so much it is sent before it has settled any; 0 is no limit."""

    queue: str
    tag: str
    acknowledges: bool
    prefetch: int


class Topology(Struct, frozen=True):
    """What the broker itself knows of its queues, how they are reached, and who takes from them."""

    queues: tuple[QueueRow, ...] = ()
    exchanges: tuple[ExchangeRow, ...] = ()
    bindings: tuple[BindingRow, ...] = ()
    consumers: tuple[ConsumerRow, ...] = ()


How = Literal["running", "stopped", "forced", "killed", "crashed"]
"""``stopped``: asked to end, and did. ``forced``: asked to end, and did not, so it was ended. ``killed``: by a fault of
ours, which explains what it left undone. ``crashed``: ended by itself, which explains nothing."""


class ProcessStart(Struct, frozen=True, kw_only=True):
    """One start of a service, the file that holds what it wrote, and how it ended."""

    service: str
    file: str
    how: How = "running"
    started_at: str = ""
    ended_at: str | None = None
    skew_s: float = 0.0
    """So much its wall clock was fast: the timestamps of its lines are corrected by it when they are read."""
    exit_code: int | None = None
    """With which it ended, negative for a signal; None for one whose end we have only been told of."""
    first_seq: int = 0
    """The number of the first line that the file has to hold."""

    @property
    def fell_dead(self) -> bool:
        """It was asked to end, and did not end of its own will, but of the asking."""
        return self.how == "stopped" and bool(self.exit_code)
