"""The message broker as the harness sees it: the firehose tap, a look into the queues, and messages of our own.

The tap is a queue on RabbitMQ's firehose (the exchange ``amq.rabbitmq.trace``, https://www.rabbitmq.com/docs/firehose),
not on the events exchange: a queue bound there would be a route for every event, and so blind ``mandatory``.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Literal

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker

from harness.clients.kept import Kept
from harness.clients.raw_consumer import RawConsumer, deliveries
from harness.environment.waiting import NeverHappened
from harness.evidence.recording import Recording
from harness.evidence.records import OURS, Planted, RestingMessage, TapMessage
from harness.target import Target

logging.getLogger("pika").setLevel(logging.CRITICAL)  # what matters comes as an exception

FIREHOSE = "amq.rabbitmq.trace"
TAP = "gauntlet.tap"
_TAPPED = ("publish.#", "deliver.#")
_MOVED_WITHIN_S = 3.0


class Broker:
    """Connects past every proxy, so that no fault of ours reaches the evidence. Close it after use.

    What is only asked goes over a connection that is kept; what publishes, or changes how a channel works, has one of
    its own: an alarm blocks the connections of publishers.
    """

    def __init__(self, url: str, target: Target, recording: Recording, *, tap: str = TAP) -> None:
        self._tap = tap
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = 0  # between two questions nobody tends a kept connection
        self._target = target
        self._recording = recording
        self._kept = Kept(partial(pika.BlockingConnection, self._parameters), fit=_is_open, close=_close)

    def close(self) -> None:
        self._kept.close()

    @contextmanager
    def _connection(self) -> Iterator[pika.BlockingConnection]:
        connection = pika.BlockingConnection(self._parameters)
        try:
            yield connection
        finally:
            _close(connection)

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        with self._connection() as connection:
            yield connection.channel()

    @contextmanager
    def _asking(self) -> Iterator[BlockingChannel]:
        with self._kept.lent() as connection:
            channel = connection.channel()
            yield channel
            channel.close()

    def open_tap(self, *, lasting: bool = True) -> None:
        """Begin to copy every publish and every delivery.

        ``lasting``: into a quorum queue, so that the copies outlive the broker. A classic one costs the broker less,
        and is enough where nobody ends it.
        """
        arguments = {"x-queue-type": "quorum" if lasting else "classic"}
        with self._channel() as channel:
            channel.queue_declare(self._tap, durable=True, arguments=arguments)
            for what in _TAPPED:
                channel.queue_bind(self._tap, FIREHOSE, what)

    def close_tap(self) -> None:
        """Copy no more, and take the queue of copies away."""
        with self._channel() as channel:
            channel.queue_delete(self._tap)

    def shut_tap(self) -> None:
        """Copy no more."""
        with self._channel() as channel:
            for what in _TAPPED:
                channel.queue_unbind(self._tap, FIREHOSE, what)

    def drain_tap(self) -> list[TapMessage]:
        """Take everything out of the tap, oldest first."""
        with self._asking() as channel:
            return [
                _tap_message(method.routing_key, properties.headers or {}, body)
                for method, properties, body in _take_all(channel, self._tap, auto_ack=True)
            ]

    def consume_tap(self) -> RawConsumer:
        """Take everything out of the tap as it comes, without reading it (see ``read_tapped``). Close it after use."""
        return RawConsumer(self._parameters, self._tap)

    @staticmethod
    def read_tapped(came: bytes) -> tuple[list[TapMessage], int]:
        """The whole messages among the bytes of a consumer, and how far they reach."""
        messages, reached = [], 0
        for delivery, properties, body, reached in deliveries(came):  # noqa: B007 - the last one counts
            messages.append(_tap_message(delivery.routing_key, properties.headers or {}, body))
        return messages, reached

    @contextmanager
    def depths(self) -> Iterator[Callable[[], dict[str, int]]]:
        """For the duration of the block, yields a question: how many messages are ready in each queue that is there?"""
        with self._connection() as connection:
            channel = connection.channel()

            def ask() -> dict[str, int]:
                queues = self._target.broker.queues
                return {queue: channel.queue_declare(queue, passive=True).method.message_count for queue in queues}

            yield ask

    def resting(self) -> list[RestingMessage]:
        """What lies in the target's queues. Everything is given back when the channel closes."""
        # An empty queue is not asked: one of a single active consumer lets nobody else take messages singly.
        depths = self._depths(self._target.broker.queues)
        return [message for queue, depth in depths.items() if depth for message in self._resting_in(queue)]

    def _resting_in(self, queue: str) -> list[RestingMessage]:
        try:
            with self._channel() as channel:
                return [
                    RestingMessage(
                        queue=queue, exchange=method.exchange, **_message(method.routing_key, properties, body)
                    )
                    for method, properties, body in _take_all(channel, queue, auto_ack=False)
                ]
        except ChannelClosedByBroker:  # there is no such queue, so nothing lies in it; what should, will be missed
            return []

    def waiting(self) -> dict[str, int | None]:
        """Messages ready in each queue from which something is still to happen; None for a queue that is not there."""
        return {queue: depth for queue, depth in self._depths(self._target.broker.queues[:-1]).items() if depth != 0}

    def fewest_consumers(self, queues: Sequence[str]) -> int:
        """Of the queue that has the fewest; a queue that is not there has none."""
        states = self._states(queues).values()
        return min(0 if state is None else int(state.consumer_count) for state in states)

    def _depths(self, queues: Sequence[str]) -> dict[str, int | None]:
        states = self._states(queues).items()
        return {queue: None if state is None else int(state.message_count) for queue, state in states}

    def _states(self, queues: Sequence[str]) -> dict[str, Any]:
        """What the broker says of each; None of a queue that is not there."""
        states: dict[str, Any] = {}
        with self._kept.lent() as connection:
            channel = connection.channel()
            for queue in queues:
                try:
                    states[queue] = channel.queue_declare(queue, passive=True).method
                except ChannelClosedByBroker:
                    states[queue] = None
                    channel = connection.channel()
            channel.close()
        return states

    def clean_slate(self) -> None:
        """Empty every queue and the tap. Only for a system at rest."""
        with self._asking() as channel:
            for queue in (*self._target.broker.queues, self._tap):
                channel.queue_purge(queue)

    def unbind_work_queue(self, *, but: Sequence[str] = ()) -> None:
        """Let no event reach the work queue, but for those of some routing keys."""
        broker = self._target.broker
        with self._channel() as channel:
            for key in but:
                channel.queue_bind(broker.work_queue, broker.exchange, key)
            for binding in broker.bindings:
                channel.queue_unbind(broker.work_queue, broker.exchange, binding)

    def bind_work_queue(self, *, instead_of: Sequence[str] = ()) -> None:
        """Let events reach the work queue again: by its own bindings alone."""
        broker = self._target.broker
        with self._channel() as channel:
            for binding in broker.bindings:
                channel.queue_bind(broker.work_queue, broker.exchange, binding)
            for key in instead_of:
                channel.queue_unbind(broker.work_queue, broker.exchange, key)

    def delete_work_queue(self) -> int:
        """Delete it, which must lose nothing and cancel a consumer: it has to be empty and consumed. How many were."""
        consumers = self.consumers_of_empty_work_queue()
        with self._channel() as channel:  # quorum queues know no if-empty flag
            channel.queue_delete(self._target.broker.work_queue)
        return consumers

    def consumers_of_empty_work_queue(self) -> int:
        """How many consume it, while it may be deleted: a message in it would be lost, and none shall be cancelled."""
        queue = self._target.broker.work_queue
        state = self._states([queue])[queue]
        assert state, f"{queue} is not there"
        assert not state.message_count, f"{queue} holds {state.message_count} messages, which would be lost"
        assert state.consumer_count, f"{queue} has no consumer"
        return int(state.consumer_count)

    def delete_exchange(self) -> None:
        """Delete the events' exchange, and so every binding to it. Harmless if it is gone already."""
        with self._channel() as channel:
            channel.exchange_delete(self._target.broker.exchange)

    def work_queue_has_consumer(self) -> bool:
        return self.fewest_consumers([self._target.broker.work_queue]) > 0

    def reject_until_moved_to(self, queue: str) -> int:
        """Take what the work queue holds and give it back, until the broker has moved it to that queue; how often.

        Raises NeverHappened when it comes to us no more, and is not there either.
        """
        rejected, last_seen = 0, time.monotonic()
        with self._channel() as channel:
            for method, _, _ in channel.consume(self._target.broker.work_queue, inactivity_timeout=0.05):
                if method is not None:
                    channel.basic_reject(method.delivery_tag, requeue=True)
                    rejected, last_seen = rejected + 1, time.monotonic()
                elif self._depths([queue])[queue]:
                    return rejected
                elif time.monotonic() - last_seen > _MOVED_WITHIN_S:
                    raise NeverHappened(f"given back {rejected} times, it is with us no more, and not in {queue}")
        raise AssertionError("the broker cancelled our consumer")

    def reverse_work_queue(self) -> int:
        """Give back all that the work queue holds, the last first; how many have another place now."""
        queue = self._target.broker.work_queue
        with self._channel() as channel:
            depth = int(channel.queue_declare(queue, passive=True).method.message_count)
            tags: list[int] = []
            if depth < 2:
                return 0
            for method, _, _ in channel.consume(queue, inactivity_timeout=1.0):
                if method is None:
                    raise AssertionError(
                        f"{queue} held {depth} messages, of which only {len(tags)} were delivered to us"
                    )
                tags.append(method.delivery_tag)
                if len(tags) == depth:
                    break
            channel.cancel()  # or what is given back would come to us again
            for tag in reversed(tags):
                channel.basic_nack(tag, requeue=True)
        return depth - depth % 2

    def publish_again(self, message: TapMessage) -> None:
        """Deliver an event a second time, as a broker may: the very same message, to the very same exchange."""
        properties = pika.BasicProperties(
            message_id=message.message_id,
            correlation_id=message.correlation_id,
            type=message.type,
            app_id=message.app_id,
            headers=message.headers,
            delivery_mode=2,
            content_type="application/json",
        )
        with self._channel() as channel:
            channel.confirm_delivery()
            channel.basic_publish(
                message.exchange, message.routing_key, message.body.encode(), properties, mandatory=True
            )

    def plant(
        self,
        body: bytes | dict[str, Any],
        *,
        routing_key: str,
        expect: Any,
        why: str,
        message_id: str | None = None,
        without_ids_in: Literal["properties", "body"] | None = None,
        expiration: str | None = None,
        also_to: Sequence[str] = (),
    ) -> Planted:
        """Publish a message that no service made, and say where it has to end.

        It gets ids in its AMQP properties, and in a body that is a dictionary, unless one of them is to go without.
        ``also_to``: more routing keys, by which whatever exchange it comes to sends it too (the header ``CC``).
        """
        planted = Planted(
            message_id=message_id or str(uuid.uuid4()), correlation_id=str(uuid.uuid4()), expect=expect, why=why
        )
        if isinstance(body, dict):
            ids = {"event_id": planted.message_id, "correlation_id": planted.correlation_id}
            body = json.dumps({**({} if without_ids_in == "body" else ids), **body}).encode()
        named = without_ids_in != "properties"
        properties = pika.BasicProperties(
            message_id=planted.message_id if named else None,
            correlation_id=planted.correlation_id if named else None,
            type=routing_key,
            app_id=OURS,
            headers={"schema_version": 1, "attempt": 1} | ({"CC": list(also_to)} if also_to else {}),
            delivery_mode=2,
            expiration=expiration,
            content_type="application/json",
        )
        self._recording.planted.append(planted)
        self._recording.awaited_deliveries[planted.message_id] = 1
        with self._channel() as channel:
            channel.confirm_delivery()
            channel.basic_publish(self._target.broker.exchange, routing_key, body, properties, mandatory=True)
        return planted


