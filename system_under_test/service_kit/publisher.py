"""Publishing with a promise: what is called confirmed is in a queue; of anything else nothing is promised."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from system_under_test.service_kit.broker import Life, Link, declare_exchange
from system_under_test.service_kit.settings import Settings


@dataclass(frozen=True, slots=True)
class Message:
    exchange: str
    routing_key: str
    body: bytes
    properties: Any


@dataclass(frozen=True, slots=True)
class Outcome:
    status: str
    confirm_ms: float | None

    @property
    def confirmed(self) -> bool:
        return self.status == "confirmed"


class Publisher:
    def __init__(self, settings: Settings) -> None:
        self._timeout_s = settings.profile.confirm_timeout_s
        self._window = asyncio.Semaphore(settings.profile.confirm_window)
        self.link = Link(settings, "publishing", self._prepare)

    @staticmethod
    async def _prepare(life: Life) -> None:
        await declare_exchange(life)
        await life.confirm_publishes()

    @property
    def ready(self) -> bool:
        return self.link.life is not None and self.link.life.unblocked.is_set()

    async def publish(self, message: Message) -> Outcome:
        async with self._window:
            life = self.link.life
            if life is None:
                return Outcome("unknown", None)
            started = time.perf_counter()
            outcome = life.publish(message.exchange, message.routing_key, message.body, message.properties)
            await asyncio.wait({outcome}, timeout=self._timeout_s)
            if not outcome.done():
                life.end(f"no confirm within {self._timeout_s:g} s")
                return Outcome("unknown", None)
            status = outcome.result()
            answered = status != "unknown"
            return Outcome(status, round((time.perf_counter() - started) * 1000, 3) if answered else None)
