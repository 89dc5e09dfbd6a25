"""Publishing with a promise: what is called confirmed is in a queue; of anything else nothing is promised."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from system_under_test.service_kit.broker import UNKNOWN, Life, Link, Outcome, declare_exchange, find_exchange
from system_under_test.service_kit.settings import Settings


@dataclass(frozen=True, slots=True)
class Message:
    exchange: str
    routing_key: str
    body: bytes
    properties: Any


class Publisher:
    def __init__(self, settings: Settings) -> None:
        self._timeout_s = settings.profile.confirm_timeout_s
        self._window = asyncio.Semaphore(settings.profile.confirm_window)
        self.link = Link(settings, "publishing", self._prepare, find_exchange)

    @staticmethod
    async def _prepare(life: Life) -> None:
        await declare_exchange(life)
        await life.confirm_publishes()

    @property
    def ready(self) -> bool:
        return self.link.life is not None and self.link.life.unblocked.is_set()

    async def publish(self, message: Message) -> Outcome:
        return (await self.publish_all([message]))[0]

    async def publish_all(self, messages: Sequence[Message]) -> list[Outcome]:
        """Write them in this order without waiting in between, then wait until each is settled."""
        life = self.link.life
        if life is None:
            return [UNKNOWN] * len(messages)
        outcomes = [await self._write(life, message) for message in messages]
        await asyncio.wait(outcomes, timeout=self._timeout_s)
        if not all(outcome.done() for outcome in outcomes):
            life.end(f"no confirm within {self._timeout_s:g} s")  # which makes the rest unknown
        return [outcome.result() for outcome in outcomes]

    async def _write(self, life: Life, message: Message) -> asyncio.Future[Outcome]:
        await self._window.acquire()
        outcome = life.publish(message.exchange, message.routing_key, message.body, message.properties)
        outcome.add_done_callback(lambda _: self._window.release())
        return outcome
