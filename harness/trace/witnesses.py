"""What the witnesses beside the log say of one flow: clients, broker, database, sinks, and the faults meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

from harness.evidence.evidence import Evidence
from harness.evidence.records import Operation, Received, TapMessage

_PERSONAL = ("name", "email", "phone")
_TOLD = ("stage", "version", "changed", "id", "detail")


def operation_text(operation: Operation) -> str:
    """``client  move_stage lead 7…  {'stage': 'won'}  → 200 ok  version=2 changed=True``"""
    asked = " ".join(f"{name}={value}" for name, value in operation.arguments.items() if name not in _PERSONAL)
    told = " ".join(f"{name}={operation.answer[name]}" for name in _TOLD if name in operation.answer)
    whom = f"{operation.entity_type or ''} {operation.entity_id or ''}".strip()
    status = "no answer" if operation.http_status is None else operation.http_status
    text = f"{operation.action} {whom}".strip()
    return f"{'':>15}  client      {text}  {asked}  → {status} {operation.outcome}  {told}".rstrip()


def witnesses(evidence: Evidence, correlation_id: str) -> Iterator[str]:
    """One line each, the clients first and then the way of an event; in the order of time where they have one."""
    yield from (operation_text(op) for op in evidence.operations if op.correlation_id == correlation_id)
    yield from _rows(evidence, correlation_id)
    yield from (_tap_text(message) for message in evidence.tap if message.correlation_id == correlation_id)
    for message in evidence.resting:
        if message.correlation_id == correlation_id:
            reason = message.headers.get("dead_letter_reason") or ""
            yield _text("", "queue", f"{message.queue} holds {message.type} {message.message_id}  {reason}")
    arrived = [item for item in evidence.received if item.correlation_id == correlation_id]
    yield from (_received_text(item) for item in sorted(arrived, key=lambda item: item.received_at))


def faults_during(evidence: Evidence, since: str, until: str) -> Iterator[str]:
    """The faults that were active between two moments, by their beginning."""
    for fault in sorted(evidence.faults, key=lambda fault: fault.injected_at):
        if fault.injected_at <= until and fault.healed_at >= since:
            healed = fault.healed_at[11:26]
            yield _text(fault.injected_at, "fault", f"{fault.kind} on {fault.place}  until {healed}  ({fault.proof})")


def _text(ts: str, who: str, says: str) -> str:
    return f"{ts[11:26]:>15}  {who:<10}  {says}".rstrip()


def _rows(evidence: Evidence, correlation_id: str) -> Iterator[str]:
    rows = evidence.rows
    for change in rows.history:
        if change.correlation_id == correlation_id:
            moved = f"{change.from_stage} → {change.to_stage}  version {change.version}  by {change.source}"
            yield _text("", "history", f"{change.entity_type} {change.entity_id}  {moved}")
    for event in rows.outbox:
        if event.correlation_id == correlation_id:
            sent = "sent" if event.sent else "UNSENT"
            what = f"{event.event_type} {event.event_id}  version {event.entity_version}  {sent}"
            yield _text("", "outbox", f"{event.service}  {what}")
    for row in rows.processed:
        if row.correlation_id == correlation_id:
            yield _text("", "processed", f"{row.event_type} {row.event_id}")
    for execution in rows.executions:
        if execution.correlation_id == correlation_id:
            whom = f"{execution.entity_type} {execution.entity_id}"
            yield _text("", "execution", f"{execution.rule_id}  {whom}  {execution.status}")
    for alert in rows.alerts:
        if alert.correlation_id == correlation_id:
            told = "delivered" if alert.delivered else "UNDELIVERED"
            yield _text("", "alert", f"{alert.reason}  {alert.event_id}  {told}")


def _tap_text(message: TapMessage) -> str:
    where = " and ".join(message.queues) or "NO QUEUE"
    way = "published to" if message.what == "published" else "delivered from"
    again = "  redelivered" if message.redelivered else ""
    attempt = f"  attempt {message.headers['attempt']}" if "attempt" in message.headers else ""
    return _text("", "broker", f"{message.type} {message.message_id}  {way} {where}{attempt}{again}")


def _received_text(item: Received) -> str:
    about = f"rule {item.rule_id}" if item.rule_id else f"event {item.event_id}"
    return _text(item.received_at, item.kind, f"{item.place}  {about}  answered {item.status}  key {item.key}")
