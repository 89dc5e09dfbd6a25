"""The consumer: takes deliveries, has each handled in its entity's turn, and settles each exactly once."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID

from system_under_test.automation import retries, topology
from system_under_test.automation.burial import Burial
from system_under_test.automation.delivery import Delivery
from system_under_test.automation.dependencies import Abandoned
from system_under_test.automation.handling import Handling
from system_under_test.automation.retries import (
    DeadLetter,
    DeliveredTooOften,
    Done,
    GiveBack,
    Retry,
    TooManyHops,
    Verdict,
)
from system_under_test.automation.topology import EVENTS, UNDELIVERABLE
from system_under_test.service_kit import correlation, logs, metrics
from system_under_test.service_kit.broker import Life, Link
from system_under_test.service_kit.correlation import new_id
from system_under_test.service_kit.runtime import background
from system_under_test.service_kit.settings import Settings

Carry = Callable[[Delivery], Coroutine[Any, Any, None]]

_MOST_HOPS = 5


class Consumer:
    def __init__(self, settings: Settings, burial: Burial, handling: Handling, stopping: asyncio.Event) -> None:
        self._profile, self._tag = settings.profile, settings.instance
        self._burial, self._handling, self._stopping = burial, handling, stopping
        self._turns = Turns()
        self._slots = asyncio.Semaphore(self._profile.handlers)
        self._in_hand: set[asyncio.Task[None]] = set()
        self.link = Link(settings, "consuming", self._prepare, topology.bind)

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

        for queue, carry in ((EVENTS, self._carry), (UNDELIVERABLE, self._carry_out)):
            await life.call(
                "basic_consume",
                queue=queue,
                on_message_callback=partial(self._on_message, life, carry),
                auto_ack=False,
                consumer_tag=f"{self._tag} {queue}",
            )

    def _on_message(self, life: Life, carry: Carry, _: Any, method: Any, properties: Any, body: bytes) -> None:
        if self._stopping.is_set():
            return  # it stays unacknowledged: see _drain
        delivery = Delivery(properties, body, life, method.delivery_tag, method.redelivered, new_id())
        task = asyncio.create_task(carry(delivery), context=contextvars.Context())
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _drain(self) -> None:
        """Finish what is in hand. The end of the connection then gives back the rest, all at once and in its order.

        The consumer is not cancelled before: the broker would at once let the next one begin with later events of the
        entities that are still being handled here (https://github.com/spring-projects/spring-amqp/issues/2482).
        """
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
            if status != "requeued":  # that is for the end of the life: we are stopping, or it is over
                delivery.life.ack(delivery.tag)

    async def _carry_out(self, delivery: Delivery) -> None:
        """The broker gave up on it: nobody has handled it to its end, so nobody has written its papers either."""
        with correlation.using(delivery.context()):
            error = DeliveredTooOften("it was delivered again and again, and never settled")
            buried = False
            with suppress(asyncio.CancelledError):
                buried = await self._burial.bury(delivery, DeadLetter("delivery_limit", error), delivery.life.lost)
            if buried:
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
                copy = retries.retry_copy(delivery, verdict)
                return "retried" if await self._burial.publish(copy, delivery.life.lost) else "requeued"
            case DeadLetter():
                buried = await self._burial.bury(delivery, verdict, delivery.life.lost)
                return "dead_lettered" if buried else "requeued"
            case GiveBack():
                return "requeued"


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
