"""Calls to another service: a time limit on each, a line before and after, one exception for what may pass.

A call is never repeated here: whether a POST that timed out was carried out is for the caller to find out.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

import httpx
import msgspec

from system_under_test.service_kit import correlation, health, logs, metrics
from system_under_test.service_kit.health import Dependency, Reading
from system_under_test.service_kit.settings import Settings

_PASSING_REFUSALS = frozenset({408, 425, 429})


@cache
def tls() -> ssl.SSLContext:
    """One for all clients: each would read the authorities' certificates anew, which takes longer than all the rest."""
    return httpx.create_ssl_context()


# AttributeError: where a connection is closed while it is being made, the client looks at a socket that is gone.
_NO_ANSWER = (httpx.HTTPError, OSError, AttributeError)


class PeerTrouble(Exception):
    """The peer did not answer, or answered that now is a bad time. Later the same call may succeed."""

    def __init__(self, peer: str, what: str, *, may_be_down: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(f"{peer}: {what}")
        self.peer, self.may_be_down, self.retry_after_s = peer, may_be_down, retry_after_s


@dataclass(slots=True)
class Answer:
    """How a call ended. Of mail, `http_status` is the server's reply code."""

    peer: str
    status: str = "connection_error"
    http_status: int | None = None
    retry_after: str = ""
    date: str = ""

    def or_trouble(self) -> int:
        """The status. Raises PeerTrouble for silence, 5xx and refusals that pass."""
        passing = self.http_status in _PASSING_REFUSALS
        if self.http_status is not None and self.http_status < 500 and not passing:
            return self.http_status
        raise PeerTrouble(
            self.peer,
            f"{self.status} {self.http_status or ''}".strip(),
            may_be_down=not passing,
            retry_after_s=_seconds_until(self.retry_after, self.date),
        )


@contextmanager
def observed(peer: str, method: str, route: str, *, attempt: int) -> Iterator[Answer]:
    """The two lines around a call. What the network does to it ends up in the answer."""
    answer = Answer(peer)
    with correlation.using(correlation.current().child()):
        logs.line("call.sent", "sent", peer=peer, method=method, route=route, attempt=attempt)
        started = time.perf_counter()
        try:
            yield answer
            answer.status = _status_of(answer.http_status)
        except (httpx.TimeoutException, TimeoutError):
            answer.status = "timeout"
        except _NO_ANSWER:
            pass
        finally:
            _log_completed(answer, started)


def _status_of(http_status: int | None) -> str:
    if http_status is None:
        return "connection_error"
    return "server_error" if http_status >= 500 else "client_error" if http_status >= 400 else "ok"


def _log_completed(answer: Answer, started: float) -> None:
    duration_ms = round((time.perf_counter() - started) * 1000, 3)
    level: logs.Level = "info" if answer.status in ("ok", "client_error") else "warning"
    logs.line(
        "call.completed",
        answer.status,
        level=level,
        peer=answer.peer,
        http_status=answer.http_status,
        duration_ms=duration_ms,
    )
    metrics.count("calls", peer=answer.peer, status=answer.status)
    metrics.observe("call.duration", duration_ms, peer=answer.peer)


def _seconds_until(retry_after: str, date: str) -> float | None:
    """Retry-After is a number of seconds or a date; anything else says nothing.

    A date is one of the answerer's clock, which the answer's own date tells: ours may be another.
    """
    if retry_after.isdecimal():
        return float(retry_after)
    moment, answered = _moment(retry_after), _moment(date) or datetime.now(UTC)
    return (moment - answered).total_seconds() if moment else None


def _moment(date: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


class Peer:
    def __init__(self, name: str, base_url: str, settings: Settings) -> None:
        profile = settings.profile
        self.name = name
        self._token = settings.service_token
        self._deadline_s = profile.http_connect_timeout_s + profile.http_read_timeout_s
        self._probe_timeout_s = profile.probe_timeout_s
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=httpx.Timeout(profile.http_read_timeout_s, connect=profile.http_connect_timeout_s),
            trust_env=False,
            verify=tls(),
        )

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def request(
        self,
        method: str,
        route: str,
        *,
        path: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
        json: object = None,
        attempt: int = 1,
    ) -> tuple[int, dict[str, Any]]:
        """Status and body. Raises PeerTrouble for time-outs, lost connections, 5xx and refusals that pass."""
        content = b""
        with observed(self.name, method, route, attempt=attempt) as answer:
            async with asyncio.timeout(self._deadline_s):
                response = await self._client.request(
                    method, route.format(**(path or {})), params=query, json=json, headers=self._headers()
                )
            answer.http_status, content = response.status_code, response.content
            answer.retry_after, answer.date = response.headers.get("Retry-After", ""), response.headers.get("Date", "")
        return answer.or_trouble(), _object(content)

    def _headers(self) -> dict[str, str]:
        context = correlation.current()
        headers = {
            "Authorization": f"Bearer {self._token}",
            "X-Correlation-Id": context.correlation_id,
            "X-Causation-Id": context.causation_id,
            "X-Parent-Span-Id": context.span_id,
            "X-Hop-Count": str(context.hop_count),
        }
        return {name: value for name, value in headers.items() if value is not None}

    async def probe(self) -> Reading:
        """Any answer proves that the peer is there; only 200 that it can work."""
        try:
            response = await self._client.get("/health/ready", timeout=self._probe_timeout_s)
        except httpx.HTTPError as error:
            return Reading("down", logs.describe(error))
        if response.status_code == 200:
            return Reading()
        return Reading("degraded", f"it answers {response.status_code} when asked whether it is ready")

    def dependency(self, settings: Settings) -> Dependency:
        return health.Dependency(self.name, self.probe, settings.profile)


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}
