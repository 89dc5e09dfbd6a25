"""RabbitMQ: a link that is kept up for ever, made of lives that end.

A *life* is one connection with one channel. Delivery tags and confirms mean something only within it.
Whatever goes wrong (connection lost, channel closed, consumer cancelled) ends the life, and the link starts
the next one, which declares everything again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection

from system_under_test.service_kit import logs
from system_under_test.service_kit.clock import Backoff
from system_under_test.service_kit.settings import Settings

EXCHANGE = "crm.events"


class BrokerUnavailable(Exception):
    """The life is over, or the broker did not answer in time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a published message: confirmed, nacked, returned or unknown."""

    status: str
    confirm_ms: float | None

    @property
    def confirmed(self) -> bool:
        return self.status == "confirmed"


UNKNOWN = Outcome("unknown", None)


class _Loop:
    """The event loop, as pika uses it: an error that pika does not foresee while it connects ends the life at once.

    A socket that is reset right after it was connected is such a one; pika would wait for it until its time-out.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, broke: Callable[[str], None]) -> None:
        self._loop, self._broke = loop, broke

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def add_writer(self, socket: Any, callback: Callable[[], object]) -> None:
        self._loop.add_writer(socket, self._guarded, callback)

    def _guarded(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception as error:
            self._broke(f"connection lost while it was made: {logs.describe(error)}")


class Life:
    def __init__(self, settings: Settings, purpose: str, on_change: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._profile = settings.profile
        self.lost: asyncio.Future[str] = loop.create_future()
        self.unblocked = asyncio.Event()
        self.unblocked.set()
        self._opened: asyncio.Future[Any] = loop.create_future()
        self._closed = asyncio.Event()
        self._last_tag = 0
        self._unconfirmed: dict[int, tuple[str, float, asyncio.Future[Outcome]]] = {}
        self._returned: set[str] = set()
        self.channel: Any = None
        self._connection = AsyncioConnection(
            _parameters(settings, purpose),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._on_channel_open),
            on_open_error_callback=self._on_closed,
            on_close_callback=self._on_closed,
            custom_ioloop=_Loop(loop, self.end),
        )
        self._on_change = on_change
        self._connection.add_on_connection_blocked_callback(lambda *_: self._block(True))
        self._connection.add_on_connection_unblocked_callback(lambda *_: self._block(False))

    def _block(self, blocked: bool) -> None:
        """The broker tells only a connection that publishes: on one that is idle, an alarm stays unknown."""
        if blocked:
            self.unblocked.clear()
        else:
            self.unblocked.set()
        self._on_change()

    async def open(self) -> None:
        await self.answer(self._opened, self._profile.socket_timeout_s + self._profile.stack_timeout_s)

    def _on_channel_open(self, channel: Any) -> None:
        self.channel = channel
        channel.add_on_close_callback(lambda _, reason: self.end(f"channel closed: {logs.describe(reason)}"))
        channel.add_on_cancel_callback(lambda _: self.end("the broker cancelled the consumer"))
        channel.add_on_return_callback(lambda _, __, properties, ___: self._returned.add(properties.message_id))
        self._opened.set_result(None)

    def _on_closed(self, _: Any, reason: BaseException) -> None:
        self._closed.set()
        self.end(logs.clean(repr(reason), 300))

    def end(self, reason: str) -> None:
        """What is unconfirmed now stays unknown for ever: a later life cannot tell."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        for _, _, outcome in self._unconfirmed.values():
            if not outcome.done():
                outcome.set_result(UNKNOWN)
        self._unconfirmed.clear()
        if not (self._connection.is_closed or self._connection.is_closing):
            self._connection.close()

    async def close(self) -> None:
        self.end("closed by us")
        try:
            async with asyncio.timeout(self._profile.confirm_timeout_s):
                await self._closed.wait()
        except TimeoutError:
            pass  # a stalled peer: the socket goes with the process

    async def answer(self, answer: asyncio.Future[Any], within_s: float) -> Any:
        await asyncio.wait({answer, self.lost}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise BrokerUnavailable(self.lost.result() if self.lost.done() else f"no answer within {within_s:g} s")

    async def call(self, method: str, *, channel: Any = None, **arguments: Any) -> Any:
        """One AMQP method and its answer."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.lost.done():
            raise BrokerUnavailable(self.lost.result())

        def answered(*frames: Any) -> None:
            if not answer.done():
                answer.set_result(frames)

        try:
            getattr(channel or self.channel, method)(callback=answered, **arguments)
        except pika.exceptions.AMQPError as error:
            raise BrokerUnavailable(logs.describe(error)) from error
        return await self.answer(answer, self._profile.stack_timeout_s)

    @asynccontextmanager
    async def second_channel(self) -> AsyncIterator[Any]:
        """A channel for one purpose. Closing it gives back each message taken and not acknowledged."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.lost.done():
            raise BrokerUnavailable(self.lost.result())
        self._connection.channel(on_open_callback=answer.set_result)
        channel = await self.answer(answer, self._profile.stack_timeout_s)
        closed = asyncio.Event()
        channel.add_on_close_callback(lambda *_: closed.set())
        try:
            yield channel
        finally:
            if channel.is_open:
                channel.close()
            async with asyncio.timeout(self._profile.stack_timeout_s):
                await closed.wait()

    async def confirm_publishes(self) -> None:
        await self.call("confirm_delivery", ack_nack_callback=self._on_confirm)

    def publish(self, exchange: str, routing_key: str, body: bytes, properties: Any) -> asyncio.Future[Outcome]:
        """Write a message; the future tells what became of it."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        try:
            self.channel.basic_publish(exchange, routing_key, body, properties, mandatory=True)
        except pika.exceptions.AMQPError:
            outcome.set_result(UNKNOWN)
            return outcome
        self._last_tag += 1
        self._unconfirmed[self._last_tag] = (properties.message_id, time.perf_counter(), outcome)
        return outcome

    def ack(self, delivery_tag: int) -> None:
        if not self.lost.done():  # otherwise the broker has given the message back already
            self.channel.basic_ack(delivery_tag)

    def _on_confirm(self, frame: Any) -> None:
        tag, nacked = frame.method.delivery_tag, isinstance(frame.method, pika.spec.Basic.Nack)
        tags = [t for t in self._unconfirmed if t <= tag] if frame.method.multiple else [tag]
        for settled in tags:
            if settled not in self._unconfirmed:
                continue  # it came after the end of this life, when it was already called unknown
            message_id, started, outcome = self._unconfirmed.pop(settled)
            returned = message_id in self._returned  # a return comes before its ack
            self._returned.discard(message_id)
            status = "nacked" if nacked else "returned" if returned else "confirmed"
            if not outcome.done():
                outcome.set_result(Outcome(status, round((time.perf_counter() - started) * 1000, 3)))


def _parameters(settings: Settings, purpose: str) -> Any:
    profile = settings.profile
    parameters = pika.URLParameters(settings.broker_url)
    parameters.heartbeat = profile.heartbeat_s
    parameters.blocked_connection_timeout = profile.blocked_connection_timeout_s
    parameters.socket_timeout = profile.socket_timeout_s
    parameters.stack_timeout = profile.stack_timeout_s
    parameters.connection_attempts = 1  # the link does the repeating
    parameters.client_properties = {"connection_name": f"{settings.instance} {purpose}"}
    return parameters


class Link:
    def __init__(
        self,
        settings: Settings,
        purpose: str,
        prepare: Callable[[Life], Awaitable[None]],
        still_there: Callable[[Life], Awaitable[None]],
    ) -> None:
        self._settings, self._purpose, self._prepare, self._still_there = settings, purpose, prepare, still_there
        self.life: Life | None = None
        self.on_change: Callable[[], None] = lambda: None
        self._trouble = ""

    async def run(self) -> None:
        profile = self._settings.profile
        backoff = Backoff(profile.reconnect_first_s, profile.reconnect_most_s)
        while True:
            life = Life(self._settings, self._purpose, self._changed)
            try:
                await life.open()
                await self._prepare(life)
                self.life = life
                self._changed()
                backoff.reset()
                self._trouble = await asyncio.shield(life.lost)
            except BrokerUnavailable as error:
                self._trouble = str(error)
                life.end(self._trouble)
            except asyncio.CancelledError:
                await life.close()
                raise
            finally:
                self.life = None
            self._changed()
            logs.library("broker", f"{self._purpose}: {self._trouble}", level="warning")
            await asyncio.sleep(backoff.next_s())

    def _changed(self) -> None:
        self.on_change()

    @property
    def is_new(self) -> bool:
        """The first connection is still being made: nothing is known yet."""
        return self.life is None and not self._trouble

    async def probe(self) -> None:
        """Raises unless a round trip succeeds: an open socket says nothing about a network that stalls."""
        life = self.life
        if life is None:
            raise BrokerUnavailable(f"{self._purpose}: {self._trouble}")
        if not life.unblocked.is_set():
            raise BrokerUnavailable(f"{self._purpose}: the broker blocks publishers")
        await self._still_there(life)


async def find_exchange(life: Life) -> None:
    await life.call("exchange_declare", exchange=EXCHANGE, passive=True)


async def declare_exchange(life: Life) -> None:
    await life.call("exchange_declare", exchange=EXCHANGE, exchange_type="topic", durable=True)
