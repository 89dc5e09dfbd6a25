"""Requests of which their service never learned whether they were committed: the answer to the COMMIT was lost, and the
service was ended before the database could tell it.

Its client was told that nothing is known. What was committed even so is published by the next relay, and nobody is left
to log that it was stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.contract.log_lines import HttpRequestCompleted, HttpRequestReceived, Line, ServiceStopped
from harness.evidence.clock import later
from harness.evidence.records import Fault

ASKING_S = 10
"""So long it may take, once the database can be reached again, to ask it how a COMMIT went."""


def in_doubt(lines: Iterable[Line], killed_instances: Mapping[str, str], faults: Iterable[Fault]) -> frozenset[str]:
    """Spans of requests that were answered with a server error while a fault of ours stood between their service and
    its database, by a process that we ended before it could ask.

    A process that lives on, that ended by itself, or that had a database to ask, has no excuse.
    """
    if not (cuts := [fault for fault in faults if _cuts_off_a_database(fault)]):
        return frozenset()
    ends, received, failed = dict(killed_instances), dict[str, str](), list[HttpRequestCompleted]()
    for line in lines:
        if isinstance(line, ServiceStopped):
            ends[line.instance] = line.ts
        elif isinstance(line, HttpRequestReceived):
            received[line.span_id] = line.ts
        elif isinstance(line, HttpRequestCompleted) and line.http_status >= 500:
            failed.append(line)
    return frozenset(
        line.span_id
        for line in failed
        if (end := ends.get(line.instance))
        and (since := received.get(line.span_id))
        and any(
            _is_between(fault, line.service)
            and fault.injected_at <= line.ts
            and since <= fault.healed_at
            and end <= later(fault.healed_at, ASKING_S)
            for fault in cuts
        )
    )


def _cuts_off_a_database(fault: Fault) -> bool:
    """May it lose what the database answers? What is done to tables or rows refuses, and says so."""
    return fault.place == "postgres" or fault.place.endswith("→database")


def _is_between(fault: Fault, service: str) -> bool:
    return fault.place in ("postgres", f"{service}→database")
