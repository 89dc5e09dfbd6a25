"""The two clocks of the harness: wall time as the log lines write it, and one monotonic clock for operations."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache


def wall_now() -> str:
    """Now, as a log line writes its ``ts``: RFC 3339 UTC with six fraction digits, so text order is time order."""
    return _written(datetime.now(UTC))


def wall_at(seconds: float) -> str:
    """A moment that is told in seconds since 1970, as those of files are."""
    return _written(datetime.fromtimestamp(seconds, UTC))


def later(moment: str, seconds: float) -> str:
    """A moment, so many seconds later (or earlier), written in the same way."""
    return _written(datetime.fromisoformat(moment) + timedelta(seconds=seconds))


def seconds_between(earlier: str, moment: str) -> float:
    return (datetime.fromisoformat(moment) - datetime.fromisoformat(earlier)).total_seconds()


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def monotonic_ns() -> int:
    """Nanoseconds of the clock that orders operations. Never compare it with wall time."""
    return time.monotonic_ns()


def wall_of(clock: tuple[str, int], reading_ns: int) -> str:
    """What the wall clock showed at a reading of the monotonic one. ``clock``: one moment on both of them."""
    wall, at_ns = clock
    return later(wall, (reading_ns - at_ns) / 1e9)


def unix_ns(moment: str) -> int:
    """A moment as log lines write it, in nanoseconds since 1970."""
    return _second(moment[:19]) * 1_000_000_000 + int(moment[20:26]) * 1_000


@lru_cache(maxsize=4)
def _second(moment: str) -> int:
    """Lines of one second follow each other, so this is asked again and again."""
    return int(datetime.fromisoformat(f"{moment}+00:00").timestamp())
