"""The relay: brings stored events to the broker, oldest first, and marks exactly those that it confirmed.

One relay of a service works at a time (an advisory lock on its own session); another replica's waits. Between
batches nothing is remembered but what the table says, so the order of commits does not matter.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pika
from psycopg import sql

from system_under_test.service_kit import correlation, logs, metrics
from system_under_test.service_kit.broker import EXCHANGE, Outcome
from system_under_test.service_kit.clock import Backoff, pause
from system_under_test.service_kit.correlation import Context, new_span
from system_under_test.service_kit.database import UNAVAILABLE, Connection, connect, cut_after
from system_under_test.service_kit.envelope import SCHEMA_VERSION
from system_under_test.service_kit.outbox import wake_channel
from system_under_test.service_kit.publisher import Message, Publisher
from system_under_test.service_kit.runtime import background
from system_under_test.service_kit.settings import Settings

Row = dict[str, Any]

_GATHER_S = 0.005  # between batches, so that a busy service sends some at a time; the first after a rest never waits

_UNSENT = sql.SQL(
    "SELECT event_id::text, event_type, entity_type, entity_id::text, correlation_id::text, causation_id::text,"
    " span_id, envelope::text FROM {}.outbox WHERE sent_at IS NULL ORDER BY id LIMIT %s"
)
_MARK_SENT = sql.SQL("UPDATE {}.outbox SET sent_at = clock_timestamp() WHERE event_id = ANY(%s::uuid[])")


class Relay:
    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self._settings, self._profile, self._publisher = settings, settings.profile, publisher
        schema = sql.Identifier(settings.service)
        self._unsent, self._mark_sent = _UNSENT.format(schema).as_bytes(), _MARK_SENT.format(schema).as_bytes()
        self._backoff = Backoff(self._profile.reconnect_first_s, self._profile.reconnect_most_s)
        self._attempts: Counter[str] = Counter()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Finish the batch in hand; what is left unsent is sent by the next start."""
        self._stopping.set()

    async def run(self) -> None:
        # A session that is cut off must not keep the lock: the server ends it when it falls silent.
        silence_ms = round(1000 * (self._profile.confirm_timeout_s * 2 + self._profile.relay_poll_s * 4))
        while not self._stopping.is_set():
            try:
                async with await connect(self._settings, idle_session_timeout=silence_ms) as connection:
                    await self._serve(connection)
            except UNAVAILABLE as error:
                logs.library("relay", f"database session lost: {logs.describe(error)}", level="warning")
                await pause(self._backoff.next_s(), unless=self._stopping)

    async def _serve(self, connection: Connection) -> None:
        while not self._stopping.is_set() and not await self._is_the_one(connection):
            await pause(self._profile.relay_poll_s, unless=self._stopping)
        channel = sql.Identifier(wake_channel(self._settings.service))
        with cut_after(connection, self._profile.database_deadline_s):
            await connection.execute(sql.SQL("LISTEN {}").format(channel))
        while not self._stopping.is_set():
            rows = await self._fetch(connection)
            if not rows or not self._publisher.ready:
                await self._woken(connection)
            elif await self._send(connection, rows):
                self._backoff.reset()
                if len(rows) < self._profile.relay_batch:
                    await pause(_GATHER_S, unless=self._stopping)
            else:
                await pause(self._backoff.next_s(), unless=self._stopping)

    async def _is_the_one(self, connection: Connection) -> bool:
        with cut_after(connection, self._profile.database_deadline_s):
            lock = await connection.execute(
                "SELECT pg_try_advisory_lock(hashtext('outbox relay'), hashtext(%s)) AS held",
                (self._settings.service,),
            )
            row = await lock.fetchone()
        return bool(row and row["held"])

    async def _fetch(self, connection: Connection) -> list[Row]:
        with cut_after(connection, self._profile.database_deadline_s):
            rows = await connection.execute(self._unsent, (self._profile.relay_batch,))
            return await rows.fetchall()

    async def _woken(self, connection: Connection) -> None:
        """Wait for a notification, but no longer than a poll: a notification may be missed, a row may not."""
        async with aclosing(connection.notifies(timeout=self._profile.relay_poll_s, stop_after=1)) as wakes:
            async for _ in wakes:
                pass

    async def _send(self, connection: Connection, rows: list[Row]) -> bool:
        """Whether all of them are gone. What is not taken holds up the later events of its entity, and no others."""
        stuck: set[tuple[str, str]] = set()
        for whole in _waves(rows):
            wave = [row for row in whole if _entity(row) not in stuck]
            if not wave:
                continue
            sent = await self._publish(wave)
            with cut_after(connection, self._profile.database_deadline_s):
                await connection.execute(self._mark_sent, (sent,))
            for event_id in sent:
                del self._attempts[event_id]
            stuck |= {_entity(row) for row in wave if row["event_id"] not in sent}
            if stuck and not self._publisher.ready:
                return False
        return not stuck

    async def _publish(self, rows: list[Row]) -> list[str]:
        """The ids of those that the broker confirmed."""
        spans = [new_span() for _ in rows]
        messages = [_message(self._settings.service, row, span_id) for row, span_id in zip(rows, spans, strict=True)]
        outcomes = await self._publisher.publish_all(messages)
        for row, span_id, outcome in zip(rows, spans, outcomes, strict=True):
            self._log(row, span_id, outcome)
        return [row["event_id"] for row, outcome in zip(rows, outcomes, strict=True) if outcome.confirmed]

    def _log(self, row: Row, span_id: str, outcome: Outcome) -> None:
        self._attempts[row["event_id"]] += 1
        context = Context(
            correlation_id=row["correlation_id"],
            event_id=row["event_id"],
            causation_id=row["causation_id"],
            entity_type=row["entity_type"],
            entity_id=row["entity_id"],
            span_id=span_id,
            parent_span_id=row["span_id"],
        )
        with correlation.using(context):
            logs.line(
                "event.published",
                outcome.status,
                level="info" if outcome.confirmed else "warning",
                event_type=row["event_type"],
                routing_key=row["event_type"],
                attempt=self._attempts[row["event_id"]],
                confirm_ms=outcome.confirm_ms,
            )
        metrics.count("events.published", status=outcome.status)


