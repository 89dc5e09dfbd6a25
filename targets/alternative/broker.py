"""RabbitMQ by aiormq: a link that lives as long as nothing goes wrong, and is then made anew, queues and all."""

from __future__ import annotations

import asyncio
import copy
import random
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import aiormq
from yarl import URL

from targets.alternative import log
from targets.alternative.events import Letter
from targets.alternative.failures import BrokerLost, reason_of
from targets.alternative.settings import Settings

T = TypeVar("T")

EXCHANGE, EVENTS, DEAD, UNDELIVERABLE = (
    "crm.events",
    "automation.events",
    "automation.dlq",
    "automation.undeliverable",
)
_BINDINGS = ("lead.#", "deal.#")
_SURELY = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": "",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
_LAST = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
_ANSWER_S = 10.0


@dataclass(frozen=True, slots=True)
class Delivery(Letter):
    life: Life
    tag: int
    redelivered: bool
    id: str


OnMessage = Callable[[Delivery], Coroutine[Any, Any, None]]


class NoAnswer(BrokerLost):
    """It may have been done or not: nobody said."""


class Life:
    """One connection, until anything happens to it or to one of its channels: then all of it is over."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.consuming: Any = None
        self.publishing: Any = None
        self._closing: asyncio.Future[Any] | None = None
        self._asking: Any = None
        self._question: asyncio.Task[None] | None = None
        connection.closing.add_done_callback(lambda closed: self.end(f"connection closed: {_why(closed)}"))

    async def open(self) -> None:
        self.consuming = await self._channel(publisher_confirms=False)
        self.publishing = await self._channel(publisher_confirms=True)
        self._asking = await self._channel(publisher_confirms=False)
        self.consuming.on_consumer_cancel_callbacks.add(lambda _: self.end("the broker cancelled the consumer"))

    async def _channel(self, **options: bool) -> Any:
        channel = await self.bounded(self.connection.channel(**options))
        channel.closing.add_done_callback(lambda closed: self.end(f"channel closed: {_why(closed)}"))
        return channel

    def end(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)
            self._closing = asyncio.ensure_future(self.connection.close())
            self._closing.add_done_callback(_seen)

    async def closed(self, within_s: float) -> None:
        if self._closing is not None:
            await asyncio.wait({self._closing}, timeout=within_s)

    async def bounded(self, work: Awaitable[T], within_s: float = _ANSWER_S) -> T:
        """Do it, but no longer than this life lasts. Raises BrokerLost, whatever went wrong."""
        task = asyncio.ensure_future(work)
        try:
            waits: set[asyncio.Future[Any]] = {task, self.lost}
            await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
            task.add_done_callback(_seen)
        if self.lost.done():
            raise BrokerLost(self.lost.result())
        if not task.done():
            raise NoAnswer(f"no answer within {within_s:g} s")
        if task.cancelled():
            raise BrokerLost("the channel is closed")
        if (error := task.exception()) is not None:
            raise BrokerLost(log.describe(error)) from error
        return task.result()

    async def prove(self) -> None:
        """Raises unless a round trip succeeds. A question that is still open is not asked a second time."""
        if self._question is None or self._question.done():
            self._question = asyncio.ensure_future(self.bounded(self._still_there(), within_s=3600))
            self._question.add_done_callback(_seen)
        await asyncio.shield(self._question)

    async def _still_there(self) -> None:
        await self.connection.ready()  # which waits as long as the broker blocks publishers
        await self.bind()

    async def bind(self) -> None:
        """Harmless if it is done. Who deletes the exchange takes the bindings with it, and tells nobody."""
        for key in _BINDINGS:
            await self._asking.queue_bind(EVENTS, EXCHANGE, routing_key=key)

    async def settle(self, delivery: Delivery, *, ack: bool) -> None:
        channel = self.consuming
        settling = channel.basic_ack(delivery.tag) if ack else channel.basic_nack(delivery.tag, requeue=True)
        with suppress(BrokerLost):  # then the broker has it back anyway
            await self.bounded(settling)

    @asynccontextmanager
    async def drawer(self) -> AsyncIterator[Any]:
        """A channel for one purpose: what is taken on it and not acknowledged goes back when it is closed."""
        channel = await self.bounded(self.connection.channel(publisher_confirms=False))
        try:
            yield channel
        finally:
            await self.bounded(channel.close())


class Link:
    def __init__(self, settings: Settings, on_message: dict[str, OnMessage], stopping: asyncio.Event) -> None:
        self._numbers, self._instance = settings.numbers, settings.instance
        self._url = URL(settings.broker_url).update_query(heartbeat="20", name=settings.instance)
        self._on_message, self._stopping = on_message, stopping
        self.life: Life | None = None
        self.trouble = "connecting"
        self.known = asyncio.Event()  # how the first attempt to connect went
        self.in_hand: set[asyncio.Task[None]] = set()
        self.changed: Callable[[], None] = lambda: None

    async def run(self) -> None:
        while True:
            life = None
            try:
                life = await self._born()
                await life.open()
                await self._prepare(life)
                self.life = life
                self.known.set()
                self.changed()
                self.trouble = await asyncio.shield(life.lost)
            except BrokerLost as error:
                self.trouble = str(error)
            except asyncio.CancelledError:
                if life is not None:
                    life.end("closed by us")
                    await life.closed(within_s=self._numbers.confirm_s)
                raise
            self.life = None
            self.known.set()
            if life is not None:
                life.end(self.trouble)
            self.changed()
            log.note("broker", self.trouble)
            await asyncio.sleep(random.uniform(0, self._numbers.reconnect_most_s))

    async def _born(self) -> Life:
        connection = aiormq.Connection(self._url)
        connecting = asyncio.ensure_future(connection.connect())
        await asyncio.wait({connecting}, timeout=_ANSWER_S / 2)
        if not connecting.done():
            connecting.cancel()
        connecting.add_done_callback(_seen)
        if connecting.cancelled() or not connecting.done():
            raise BrokerLost("no connection in time")
        if (error := connecting.exception()) is not None:
            raise BrokerLost(log.describe(error)) from error
        return Life(connection)

    async def _prepare(self, life: Life) -> None:
        """Declare everything, always with the same arguments, and consume."""
        channel = life.consuming
        await life.bounded(channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True))
        events = {"x-dead-letter-routing-key": UNDELIVERABLE, "x-delivery-limit": 20, "x-single-active-consumer": True}
        queues: dict[str, dict[str, Any]] = {DEAD: _LAST, UNDELIVERABLE: _LAST, EVENTS: {**_SURELY, **events}}
        for rung, delay_ms in enumerate(self._numbers.retry_delays_ms, start=1):
            queues[_rung(rung)] = {**_SURELY, "x-dead-letter-routing-key": EVENTS, "x-message-ttl": delay_ms}
        for name, arguments in queues.items():
            await life.bounded(channel.queue_declare(name, durable=True, arguments=arguments))
        await life.bounded(life.bind())
        await life.bounded(channel.basic_qos(prefetch_count=self._numbers.prefetch))
        for queue in self._on_message:
            await life.bounded(
                channel.basic_consume(queue, self._receiver(life, queue), consumer_tag=f"{self._instance} {queue}")
            )

    def _receiver(self, life: Life, queue: str) -> Callable[[Any], Awaitable[None]]:
        """What the library calls ends with its channel; our own task does not, for it has something to finish."""

        async def receive(message: Any) -> None:
            if self._stopping.is_set():
                return  # it stays as it is: see drain
            tag, again = message.delivery.delivery_tag, bool(message.delivery.redelivered)
            delivery = Delivery(message.header.properties, message.body, life, tag, again, str(uuid4()))
            with log.within(log.NO_FLOW):
                task = asyncio.create_task(self._on_message[queue](delivery))
            self.in_hand.add(task)
            task.add_done_callback(self.in_hand.discard)

        return receive

    async def drain(self) -> None:
        """Finish what is in hand, still as the active consumer: another one would overtake it.

        All the rest goes back at once and in its order, when the connection ends.
        """
        if self.in_hand:
            await asyncio.wait(self.in_hand, timeout=self._numbers.step_s)
        for task in self.in_hand:
            task.cancel()
        await asyncio.gather(*self.in_hand, return_exceptions=True)

    async def prove(self) -> None:
        """Raises BrokerLost unless the broker answers now, on a link that consumes."""
        await self.known.wait()
        if (life := self.life) is None:
            raise BrokerLost(self.trouble)
        await life.prove()

    async def publish(self, queue: str, body: bytes, properties: Any) -> bool:
        """Whether a queue has it for certain. If not, nothing is known."""
        if (life := self.life) is None:
            return False
        publishing = life.publishing.basic_publish(body, routing_key=queue, properties=properties, mandatory=True)
        try:
            await life.bounded(publishing, within_s=self._numbers.confirm_s)
        except NoAnswer:
            life.end(f"no confirm within {self._numbers.confirm_s:g} s")
            return False
        except BrokerLost:
            return False
        return True

    async def publish_at_last(self, queue: str, body: bytes, properties: Any, lost: asyncio.Future[str] | None) -> bool:
        """Until it is there, or until it has no use any more: then False."""
        while not await self.publish(queue, body, properties):
            if self._stopping.is_set() or (lost is not None and lost.done()):
                return False
            await asyncio.sleep(random.uniform(0, self._numbers.reconnect_most_s))
        return True


# --- copies: they keep every id and header, but for what would let them expire, go elsewhere or be refused ------------


def retry_copy(letter: Letter, asked_s: float, delays_ms: tuple[int, ...]) -> tuple[str, bytes, Any]:
    """For the next rung of the ladder, or the first that is as long as we were asked to wait, or the longest."""
    rungs = range(min(letter.attempt, len(delays_ms)), len(delays_ms) + 1)
    rung = next((rung for rung in rungs if delays_ms[rung - 1] >= asked_s * 1000), len(delays_ms))
    return _rung(rung), letter.body, _copy(letter, {**letter.headers, "attempt": letter.attempt + 1})


def dead_copy(letter: Letter, error: Exception) -> tuple[str, bytes, Any]:
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    papers = {
        "attempt": letter.attempt,
        "dead_letter_reason": reason_of(error),
        "dead_letter_error_class": type(error).__name__,
        "dead_letter_error": log.describe(error),
        "dead_letter_stack": " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames)),
    }
    return DEAD, letter.body, _copy(letter, {**letter.headers, **papers})


def replay_copy(letter: Letter) -> tuple[str, bytes, Any]:
    kept = {name: value for name, value in letter.headers.items() if not name.startswith(("dead_letter_", "x-"))}
    return EVENTS, letter.body, _copy(letter, {**kept, "attempt": 1, "replays": letter.replays + 1})


def _copy(letter: Letter, headers: dict[str, Any]) -> Any:
    properties, flow = copy.copy(letter.properties), log.flow()
    properties.headers = {name: value for name, value in headers.items() if name not in ("CC", "BCC")}
    properties.expiration = properties.user_id = None
    properties.delivery_mode = 2
    properties.message_id = properties.message_id or flow.event_id or flow.correlation_id
    properties.correlation_id = properties.correlation_id or flow.correlation_id
    return properties


def _rung(number: int) -> str:
    return f"automation.retry.{number}"


def _why(closed: asyncio.Future[Any]) -> str:
    if closed.cancelled() or (error := closed.exception()) is None:
        return "it has ended"
    return log.describe(error)


def _seen(ended: asyncio.Future[Any]) -> None:
    """Nobody else asks how it went; asyncio would complain of that."""
    if not ended.cancelled():
        ended.exception()
