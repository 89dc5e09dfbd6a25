"""What becomes of a delivery, and the copies that carry it on.

A copy keeps every id and header, so that its next life joins the first; it is confirmed before the original
is acknowledged, so that there are two rather than none.
"""

from __future__ import annotations

import copy
import traceback
from dataclasses import dataclass
from typing import Any

from system_under_test.automation.delivery import Letter, Unreadable
from system_under_test.automation.reasons import Reason
from system_under_test.automation.topology import DEAD_LETTERS, EVENTS, retry_queue
from system_under_test.service_kit import correlation, logs
from system_under_test.service_kit.calls import PeerTrouble
from system_under_test.service_kit.database import UNAVAILABLE
from system_under_test.service_kit.publisher import Message
from system_under_test.service_kit.settings import Profile

_DEAD_LETTER_HEADER = "dead_letter_"
_BROKERS_OWN_HEADER = "x-"
_ROUTING_HEADERS = ("CC", "BCC")
_DEEPEST_FRAMES = 5


class NonRetryable(Exception):
    """It would fail again in the same way."""


class TooManyHops(Exception):
    """Events that cause each other in a circle."""


class DeliveredTooOften(Exception):
    """Whoever took it died of it, or never came to an end."""


class LeaseLost(Exception):
    """Somebody took the execution over while we worked on it; how it went is to be looked up."""


_PASSING = (PeerTrouble, TimeoutError, LeaseLost, *UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Done:
    pass


@dataclass(frozen=True, slots=True)
class GiveBack:
    pass


@dataclass(frozen=True, slots=True)
class Retry:
    rung: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    reason: Reason
    error: Exception


Verdict = Done | GiveBack | Retry | DeadLetter


def verdict_on(error: Exception, attempt: int, profile: Profile) -> Verdict:
    if isinstance(error, _PASSING):
        if attempt >= profile.max_attempts:
            return DeadLetter("exhausted", error)
        return Retry(rung=_rung(attempt, getattr(error, "retry_after_s", None) or 0, profile))
    if isinstance(error, Unreadable):
        return DeadLetter("schema_invalid", error)
    if isinstance(error, TooManyHops):
        return DeadLetter("loop_guard", error)
    return DeadLetter("non_retryable", error)


def _rung(attempt: int, asked_s: float, profile: Profile) -> int:
    """The ladder's next rung, or the first that is as long as we were asked to wait, or the longest."""
    delays_ms = profile.retry_delays_ms
    patient = (
        rung for rung, delay_ms in enumerate(delays_ms, start=1) if rung >= attempt and delay_ms >= asked_s * 1e3
    )
    return next(patient, len(delays_ms))


def retry_copy(letter: Letter, retry: Retry) -> Message:
    properties = _copy(letter.properties)
    properties.headers["attempt"] = letter.attempt + 1
    return Message("", retry_queue(retry.rung), letter.body, properties)


def dead_letter_copy(letter: Letter, verdict: DeadLetter) -> Message:
    properties = _copy(letter.properties)
    properties.headers.update(
        attempt=letter.attempt,
        dead_letter_reason=verdict.reason,
        dead_letter_error_class=type(verdict.error).__name__,
        dead_letter_error=logs.describe(verdict.error),
        dead_letter_stack=_short_stack(verdict.error),
    )
    return Message("", DEAD_LETTERS, letter.body, properties)


def replay_copy(letter: Letter) -> Message:
    """As if it came for the first time, but with the ids that it always had."""
    fresh = _copy(letter.properties)
    fresh.headers = {
        name: value
        for name, value in fresh.headers.items()
        if not name.startswith((_DEAD_LETTER_HEADER, _BROKERS_OWN_HEADER))
    }
    fresh.headers.update(attempt=1, replays=letter.replays + 1)
    return Message("", EVENTS, letter.body, fresh)


def _copy(properties: Any) -> Any:
    """All of it, but for what would let the copy expire, go elsewhere too, or be refused."""
    fresh = copy.copy(properties)
    fresh.headers = {k: v for k, v in (properties.headers or {}).items() if k not in _ROUTING_HEADERS}
    fresh.expiration = fresh.user_id = None
    fresh.delivery_mode = 2
    context = correlation.current()
    fresh.message_id = properties.message_id or context.event_id
    fresh.correlation_id = properties.correlation_id or context.correlation_id
    return fresh


def _short_stack(error: Exception) -> str:
    """Places only: source lines and values may hold what nobody should read in a queue."""
    frames = traceback.extract_tb(error.__traceback__)[-_DEEPEST_FRAMES:]
    return " < ".join(
        f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in reversed(frames)
    )
