"""How far each witness can be relied on in one scenario: what a kill, a cut or a missing line takes from its word."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract.log_lines import HttpRequestCompleted, HttpRequestReceived
from harness.evidence.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Reliability:
    """``killed``: services of which a fault of ours has killed a process. ``unsure``: (service, flow) in which a
    request was not answered for good, so that its service may not know what became of its commit."""

    tap_is_whole: bool
    killed: frozenset[str]
    services_with_holes: frozenset[str]
    database_was_disturbed: bool
    unsure: frozenset[tuple[str, str]]

    def may_be_silent(self, service: str) -> bool:
        """May it have done something and not lived to log it?"""
        return service in self.killed

    def may_not_know(self, service: str, correlation_id: str | None) -> bool:
        """May it have committed something without knowing, or without living to log it? Not if it answered for good:
        what was committed is logged before. Without a flow to ask for, any of its requests may have been the one."""
        flows = self.unsure if correlation_id is None else {(service, correlation_id)} & self.unsure
        return self.database_was_disturbed or any(name == service for name, _ in flows)

    def doubted(self, service: str) -> str | None:
        """The service itself, if lines of it are missing."""
        return service if service in self.services_with_holes else None


def reliability(evidence: Evidence) -> Reliability:
    """What the evidence says of its own witnesses."""
    faults = evidence.faults
    return Reliability(
        tap_is_whole=not evidence.broker_was_killed,
        killed=frozenset(log.service for log in evidence.logs if log.killed and log.lines),
        services_with_holes=frozenset(hole.service for hole in evidence.lost_lines),
        database_was_disturbed=any("database" in fault.place or fault.place == "postgres" for fault in faults),
        unsure=_unsure(evidence),
    )


def _unsure(evidence: Evidence) -> frozenset[tuple[str, str]]:
    waiting: dict[str, tuple[str, str]] = {}
    unsure: set[tuple[str, str]] = set()
    for line in evidence.lines:
        if type(line) is HttpRequestReceived:
            waiting[line.span_id] = (line.service, line.correlation_id)
        elif type(line) is HttpRequestCompleted:
            waiting.pop(line.span_id, None)
            if line.http_status >= 500:
                unsure.add((line.service, line.correlation_id))
    return frozenset(unsure | set(waiting.values()))
