"""The consumer: takes deliveries, has each handled in its entity's turn, and settles each exactly once."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

from system_under_test.automation import retries, topology
from system_under_test.automation.delivery import Delivery
from system_under_test.automation.dependencies import Abandoned
from system_under_test.automation.handling import Handling
from system_under_test.automation.retries import DeadLetter, Done, GiveBack, Retry, TooManyHops, Verdict
from system_under_test.automation.topology import EVENTS
from system_under_test.service_kit import correlation, logs, metrics
from system_under_test.service_kit.broker import BrokerUnavailable, Life, Link
from system_under_test.service_kit.clock import Backoff, pause
from system_under_test.service_kit.correlation import new_id
from system_under_test.service_kit.publisher import Message, Publisher
from system_under_test.service_kit.runtime import background
from system_under_test.service_kit.settings import Settings

_MOST_HOPS = 5


class Consumer:
    def __init__(self, settings: Settings, publisher: Publisher, handling: Handling, stopping: asyncio.Event) -> None:
        self._profile, self._tag = settings.profile, settings.instance
        self._publisher, self._handling, self._stopping = publisher, handling, stopping
        self._turns = Turns()
        self._slots = asyncio.Semaphore(self._profile.handlers)
        self._in_hand: set[asyncio.Task[None]] = set()
        self.link = Link(settings, "consuming", self._prepare)

    @asynccontextmanager
    async def consuming(self) -> AsyncIterator[None]:
        async with background(self.link.run()):
            try:
                yield
            finally:
                await self._drain()

    async def _prepare(self, life: Life) -> None:
        await topology.declare(life, self._profile)
        await life.call("basic_qos", prefetch_count=self._profile.prefetch)

        def on_message(_: Any, method: Any, properties: Any, body: bytes) -> None:
            self._take(Delivery(life, method.delivery_tag, method.redelivered, properties, body, new_id()))

        await life.call(
            "basic_consume",
            queue=EVENTS,
            on_message_callback=on_message,
            auto_ack=False,
            consumer_tag=self._tag,
        )

    def _take(self, delivery: Delivery) -> None:
        if self._stopping.is_set():
            delivery.life.give_back(delivery.tag)
            return
        task = asyncio.create_task(self._carry(delivery), context=contextvars.Context())
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _drain(self) -> None:
        """Take nothing more, finish what is in hand, give back what is not finished in time."""
        if (life := self.link.life) is not None:
            with suppress(BrokerUnavailable):
                await life.call("basic_cancel", consumer_tag=self._tag)
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=self._profile.handler_deadline_s)
        for task in self._in_hand:
            task.cancel()
        await asyncio.gather(*self._in_hand, return_exceptions=True)

    async def _carry(self, delivery: Delivery) -> None:
        with correlation.using(delivery.context()):
            started = time.perf_counter()
            logs.line(
                "event.received",
                "received",
                queue=EVENTS,
                delivery_id=delivery.id,
                attempt=delivery.attempt,
                redelivered=delivery.redelivered,
            )
            try:
                status = await self._execute(delivery, await self._judge(delivery))
            except asyncio.CancelledError:
                status = "requeued"
            if status == "acked" and delivery.life.lost.done():
                status = "requeued"
            duration_ms = round((time.perf_counter() - started) * 1000, 3)
            logs.line(
                "event.settled",
                status,
                level="info" if status == "acked" else "warning",
                queue=EVENTS,
                delivery_id=delivery.id,
                attempt=delivery.attempt,
                duration_ms=duration_ms,
            )
            metrics.count("deliveries", status=status)
            metrics.observe("delivery.duration", duration_ms)
            if status == "requeued":
                delivery.life.give_back(delivery.tag)
            else:
                delivery.life.ack(delivery.tag)

    async def _judge(self, delivery: Delivery) -> Verdict:
        """Have it handled, and say what that means for the delivery."""
        try:
            event = delivery.read()
            if event.hop_count > _MOST_HOPS:
                raise TooManyHops(f"{event.hop_count} events led to this one, and {_MOST_HOPS} are the most")
            async with self._turns.of(event.entity_type, event.entity_id), self._slots:
                if self._stopping.is_set() or delivery.life.lost.done():
                    return GiveBack()
                await self._handling.handle(delivery, event)
        except Abandoned:
            return GiveBack()
        except Exception as error:
            return retries.verdict_on(error, delivery.attempt, self._profile)
        return Done()

    async def _execute(self, delivery: Delivery, verdict: Verdict) -> str:
        """Carry the verdict out as far as it goes before the delivery itself is settled."""
        match verdict:
            case Done():
                return "acked"
            case Retry():
                confirmed = await self._publish(delivery, retries.retry_copy(delivery, verdict))
                return "retried" if confirmed else "requeued"
            case DeadLetter():
                if not await self._publish(delivery, retries.dead_letter_copy(delivery, verdict)):
                    return "requeued"
                logs.line(
                    "event.dead_lettered",
                    "dead_lettered",
                    level="error",
                    reason=verdict.reason,
                    error=logs.describe(verdict.error),
                    attempts=delivery.attempt,
                )
                return "dead_lettered"
            case GiveBack():
                return "requeued"

    async def _publish(self, delivery: Delivery, copy: Message) -> bool:
        """Until the broker confirms the copy. As long as it does not, the original stays where it is."""
        backoff = Backoff(self._profile.reconnect_first_s, self._profile.reconnect_most_s)
        while not (await self._publisher.publish(copy)).confirmed:
            if self._stopping.is_set() or delivery.life.lost.done():
                return False
            await pause(backoff.next_s(), unless=self._stopping)
        return True


class Turns:
    """One at a time for each entity, in the order in which they came."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, UUID], asyncio.Lock] = {}
        self._users: Counter[tuple[str, UUID]] = Counter()

    @asynccontextmanager
    async def of(self, entity_type: str, entity_id: UUID) -> AsyncIterator[None]:
        key = (entity_type, entity_id)
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._users[key] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]
