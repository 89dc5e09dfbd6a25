"""The worker: has each delivery handled in its entity's turn, and settles each exactly once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from targets.alternative import log, metrics
from targets.alternative.broker import EVENTS, Delivery, Link, dead_copy, retry_copy
from targets.alternative.dependencies import Hold
from targets.alternative.events import MOST_HOPS, Letter
from targets.alternative.failures import PASSING, Abandoned, DeliveredTooOften, TooManyHops, Unavailable, reason_of
from targets.alternative.handling import Handling
from targets.alternative.settings import Numbers
from targets.alternative.store import Store


class Cemetery:
    """Buries a message: its alert is written down, its copy is in the dead-letter queue, and the log says so."""

    def __init__(self, store: Store, hold: Hold) -> None:
        self._store, self._hold = store, hold
        self.link: Link | None = None

    async def bury(self, letter: Letter, error: Exception, lost: asyncio.Future[str] | None = None) -> bool:
        """False, if it could not be done for now. Doing it again makes a second copy, but no second alert."""
        assert self.link is not None
        reason = reason_of(error)
        try:
            await self._hold.through(lambda: self._store.raise_alert(letter, reason), lost)
        except (Abandoned, Unavailable):
            return False
        if not await self.link.publish_at_last(*dead_copy(letter, error), lost):
            return False
        log.line(
            "event.dead_lettered",
            "dead_lettered",
            level="error",
            reason=reason,
            error=log.describe(error),
            attempts=letter.attempt,
        )
        return True


class Worker:
    def __init__(self, handling: Handling, cemetery: Cemetery, numbers: Numbers, stopping: asyncio.Event) -> None:
        self._handling, self._cemetery, self._numbers, self._stopping = handling, cemetery, numbers, stopping
        self._slots = asyncio.Semaphore(numbers.handlers)
        self._turns: dict[tuple[str, str], asyncio.Lock] = {}
        self._waiting: Counter[tuple[str, str]] = Counter()
        self.link: Link | None = None

    async def take(self, delivery: Delivery) -> None:
        with log.within(delivery.flow(str(uuid4()))):
            started = time.perf_counter()
            log.line(
                "event.received",
                "received",
                queue=EVENTS,
                delivery_id=delivery.id,
                attempt=delivery.attempt,
                redelivered=delivery.redelivered,
            )
            try:
                status = await self._handled(delivery)
            except asyncio.CancelledError:
                status = "requeued"
            except Exception as error:  # not even buried: whatever it was, somebody has to have it
                log.note("worker", f"given back: {log.describe(error)}", level="error")
                status = "requeued"
            if delivery.life.lost.done() and status == "acked":
                status = "requeued"
            duration_ms = round((time.perf_counter() - started) * 1000, 3)
            log.line(
                "event.settled",
                status,
                level="info" if status == "acked" else "warning",
                queue=EVENTS,
                delivery_id=delivery.id,
                attempt=delivery.attempt,
                duration_ms=duration_ms,
            )
            metrics.count("deliveries_total", status=status)
            metrics.observe("delivery_duration_seconds", duration_ms)
            await self._settle(delivery, ack=status != "requeued")

    async def take_out(self, delivery: Delivery) -> None:
        """The broker has given up on it, and nobody has written its papers."""
        with log.within(delivery.flow(str(uuid4()))):
            error = DeliveredTooOften("it was delivered again and again, and never settled")
            buried = False
            with suppress(asyncio.CancelledError, Exception):
                buried = await self._cemetery.bury(delivery, error, delivery.life.lost)
            await self._settle(delivery, ack=buried)

    async def _settle(self, delivery: Delivery, *, ack: bool) -> None:
        """Whoever stops gives nothing back one by one: see Link.drain."""
        if ack or not self._stopping.is_set():
            await delivery.life.settle(delivery, ack=ack)

    async def _handled(self, delivery: Delivery) -> str:
        """Have it handled and carry out what that means for it, as far as it goes before it is settled."""
        lost = delivery.life.lost
        try:
            event = delivery.event()
            if event.hop_count > MOST_HOPS:
                raise TooManyHops(f"{event.hop_count} events led to this one, and {MOST_HOPS} are the most")
            async with self._turn(event.entity_type, event.entity_id), self._slots:
                if self._stopping.is_set() or lost.done():
                    return "requeued"
                await self._handling.handle(delivery, event)
        except Abandoned:
            return "requeued"
        except Exception as error:
            if isinstance(error, PASSING) and delivery.attempt < self._numbers.max_attempts:
                assert self.link is not None
                asked_s = getattr(error, "retry_after_s", 0)
                copy = retry_copy(delivery, asked_s, self._numbers.retry_delays_ms)
                return "retried" if await self.link.publish_at_last(*copy, lost) else "requeued"
            return "dead_lettered" if await self._cemetery.bury(delivery, error, lost) else "requeued"
        return "acked"

    @asynccontextmanager
    async def _turn(self, *entity: str) -> AsyncIterator[None]:
        """One at a time for each entity, in the order in which they came."""
        key = (entity[0], entity[1])
        turn = self._turns.setdefault(key, asyncio.Lock())
        self._waiting[key] += 1
        try:
            async with turn:
                yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._turns[key]
