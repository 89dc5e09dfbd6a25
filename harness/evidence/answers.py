"""When clients had their answers, on the clock of the log: operations have one of their own, which tells how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from harness.contract.log_lines import HttpRequestReceived
from harness.evidence.evidence import Evidence

_ZERO = datetime(1970, 1, 1, tzinfo=UTC)


def answered_at(evidence: Evidence) -> dict[str, str]:
    """Correlation id → a moment by which its client had been answered.

    No request is received before it was sent: the one that took the least time shows how far the clocks are apart.
    """
    received = {
        line.correlation_id: _us(line.ts) for line in evidence.of(HttpRequestReceived) if line.parent_span_id is None
    }
    asked = [operation for operation in evidence.operations if operation.correlation_id in received]
    apart = min((received[operation.correlation_id] - operation.invoked_ns // 1000 for operation in asked), default=0)
    return {
        operation.correlation_id: _ts(operation.returned_ns // 1000 + apart)
        for operation in asked
        if operation.http_status is not None
    }


def _us(ts: str) -> int:
    return (datetime.fromisoformat(ts) - _ZERO) // timedelta(microseconds=1)


def _ts(us: int) -> str:
    return (_ZERO + timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
