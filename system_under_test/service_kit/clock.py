"""Time as this system writes it, and the two ways in which it waits."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """UTC with exactly six fraction digits, so that text order is time order."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def now() -> str:
    return rfc3339(datetime.now(UTC))


async def pause(seconds: float, *, unless: asyncio.Event) -> None:
    """Wait, but no longer than until the event is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await unless.wait()


class Backoff:
    """Exponential with full jitter: many clients of one broken server must not come back in step."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._failures = 0

    def next_s(self) -> float:
        ceiling_s = min(self._most_s, self._first_s * 2 ** min(self._failures, 16))
        self._failures += 1
        return random.uniform(0, ceiling_s)

    def reset(self) -> None:
        self._failures = 0