def _is_open(connection: pika.BlockingConnection) -> bool:
    """Whether it still is, by what has come from the broker since it was last used."""
    try:
        connection.process_data_events(time_limit=0)
    except AMQPError:
        return False
    return bool(connection.is_open)


def _close(connection: pika.BlockingConnection) -> None:
    with suppress(AMQPError):
        if connection.is_open:
            connection.close()


def _take_all(channel: BlockingChannel, queue: str, *, auto_ack: bool) -> Iterator[tuple[Any, Any, bytes]]:
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=auto_ack)
        if method is None:
            return
        yield method, properties, body


def _text(body: bytes) -> str:
    return body.decode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    """AMQP tables hold bytes and timestamps, which JSON does not."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # pika decodes 64-bit integers as a subclass that JSON encoders refuse
    return value if isinstance(value, str | float | bool | None) else str(value)


def _message(routing_key: str, properties: Any, body: bytes) -> dict[str, Any]:
    return {
        "routing_key": routing_key,
        "message_id": properties.message_id,
        "correlation_id": properties.correlation_id,
        "type": properties.type,
        "app_id": properties.app_id,
        "headers": _plain(properties.headers or {}),
        "body": _text(body),
        "delivery_mode": properties.delivery_mode,
        "expiration": properties.expiration,
    }


def _tap_message(routing_key: str, trace: dict[str, Any], body: bytes) -> TapMessage:
    """A firehose copy carries the original's properties in its own headers."""
    what, _, name = routing_key.partition(".")
    original = _plain(trace.get("properties") or {})
    published = what == "publish"
    keys = trace.get("routing_keys") or [""]
    return TapMessage(
        what="published" if published else "delivered",
        queues=tuple(_plain(trace.get("routed_queues") or [])) if published else (name,),
        redelivered=bool(trace.get("redelivered")),
        exchange=_plain(trace.get("exchange_name") or ""),
        routing_key=_plain(keys[0]),
        message_id=original.get("message_id"),
        correlation_id=original.get("correlation_id"),
        type=original.get("type"),
        app_id=original.get("app_id"),
        headers=original.get("headers") or {},
        body=_text(body),
        delivery_mode=original.get("delivery_mode"),
        expiration=original.get("expiration"),
    )
