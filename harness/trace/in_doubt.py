"""Requests of which their service never learned whether they were committed: the answer to the COMMIT was lost, and the
service was ended before the database could tell it.

Its client was told that nothing is known. What was committed even so is published by the next relay, and nobody is left
to log that it was stored.
"""

from __future__ import annotations

from harness.contract.log_lines import HttpRequestCompleted, HttpRequestReceived, ServiceStopped
from harness.evidence.clock import later
from harness.evidence.evidence import Evidence
from harness.evidence.records import Fault

ASKING_S = 10
"""So long it may take, once the database can be reached again, to ask it how a COMMIT went."""


def in_doubt(evidence: Evidence) -> frozenset[str]:
    """Spans of requests that were answered with a server error while a fault of ours stood between their service and
    its database, by a process that we ended before it could ask.

    A process that lives on, that ended by itself, or that had a database to ask, has no excuse.
    """
    ends = evidence.killed_instances | {line.instance: line.ts for line in evidence.of(ServiceStopped)}
    if not (ends and evidence.faults):
        return frozenset()
    received = {line.span_id: line.ts for line in evidence.of(HttpRequestReceived) if line.instance in ends}
    return frozenset(
        line.span_id
        for line in evidence.of(HttpRequestCompleted)
        if line.http_status >= 500
        and (since := received.get(line.span_id))
        and any(
            _cuts_off(fault, line.service)
            and fault.injected_at <= line.ts
            and since <= fault.healed_at
            and ends[line.instance] <= later(fault.healed_at, ASKING_S)
            for fault in evidence.faults
        )
    )


def _cuts_off(fault: Fault, service: str) -> bool:
    """May it lose what the database answers to this service? What is done to tables or rows refuses, and says so."""
    return fault.place in ("postgres", f"{service}→database")
