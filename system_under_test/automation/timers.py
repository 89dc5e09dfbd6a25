"""Timers: a rule that waits. Whoever enters a stage sets one, whoever leaves it in time cancels it.

When one is due, the stage is looked at again. It fires only if nothing has moved since, and from then on its
action is tried until it succeeds, as often as a delivery would be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Literal
from uuid import uuid4

import msgspec
import pika

from system_under_test.automation import retries
from system_under_test.automation.burial import Burial
from system_under_test.automation.delivery import Letter
from system_under_test.automation.dependencies import Abandoned, Hold
from system_under_test.automation.due import Due, Row
from system_under_test.automation.retries import DeadLetter, NonRetryable, Retry
from system_under_test.automation.rules import Rule
from system_under_test.service_kit import correlation, envelope, logs
from system_under_test.service_kit.calls import Peer
from system_under_test.service_kit.clock import rfc3339
from system_under_test.service_kit.correlation import new_span
from system_under_test.service_kit.database import Database, Work
from system_under_test.service_kit.envelope import SCHEMA_VERSION, Envelope
from system_under_test.service_kit.settings import Profile

Execute = Callable[[Rule, Envelope, int], Awaitable[None]]


async def schedule(work: Work, rule: Rule, event: Envelope, sla_s: float, replays: int) -> None:
    """A replayed dead letter finds its timer, which is then tried at once, from the first attempt on."""
    await work.learn_id()
    after_s = rule.parameters.get("after_ms", sla_s * 1000) / 1000
    row = await work.one(
        "INSERT INTO automation.timers AS timer (id, rule_id, entity_type, entity_id, entity_version,"
        " trigger_event_id, envelope, span_id, replays, due_at, act_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s,"
        " clock_timestamp() + make_interval(secs => %s), clock_timestamp() + make_interval(secs => %s))"
        " ON CONFLICT ON CONSTRAINT timers_once DO UPDATE SET attempts = 0, replays = excluded.replays,"
        " act_at = clock_timestamp() WHERE timer.act_at IS NULL AND timer.status <> 'cancelled'"
        " RETURNING *, xmax = 0 AS is_new",
        *(uuid4(), rule.id, event.entity_type, event.entity_id, event.entity_version, event.event_id),
        *(msgspec.json.encode(event).decode(), correlation.current().span_id, replays, after_s, after_s),
    )
    if row is not None and row["is_new"]:
        work.once_committed(partial(_say, "scheduled", row))


async def cancel_left(work: Work, event: Envelope) -> None:
    """Any later change of the stage has left the stage that a timer waits in."""
    rows = await work.all(
        "UPDATE automation.timers SET status = 'cancelled', act_at = NULL WHERE entity_type = %s AND entity_id = %s"
        " AND status = 'pending' AND entity_version < %s RETURNING *",
        *(event.entity_type, event.entity_id, event.entity_version),
    )
    if rows:
        await work.learn_id()
    for row in rows:
        work.once_committed(partial(_say, "cancelled", row))


class Timers:
    def __init__(
        self,
        due: Due,
        database: Database,
        pipeline: Peer,
        hold: Hold,
        execute: Execute,
        burial: Burial,
        profile: Profile,
    ) -> None:
        self._due, self._database, self._pipeline, self._hold = due, database, pipeline, hold
        self._execute, self._burial, self._profile = execute, burial, profile

    async def run(self) -> None:
        await self._due.work_off(self._attend)

    async def _attend(self, row: Row) -> None:
        event = envelope.decode(msgspec.json.encode(row["envelope"]))
        with _in_its_flow(row, event):
            try:
                if await self._fires(row, event):
                    await self._act(row, event)
                await self._due.done(row)
            except Abandoned:
                raise
            except Exception as error:
                await self._failed(row, event, error)

    async def _fires(self, row: Row, event: Envelope) -> bool:
        """Look at the stage again, and decide once: pending becomes fired or cancelled, and the log says which."""
        if row["status"] != "pending":
            return bool(row["status"] == "fired")
        verdict: Literal["fired", "cancelled"] = "cancelled"
        if await self._hold.through(lambda: self._still_there(event)):
            verdict = "fired"

        async def decide(work: Work) -> bool:
            await work.learn_id()
            decided = await work.connection.execute(
                "UPDATE automation.timers SET status = %s WHERE id = %s AND status = 'pending'", (verdict, row["id"])
            )
            if decided.rowcount:
                work.once_committed(partial(_say, verdict, row))
            return bool(decided.rowcount)

        return await self._hold.through(lambda: self._database.run(decide)) and verdict == "fired"

    async def _still_there(self, event: Envelope) -> bool:
        kind = event.entity_type
        path = {f"{kind}_id": event.entity_id}
        status, seen = await self._pipeline.request("GET", f"/{kind}s/{{{kind}_id}}/stage", path=path)
        if status != 200:
            raise NonRetryable(f"pipeline answers {status} when asked for the stage")
        return bool(seen["version"] == event.entity_version)

    async def _act(self, row: Row, event: Envelope) -> None:
        rule = await self._hold.through(lambda: self._database.read(lambda work: _rule(work, row["rule_id"])))
        await self._hold.through(lambda: self._execute(rule, event, row["attempts"] + 1))

    async def _failed(self, row: Row, event: Envelope, error: Exception) -> None:
        match retries.verdict_on(error, row["attempts"] + 1, self._profile):
            case Retry(rung):
                await self._due.later(row, self._profile.retry_delays_ms[rung - 1] / 1000)
            case DeadLetter() as verdict:
                if await self._burial.bury(_letter(row, event), verdict):
                    await self._hold.through(lambda: self._database.run(lambda work: _reopen(work, row)))


async def _rule(work: Work, rule_id: str) -> Rule:
    row = await work.one("SELECT id, to_stage, action, parameters FROM automation.rules WHERE id = %s", rule_id)
    assert row is not None
    return Rule(**row)


async def _reopen(work: Work, row: Row) -> None:
    """Its event is a dead letter now, so it is not done with: a replay has to be handled."""
    await work.connection.execute(
        "DELETE FROM automation.processed_events WHERE event_id = %s", (row["trigger_event_id"],)
    )
    await work.connection.execute("UPDATE automation.timers SET act_at = NULL WHERE id = %s", (row["id"],))


def _letter(row: Row, event: Envelope) -> Letter:
    """The trigger's event, as the relay would send it."""
    properties = pika.BasicProperties(
        message_id=str(event.event_id),
        correlation_id=str(event.correlation_id),
        type=event.event_type,
        app_id=event.source,
        delivery_mode=2,
        content_type="application/json",
        headers={
            "causation_id": str(event.causation_id) if event.causation_id else None,
            "schema_version": SCHEMA_VERSION,
            "attempt": row["attempts"] + 1,
            "replays": row["replays"],
            "span_id": row["span_id"],
        },
    )
    return Letter(properties, msgspec.json.encode(event))


def _in_its_flow(row: Row, event: Envelope) -> AbstractContextManager[object]:
    return correlation.using(
        correlation.Context(
            correlation_id=str(event.correlation_id),
            event_id=str(event.event_id),
            causation_id=str(event.causation_id) if event.causation_id else None,
            entity_type=event.entity_type,
            entity_id=str(event.entity_id),
            span_id=new_span(),
            parent_span_id=row["span_id"],
            hop_count=event.hop_count,
        )
    )


def _say(status: Literal["scheduled", "fired", "cancelled"], row: Row) -> None:
    """In the flow of the event that set the timer, whoever ended it."""
    event = envelope.decode(msgspec.json.encode(row["envelope"]))
    with _in_its_flow(row, event):
        logs.line(
            f"timer.{status}",
            status,
            causation_id=str(event.event_id),
            rule_id=row["rule_id"],
            due_at=rfc3339(row["due_at"]),
        )
