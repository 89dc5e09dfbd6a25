"""The lives of leads as every witness would tell of them: log lines, the broker's tap, clients, rows, and sinks."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from harness.evidence.records import (
    AlertRow,
    DealRow,
    ExecutionRow,
    ExpectedDeadLetter,
    HistoryRow,
    LeadRow,
    Operation,
    OutboxRow,
    ProcessedRow,
    Received,
    RestingMessage,
    RuleRow,
    StageRow,
    TapMessage,
)
from harness.target import Target

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
DEAL_RULE = RuleRow("lead-qualified-create-deal", "lead.stage.changed", "qualified", "create_deal", True)
TOLD_RULE = RuleRow("lead-demo-notify", "lead.stage.changed", "demo", "notify", True, {"channel": "webhook"})
LOST_RULE = RuleRow("lead-lost-notify", "lead.stage.changed", "lost", "notify", True, {"channel": "webhook"})
RULES = (DEAL_RULE, TOLD_RULE, LOST_RULE)
_MOVE, _LEAD = "/leads/{lead_id}/stage", "/leads/{lead_id}"


@dataclass
class Witnessed:
    """All that the witnesses have to tell, so far. Lines are those of one batch: whoever writes them empties it."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    tap: list[TapMessage] = field(default_factory=list)
    resting: list[RestingMessage] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    expected: list[ExpectedDeadLetter] = field(default_factory=list)
    leads: list[LeadRow] = field(default_factory=list)
    deals: list[DealRow] = field(default_factory=list)
    stages: list[StageRow] = field(default_factory=list)
    history: list[HistoryRow] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    executions: list[ExecutionRow] = field(default_factory=list)
    processed: list[ProcessedRow] = field(default_factory=list)
    alerts: list[AlertRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Event:
    """What was stored, and the span that its message carries."""

    row: OutboxRow
    body: str
    span: str


@dataclass
class Flow:
    """What all lines of one flow share, until it goes on about something else."""

    correlation_id: str
    entity: tuple[str, str] | None
    event_id: str | None = None
    causation_id: str | None = None


def ts(now_us: int) -> str:
    """A moment of the corpus, as a log line writes it."""
    return f"{(BEGAN + timedelta(microseconds=now_us)).isoformat(timespec='microseconds')[:26]}Z"


class Life:
    """One lead. ``fate``: how its webhooks go, as the number of answers that are errors before a good one."""

    def __init__(self, witnessed: Witnessed, target: Target, chance: random.Random, began_us: int, fate: int) -> None:
        self.told, self._target, self._chance = witnessed, target, chance
        self.now_us, self._fate = began_us, fate
        self.lead_id, self.stage, self.version = self._uuid(), "new", 0

    def live(self, *, duplicate: bool) -> Iterator[None]:
        """Each step is one operation."""
        self._create()
        yield
        self._move("contacted", met=False, expected=0)
        yield
        self._move("qualified", duplicate=duplicate)
        yield
        self._refused("demo", expected=0)
        yield
        self._move("demo")
        yield
        self._move("proposal")
        yield
        self._read()
        yield

    def end(self) -> None:
        """The rows that it leaves."""
        self.told.leads.append(LeadRow(self.lead_id, self._person(0)["email"], None, 1))
        if self.version:
            self.told.stages.append(StageRow("lead", self.lead_id, self.stage, self.version))

    # --- operations --------------------------------------------------------------------------------------------

    def _create(self) -> None:
        flow = Flow(self._uuid(), None)
        span = self._asked(flow, "crm", "POST", "/leads")
        flow.entity = ("lead", self.lead_id)
        event = self._committed(flow, "crm", span, "lead.created", ("lead", self.lead_id), 1, "crm.leads")
        self._answered(flow, "crm", span, "POST", "/leads", 201)
        answer = {"id": self.lead_id, "version": 1, "external_id": None, "phone": None, "owner_id": None}
        self._operation(flow, "create_lead", None, {}, 201, answer | self._person(0))
        self._handled(flow, event, self._published(flow, event, span), ())

    def _move(self, stage: str, *, met: bool = True, duplicate: bool = False, expected: int | None = None) -> None:
        flow = Flow(self._uuid(), ("lead", self.lead_id))
        span = self._asked(flow, "pipeline", "PATCH", _MOVE)
        if not met:
            self._called(flow, "pipeline", span, "crm", "GET", _LEAD)
        before, self.stage, self.version = self.stage, stage, self.version + 1
        entity = ("lead", self.lead_id)
        event = self._committed(
            flow, "pipeline", span, "lead.stage.changed", entity, self.version, "pipeline.stages", (before, stage)
        )
        self._answered(flow, "pipeline", span, "PATCH", _MOVE, 200)
        answer = {"stage": stage, "from_stage": before, "version": self.version, "changed": True}
        arguments: dict[str, Any] = {"stage": stage} | ({} if expected is None else {"expected_version": expected})
        self._operation(flow, "move_stage", self.lead_id, arguments, 200, answer)
        self.told.history.append(
            HistoryRow("lead", self.lead_id, self.version, before, stage, "manual", flow.correlation_id, None)
        )
        published = self._published(flow, event, span)
        self._handled(flow, event, published, RULES, stage)
        if duplicate:
            self._deduplicated(flow, event, published)

    def _refused(self, stage: str, *, expected: int) -> None:
        flow = Flow(self._uuid(), ("lead", self.lead_id))
        span = self._asked(flow, "pipeline", "PATCH", _MOVE)
        self._answered(flow, "pipeline", span, "PATCH", _MOVE, 409)
        answer = {"status": 409, "title": "Conflict", "current_version": self.version}
        self._operation(flow, "move_stage", self.lead_id, {"stage": stage, "expected_version": expected}, 409, answer)

    def _read(self) -> None:
        flow = Flow(self._uuid(), ("lead", self.lead_id))
        span = self._asked(flow, "crm", "GET", _LEAD)
        self._answered(flow, "crm", span, "GET", _LEAD, 200)
        answer = {"id": self.lead_id, "version": 1, "external_id": None, "phone": None, "owner_id": None}
        self._operation(flow, "read", self.lead_id, {}, 200, answer | self._person(0))

    # --- what the services write -------------------------------------------------------------------------------

    def _asked(self, flow: Flow, service: str, method: str, route: str, parent: str | None = None) -> str:
        span = self._span()
        self._line(flow, service, "http.request.received", "accepted", span, parent, method=method, route=route)
        return span

    def _answered(
        self, flow: Flow, service: str, span: str, method: str, route: str, status: int, parent: str | None = None
    ) -> None:
        word = "ok" if status < 400 else "client_error"
        self._line(
            flow, service, "http.request.completed", word, span, parent,
            method=method, route=route, http_status=status, duration_ms=self._ms(),
        )  # fmt: skip

    def _called(self, flow: Flow, service: str, parent: str, peer: str, method: str, route: str) -> None:
        """A call that only reads."""
        span = self._span()
        self._line(
            flow, service, "call.sent", "sent", span, parent, peer=peer, method=method, route=route, attempt=1
        )  # fmt: skip
        inner = self._asked(flow, peer, method, route, span)
        self._answered(flow, peer, inner, method, route, 200, span)
        self._line(
            flow, service, "call.completed", "ok", span, parent, peer=peer, http_status=200, duration_ms=self._ms()
        )

    def _committed(
        self,
        flow: Flow,
        service: str,
        span: str,
        event_type: str,
        entity: tuple[str, str],
        version: int,
        table: str,
        stages: tuple[str | None, str | None] = (None, None),
        parent: str | None = None,
    ) -> Event:
        about = Flow(flow.correlation_id, entity, self._uuid(), flow.causation_id)
        self._line(
            about, service, "change.committed", "committed", span, parent,
            table=table, entity_version=version, from_stage=stages[0], to_stage=stages[1],
        )  # fmt: skip
        self._line(about, service, "event.stored", "pending", span, parent, event_type=event_type)
        row = OutboxRow(
            service, len(self.told.outbox) + 1, str(about.event_id), event_type, *entity, version,
            flow.correlation_id, flow.causation_id, True,
        )  # fmt: skip
        self.told.outbox.append(row)
        payload = {"from_stage": stages[0], "to_stage": stages[1]} if stages[1] else {}
        body = {
            "event_id": row.event_id, "event_type": event_type, "schema_version": 1, "occurred_at": self._ts(),
            "correlation_id": row.correlation_id, "causation_id": row.causation_id, "entity_type": row.entity_type,
            "entity_id": row.entity_id, "entity_version": version, "source": service, "hop_count": 0,
            "payload": payload,
        }  # fmt: skip
        return Event(row, json.dumps(body, separators=(",", ":")), self._span())

    def _published(self, flow: Flow, event: Event, parent: str) -> dict[str, Any]:
        """Its message, as the tap shows it."""
        row = event.row
        about = Flow(flow.correlation_id, (row.entity_type, row.entity_id), row.event_id, row.causation_id)
        self._line(
            about, row.service, "event.published", "confirmed", event.span, parent,
            event_type=row.event_type, routing_key=row.event_type, attempt=1, confirm_ms=self._ms(),
        )  # fmt: skip
        headers = {"causation_id": row.causation_id, "schema_version": 1, "attempt": 1, "span_id": event.span}
        message = {
            "message_id": row.event_id, "correlation_id": row.correlation_id, "type": row.event_type,
            "app_id": row.service, "headers": headers, "body": event.body, "delivery_mode": 2,
        }  # fmt: skip
        work = self._target.broker.work_queue
        self._tapped("published", self._target.broker.exchange, row.event_type, work, message)
        self._tapped("delivered", self._target.broker.exchange, row.event_type, work, message)
        return message

    def _tapped(self, what: Any, exchange: str, key: str, queue: str, message: dict[str, Any]) -> None:
        self.told.tap.append(TapMessage(exchange=exchange, routing_key=key, what=what, queues=(queue,), **message))

    def _received(self, flow: Flow, event: Event, attempt: int) -> tuple[str, str]:
        """Span and id of the delivery."""
        span, delivery = self._span(), self._uuid()
        self._line(
            flow, "automation", "event.received", "received", span, event.span,
            queue=self._target.broker.work_queue, delivery_id=delivery, attempt=attempt, redelivered=False,
        )  # fmt: skip
        return span, delivery

    def _settled(self, flow: Flow, event: Event, span: str, delivery: str, attempt: int, status: str) -> None:
        self._line(
            flow, "automation", "event.settled", status, span, event.span, queue=self._target.broker.work_queue,
            level="info" if status == "acked" else "warning", delivery_id=delivery, attempt=attempt,
            duration_ms=self._ms(),
        )  # fmt: skip

    def _handled(
        self, flow: Flow, event: Event, message: dict[str, Any], rules: tuple[RuleRow, ...], stage: str = ""
    ) -> None:
        """Delivery after delivery, until it is acknowledged or dead."""
        row = event.row
        about = Flow(flow.correlation_id, (row.entity_type, row.entity_id), row.event_id, row.causation_id)
        execution = self._uuid()
        for attempt in range(1, self._target.broker.max_attempts + 1):
            span, delivery = self._received(about, event, attempt)
            succeeded = True
            for rule in rules:
                status = "matched" if rule.to_stage == stage else "not_matched"
                caused = Flow(about.correlation_id, about.entity, row.event_id, row.event_id)
                self._line(
                    caused, "automation", "rule.evaluated", status, self._span(), span, rule_id=rule.rule_id,
                    event_type=row.event_type,
                )  # fmt: skip
                if status == "matched":
                    succeeded = self._acted(caused, rule, span, execution, attempt)
            if succeeded:
                self._settled(about, event, span, delivery, attempt, "acked")
                self.told.processed.append(ProcessedRow(row.event_id, row.event_type, row.correlation_id))
                return
            if attempt < self._target.broker.max_attempts:
                self._settled(about, event, span, delivery, attempt, "retried")
                self._copied(message, f"automation.retry.{attempt}", attempt=attempt + 1)
                self.now_us += 50_000
        self._died(about, event, message, span, delivery)

    def _copied(self, message: dict[str, Any], queue: str, **headers: object) -> dict[str, Any]:
        copy = message | {"headers": message["headers"] | headers}
        self._tapped("published", "", queue, queue, copy)
        if "dead_letter_reason" not in headers:
            self._tapped("delivered", "", self._target.broker.work_queue, self._target.broker.work_queue, copy)
        return copy

    def _acted(self, flow: Flow, rule: RuleRow, parent: str, execution: str, attempt: int) -> bool:
        span = self._span()
        shared: dict[str, Any] = {
            "rule_id": rule.rule_id,
            "action": rule.action,
            "execution_id": execution,
            "attempt": attempt,
        }
        self._line(flow, "automation", "action.started", "started", span, parent, **shared)
        good = attempt > self._fate or rule.action == "create_deal"
        if rule.action == "create_deal":
            self._deal_created(flow, span)
        else:
            self._webhook_called(flow, span, "/hooks", execution, rule.rule_id, attempt, 200 if good else 503)
        self._line(
            flow, "automation", "action.completed", "succeeded" if good else "failed", span, parent,
            level="info" if good else "warning", **shared, duration_ms=self._ms(),
        )  # fmt: skip
        if good:
            entity_type, entity_id = flow.entity or ("", "")
            self.told.executions.append(
                ExecutionRow(
                    rule.rule_id, entity_type, entity_id, str(flow.event_id), "succeeded", attempt,
                    flow.correlation_id, execution,
                )
            )  # fmt: skip
        return good

    def _deal_created(self, flow: Flow, parent: str) -> None:
        call, deal_id = self._span(), self._uuid()
        self._line(
            flow, "automation", "call.sent", "sent", call, parent, peer="crm", method="POST", route="/deals", attempt=1
        )
        inner = Flow(flow.correlation_id, None, flow.event_id, flow.causation_id)
        span = self._asked(inner, "crm", "POST", "/deals", call)
        event = self._committed(inner, "crm", span, "deal.created", ("deal", deal_id), 1, "crm.deals", parent=call)
        self._answered(inner, "crm", span, "POST", "/deals", 201, call)
        self._line(
            flow, "automation", "call.completed", "ok", call, parent, peer="crm", http_status=201,
            duration_ms=self._ms(),
        )  # fmt: skip
        self.told.deals.append(DealRow(deal_id, self.lead_id, 1))
        self._handled(flow, event, self._published(flow, event, span), ())

    def _webhook_called(
        self, flow: Flow, parent: str, place: str, key: str, rule_id: str | None, attempt: int = 1, status: int = 200
    ) -> None:
        call = self._span()
        self._line(
            flow, "automation", "call.sent", "sent", call, parent, peer="webhook", method="POST",
            route="127.0.0.1:4711", attempt=attempt,
        )  # fmt: skip
        self._sunk(place, status, key, flow, rule_id)
        self._line(
            flow, "automation", "call.completed", "ok" if status < 400 else "server_error", call, parent,
            level="info" if status < 400 else "warning", peer="webhook", http_status=status, duration_ms=self._ms(),
        )  # fmt: skip

    def _sunk(self, place: str, status: int, key: str, flow: Flow, rule_id: str | None) -> None:
        entity_id = flow.entity[1] if flow.entity else None
        self.told.received.append(
            Received(
                kind="webhook", place=place, received_at=self._ts(), key=key, signed=True, status=status, digest=key,
                body=json.dumps({"execution_id": key, "rule_id": rule_id, "entity_id": entity_id}),
                correlation_id=flow.correlation_id, rule_id=rule_id, event_id=flow.event_id, entity_id=entity_id,
            )
        )  # fmt: skip

    def _died(self, flow: Flow, event: Event, message: dict[str, Any], span: str, delivery: str) -> None:
        most, reason = self._target.broker.max_attempts, "exhausted"
        self._line(
            flow, "automation", "event.dead_lettered", "dead_lettered", span, event.span, level="error",
            reason=reason, error="PeerTrouble: webhook: server_error 503", attempts=most,
        )  # fmt: skip
        self._settled(flow, event, span, delivery, most, "dead_lettered")
        queue = self._target.broker.dead_letter_queue
        copy = self._copied(message, queue, attempt=most, dead_letter_reason=reason)
        self.told.resting.append(RestingMessage(exchange="", routing_key=queue, queue=queue, **copy))
        alert = self._uuid()
        self._webhook_called(flow, span, self._target.alert_path, alert, None)
        self.told.alerts.append(AlertRow(alert, flow.event_id, flow.correlation_id, reason, True))
        self.told.expected.append(ExpectedDeadLetter(correlation_id=flow.correlation_id, reason=reason))

    def _deduplicated(self, flow: Flow, event: Event, message: dict[str, Any]) -> None:
        row = event.row
        about = Flow(flow.correlation_id, (row.entity_type, row.entity_id), row.event_id, row.causation_id)
        work = self._target.broker.work_queue
        self._tapped("delivered", self._target.broker.exchange, row.event_type, work, message)
        span, delivery = self._received(about, event, 1)
        self._line(
            about, "automation", "event.deduplicated", "duplicate", span, event.span, queue=work, delivery_id=delivery
        )
        self._settled(about, event, span, delivery, 1, "acked")

    # --- one record each ---------------------------------------------------------------------------------------

    def _line(
        self,
        flow: Flow,
        service: str,
        kind: str,
        status: str,
        span: str,
        parent: str | None,
        *,
        level: str = "info",
        rule_id: str | None = None,
        **more: object,
    ) -> None:
        """Instance and ``seq`` are given when it is written; the order of the fields is that of the wire."""
        entity_type, entity_id = flow.entity or (None, None)
        self.now_us += self._chance.randrange(40, 900)
        self.told.lines.append(
            {
                "ts": self._ts(), "schema": "crm.log/1.0", "service": service, "instance": "", "seq": 0,
                "level": level, "event": kind, "correlation_id": flow.correlation_id, "event_id": flow.event_id,
                "causation_id": flow.causation_id, "rule_id": rule_id, "entity_type": entity_type,
                "entity_id": entity_id, "status": status, "span_id": span, "parent_span_id": parent, **more,
            }
        )  # fmt: skip

    def _operation(
        self,
        flow: Flow,
        action: Any,
        entity_id: str | None,
        arguments: dict[str, Any],
        status: int,
        answer: dict[str, Any],
    ) -> None:
        number = len(self.told.operations)
        self.told.operations.append(
            Operation(
                operation_id=number, action=action, entity_type="lead", entity_id=entity_id,
                correlation_id=flow.correlation_id,
                arguments=arguments | self._person(0 if action == "create_lead" else number),
                invoked_ns=self.now_us * 1000 - 3_000_000, returned_ns=self.now_us * 1000,
                outcome="ok" if status < 400 else "refused", http_status=status, answer=answer,
            )
        )  # fmt: skip

    def _person(self, number: int) -> dict[str, str]:
        """Personal data that nobody else has: each operation sends its own, which makes no_leak's work the hardest."""
        return {"name": f"Ada {number} {self.lead_id[:18]}", "email": f"{number}.{self.lead_id}@example.test"}

    def _ts(self) -> str:
        return ts(self.now_us)

    def _uuid(self) -> str:
        text = f"{self._chance.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def _span(self) -> str:
        return f"{self._chance.getrandbits(64):016x}"

    def _ms(self) -> float:
        return self._chance.randrange(100, 30_000) / 1000
