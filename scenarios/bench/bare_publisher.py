"""What pika alone can do: publish with confirms, never more than a window unconfirmed, and nothing else.

``python -m scenarios.bench.bare_publisher`` reads what to do from stdin and writes what came of it to stdout.
It knows no table, no log and no other message: the same properties and body again and again.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import msgspec
import pika
import uvloop
from pika.adapters.asyncio_connection import AsyncioConnection


class Order(msgspec.Struct, frozen=True):
    """What to do. The first ``left_out`` events are not measured."""

    url: str
    exchange: str
    routing_key: str
    events: int
    left_out: int
    window: int
    body_bytes: int


class Outcome(msgspec.Struct, frozen=True):
    """What came of it."""

    confirmed_per_s: float


class _Publisher:
    def __init__(self, order: Order, done: asyncio.Future[Outcome]) -> None:
        self._order, self._done = order, done
        self._body = b"x" * order.body_bytes
        uuid = "00000000-0000-4000-8000-000000000000"
        headers = {"causation_id": None, "schema_version": 1, "attempt": 1, "span_id": "0123456789abcdef"}
        self._properties = pika.BasicProperties(
            message_id=uuid,
            correlation_id=uuid,
            type=order.routing_key,
            app_id="pipeline",
            delivery_mode=2,
            content_type="application/json",
            timestamp=1_767_225_600,
            headers=headers,
        )
        self._published = self._confirmed = 0
        self._started = 0.0
        AsyncioConnection(
            pika.URLParameters(order.url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._on_channel),
            on_open_error_callback=lambda _, error: done.set_exception(RuntimeError(f"no connection: {error}")),
            custom_ioloop=asyncio.get_running_loop(),
        )

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._fill_window())

    def _on_confirm(self, frame: Any) -> None:
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self._done.set_exception(RuntimeError("the broker refused a message"))
            return
        before, tag = self._confirmed, frame.method.delivery_tag
        self._confirmed = tag if frame.method.multiple else self._confirmed + 1
        if before < self._order.left_out <= self._confirmed:
            self._started = time.perf_counter()
        if self._confirmed == self._order.events:
            took_s = time.perf_counter() - self._started
            self._done.set_result(Outcome(round((self._order.events - self._order.left_out) / took_s, 1)))
        self._fill_window()

    def _fill_window(self) -> None:
        order = self._order
        while self._published < order.events and self._published - self._confirmed < order.window:
            self._channel.basic_publish(order.exchange, order.routing_key, self._body, self._properties, mandatory=True)
            self._published += 1


async def publish(order: Order) -> Outcome:
    """Publish as ordered. Raises RuntimeError if the broker takes not all of it."""
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    _Publisher(order, done)
    return await done


if __name__ == "__main__":
    ordered = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(publish(ordered))))
