"""Calls to another service: a time limit on each, a line before and after, one exception for what may pass.

A call is never repeated here: whether a POST that timed out was carried out is for the caller to find out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from system_under_test.service_kit import correlation, health, logs, metrics
from system_under_test.service_kit.health import Dependency, Reading
from system_under_test.service_kit.settings import Settings

_PASSING_REFUSALS = frozenset({408, 425, 429})


class PeerTrouble(Exception):
    """The peer did not answer, or answered that now is a bad time. Later the same call may succeed."""

    def __init__(self, peer: str, what: str, *, may_be_down: bool) -> None:
        super().__init__(f"{peer}: {what}")
        self.peer, self.may_be_down = peer, may_be_down


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
        )

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def request(
        self, method: str, route: str, *, path: Mapping[str, object], json: object = None, attempt: int = 1
    ) -> tuple[int, dict[str, Any]]:
        """Status and body. Raises PeerTrouble for time-outs, lost connections, 5xx and refusals that pass."""
        with correlation.using(correlation.current().child()):
            logs.line("call.sent", "sent", peer=self.name, method=method, route=route, attempt=attempt)
            started = time.perf_counter()
            status, http_status, body = "connection_error", None, b""
            try:
                async with asyncio.timeout(self._deadline_s):
                    response = await self._client.request(
                        method, route.format(**path), json=json, headers=self._headers()
                    )
                http_status, body = response.status_code, response.content
                status = "server_error" if http_status >= 500 else "client_error" if http_status >= 400 else "ok"
            except (httpx.TimeoutException, TimeoutError):
                status = "timeout"
            except httpx.HTTPError:
                status = "connection_error"
            finally:
                self._log_completed(status, http_status, started)
        if http_status is None or http_status >= 500 or http_status in _PASSING_REFUSALS:
            refused = http_status in _PASSING_REFUSALS
            raise PeerTrouble(self.name, f"{status} {http_status or ''}".strip(), may_be_down=not refused)
        return http_status, _object(body)

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

    def _log_completed(self, status: str, http_status: int | None, started: float) -> None:
        duration_ms = round((time.perf_counter() - started) * 1000, 3)
        level: logs.Level = "info" if status in ("ok", "client_error") else "warning"
        logs.line(
            "call.completed",
            status,
            level=level,
            peer=self.name,
            http_status=http_status,
            duration_ms=duration_ms,
        )
        metrics.count("calls", peer=self.name, status=status)
        metrics.observe("call.duration", duration_ms, peer=self.name)

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
