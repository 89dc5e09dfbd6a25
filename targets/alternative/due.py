"""Timers and alerts: rows that wait until they are due, taken by a lease, so that a crash brings them up again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

from aiormq import spec

from targets.alternative import log
from targets.alternative.actions import Reach, stage_route
from targets.alternative.dependencies import Hold, pause
from targets.alternative.events import Event, Letter
from targets.alternative.failures import PASSING, Abandoned, NonRetryable, PeerTrouble
from targets.alternative.handling import Handling, in_flow_of, say_of_timer
from targets.alternative.settings import Settings
from targets.alternative.store import Row, Store
from targets.alternative.worker import Cemetery


async def work_off(
    table: str, do: Callable[[Row], Awaitable[None]], store: Store, hold: Hold, stopping: asyncio.Event, of: Settings
) -> None:
    """A few at a time, until the service stops; what is in hand then is finished."""
    slots, in_hand = asyncio.Semaphore(of.numbers.due_workers), set[Any]()

    async def attend(row: Row) -> None:
        in_hand.add(row["id"])
        try:
            await do(row)
        except Abandoned:
            pass
        except Exception as error:  # it comes up again when its lease is over
            log.note("due", f"left for later: {log.describe(error)}", level="error")
        finally:
            in_hand.discard(row["id"])
            slots.release()

    async with asyncio.TaskGroup() as tasks:
        with suppress(Abandoned):
            while not stopping.is_set():
                await slots.acquire()
                try:
                    row = await hold.through(partial(store.take_due, table))
                except BaseException:
                    slots.release()
                    raise
                if row is not None and row["id"] not in in_hand:  # it may take us longer than its lease
                    tasks.create_task(attend(row))
                    continue
                slots.release()
                if row is None:
                    await pause(of.numbers.due_poll_s, unless=stopping)


class Timers:
    def __init__(
        self, store: Store, hold: Hold, handling: Handling, reach: Reach, cemetery: Cemetery, settings: Settings
    ) -> None:
        self._store, self._hold, self._handling, self._reach = store, hold, handling, reach
        self._cemetery, self._numbers = cemetery, settings.numbers

    async def attend(self, row: Row) -> None:
        event, flow = in_flow_of(row)
        with log.within(flow):
            try:
                if await self._fires(row, event):
                    rule = await self._hold.through(partial(self._store.rule, row["rule"]))
                    await self._hold.through(partial(self._handling.run, rule, event, row["tries"] + 1))
                await self._hold.through(partial(self._store.done, "timer", row))
            except Abandoned:
                raise
            except Exception as error:
                await self._failed(row, event, error)

    async def _fires(self, row: Row, event: Event) -> bool:
        """The stage is looked at again: it fires only if nothing has moved since."""
        if row["state"] != "waiting":
            return bool(row["state"] == "fired")
        moved = await self._hold.through(partial(self._has_moved, event))
        verdict, by = ("cancelled" if moved else "fired"), str(uuid4())
        if await self._hold.through(partial(self._store.end_timer, row["id"], verdict, by)):
            say_of_timer(verdict, row)
            return verdict == "fired"
        return False

    async def _has_moved(self, event: Event) -> bool:
        status, seen = await self._reach.pipeline.ask("GET", stage_route(event), 1, entity=event.entity_id)
        if status != 200:
            raise NonRetryable(f"pipeline answers {status} when asked for the stage")
        return bool(seen["version"] != event.entity_version)

    async def _failed(self, row: Row, event: Event, error: Exception) -> None:
        """The same delays as on the ladder; then the event that set the timer is the dead letter."""
        delays_ms, tries = self._numbers.retry_delays_ms, row["tries"] + 1
        if isinstance(error, PASSING) and tries < self._numbers.max_attempts:
            asked_ms = getattr(error, "retry_after_s", 0) * 1000
            delay_ms = next((delay for delay in delays_ms[tries - 1 :] if delay >= asked_ms), delays_ms[-1])
            await self._hold.through(partial(self._store.later, "timer", row, delay_ms / 1000))
        elif await self._cemetery.bury(_letter(row, event, tries), error):
            await self._hold.through(partial(self._store.bury_timer, row))


def _letter(row: Row, event: Event, attempt: int) -> Letter:
    """The trigger's event, as its relay would send it."""
    headers = {
        "causation_id": event.causation_id,
        "schema_version": event.schema_version,
        "attempt": attempt,
        "replays": row["replays"],
        "span_id": row["span_id"],
    }
    properties = spec.Basic.Properties(
        message_id=event.event_id,
        correlation_id=event.correlation_id,
        message_type=event.event_type,
        app_id=event.source,
        content_type="application/json",
        headers=headers,
    )
    return Letter(properties, row["event"].encode())


class Alerts:
    def __init__(self, store: Store, hold: Hold, reach: Reach, settings: Settings) -> None:
        self._store, self._hold, self._reach, self._settings = store, hold, reach, settings

    async def attend(self, row: Row) -> None:
        names = {"event_id": "event_id", "flow_id": "correlation_id", "kind": "entity_type", "entity": "entity_id"}
        said: dict[str, Any] = {name: row[column] and str(row[column]) for column, name in names.items()}
        more = {"alert_id": str(row["id"]), "reason": row["reason"], "raised_at": log.rfc3339(row["raised_at"])}
        body, key, numbers = json.dumps(said | more).encode(), str(row["id"]), self._settings.numbers
        with log.within(log.Flow(**said, span_id=log.new_span(), parent_span_id=row["span_id"])):
            try:
                await self._reach.webhook.post(self._settings.alert_url, body, key, row["tries"] + 1)
            except (PeerTrouble, NonRetryable) as trouble:
                log.note("alerts", f"not delivered yet: {log.describe(trouble)}")
                delay_s = min(numbers.alert_most_s, numbers.alert_first_s * 2 ** min(row["tries"], 16))
                await self._hold.through(partial(self._store.later, "alert", row, delay_s))
            else:
                await self._hold.through(partial(self._store.done, "alert", row))