@asynccontextmanager
async def relaying(settings: Settings, publisher: Publisher) -> AsyncIterator[None]:
    """A relay at work; at the end it finishes its batch, within the time that a batch may take."""
    relay = Relay(settings, publisher)
    async with background(publisher.link.run()), background(relay.run()) as task:
        try:
            yield
        finally:
            relay.stop()
            await asyncio.wait({task}, timeout=2 * settings.profile.confirm_timeout_s)


def _waves(rows: list[Row]) -> Iterator[list[Row]]:
    """Cut a batch so that no entity is in flight twice: its next event cannot overtake an unconfirmed one."""
    wave: list[Row] = []
    in_flight: set[tuple[str, str]] = set()
    for row in rows:
        if _entity(row) in in_flight:
            yield wave
            wave, in_flight = [], set()
        wave.append(row)
        in_flight.add(_entity(row))
    yield wave


def _entity(row: Row) -> tuple[str, str]:
    return row["entity_type"], row["entity_id"]


def _message(service: str, row: Row, span_id: str) -> Message:
    properties = pika.BasicProperties(
        message_id=row["event_id"],
        correlation_id=row["correlation_id"],
        type=row["event_type"],
        app_id=service,
        delivery_mode=2,
        content_type="application/json",
        timestamp=int(time.time()),
        headers={
            "causation_id": row["causation_id"],
            "schema_version": SCHEMA_VERSION,
            "attempt": 1,
            "span_id": span_id,
        },
    )
    return Message(EXCHANGE, row["event_type"], row["envelope"].encode(), properties)
