"""Who feels that a process is gone: whoever has a connection to a server, whoever asks a service in vain."""

from __future__ import annotations

from chaos.faults.site import FaultSite
from harness.contract.log_lines import CallCompleted, EventPublished, EventReceived
from harness.environment import postgres, rabbitmq

_DEPENDENCY = {postgres.NAME: "database", rabbitmq.NAME: "broker"}

Counted = tuple[int, str]
"""Hits and their proof."""


def connections_to(site: FaultSite, server: str) -> Counted:
    """Through the edges that lead to it, right now. None for what is no server."""
    edges = [edge for edge in site.target.edges if edge.endswith(f"→{_DEPENDENCY.get(server, server)}")]
    count = sum(site.proxy.connections_on(edge) for edge in edges) if server in _DEPENDENCY else 0
    return count, f"services had {count} connections to {server}"


def in_vain(site: FaultSite, service: str, *, since: str) -> Counted:
    """Calls of others to it that failed since a moment, and for a consumer, events published and not received yet."""
    lines = [line for line in site.log() if line.ts > since]
    calls = sum(isinstance(line, CallCompleted) and line.peer == service and line.http_status is None for line in lines)
    received = {line.event_id for line in lines if isinstance(line, EventReceived)}
    published = {line.event_id for line in lines if isinstance(line, EventPublished) and line.status == "confirmed"}
    waiting = len(published - received) if service == "automation" else 0
    return calls + waiting, f"meanwhile {calls} calls to {service} were in vain, and {waiting} events waited for it"
