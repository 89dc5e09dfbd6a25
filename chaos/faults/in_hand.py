"""What a process had in hand when it was hit, and who asked it in vain while it was gone: by the log, afterwards.

Of a server it is the connections through the edges that lead to it, right before it is hit.
"""

from __future__ import annotations

from chaos.faults.site import FaultSite
from harness.contract.log_lines import (
    CallCompleted,
    CallSent,
    EventPublished,
    EventReceived,
    EventSettled,
    HttpRequestCompleted,
    HttpRequestReceived,
    InBand,
    Line,
)
from harness.environment import postgres, rabbitmq

_DEPENDENCY = {postgres.NAME: "database", rabbitmq.NAME: "broker"}

Counted = tuple[int, str]
"""Hits and their proof."""


def connections_to(site: FaultSite, server: str) -> Counted:
    """Right now. Nothing for what is no server."""
    edges = [edge for edge in site.target.edges if edge.endswith(f"→{_DEPENDENCY.get(server, server)}")]
    count = sum(site.proxy.connections_on(edge) for edge in edges) if server in _DEPENDENCY else 0
    return count, f"services had {count} connections to {server}"


def in_hand(site: FaultSite, service: str, *, at: str) -> Counted:
    """Requests, deliveries and calls that a service had begun and not ended at this moment."""
    lines = [line for line in site.log() if line.service == service and line.ts <= at]
    ended = {_key(line) for line in _ended(lines)}
    count = sum(_key(line) not in ended for line in _begun(lines))
    return count, f"{service} had {count} requests, deliveries and calls in hand"


def in_vain(site: FaultSite, service: str, *, since: str) -> Counted:
    """Calls of others to it that failed since a moment, and for a consumer, events published and not received yet."""
    lines = [line for line in site.log() if line.ts > since]
    calls = sum(isinstance(line, CallCompleted) and line.peer == service and line.http_status is None for line in lines)
    received = {line.event_id for line in lines if isinstance(line, EventReceived)}
    published = {line.event_id for line in lines if isinstance(line, EventPublished) and line.status == "confirmed"}
    waiting = len(published - received) if service == "automation" else 0
    return calls + waiting, f"meanwhile {calls} calls to {service} were in vain, and {waiting} events waited for it"


def _begun(lines: list[Line]) -> list[InBand]:
    return [line for line in lines if isinstance(line, HttpRequestReceived | EventReceived | CallSent)]


def _ended(lines: list[Line]) -> list[InBand]:
    return [line for line in lines if isinstance(line, HttpRequestCompleted | EventSettled | CallCompleted)]


def _key(line: InBand) -> str:
    return line.delivery_id if isinstance(line, EventReceived | EventSettled) else line.span_id
