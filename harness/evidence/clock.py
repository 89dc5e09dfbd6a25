"""The two clocks of the harness: wall time as the log lines write it, and one monotonic clock for operations."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


def wall_now() -> str:
    """Now, as a log line writes its ``ts``: RFC 3339 UTC with six fraction digits, so text order is time order."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def later(ts: str, seconds: float) -> str:
    """A moment after (or before) one that a log line has written."""
    return (datetime.fromisoformat(ts) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def monotonic_ns() -> int:
    """Nanoseconds of the clock that orders operations. Never compare it with wall time."""
    return time.monotonic_ns()
