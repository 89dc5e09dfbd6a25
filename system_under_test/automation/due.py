"""Work that waits in a table until it is due. Taking it pushes its moment on by a lease, in one statement.

So two replicas never take the same, and what a crash leaves behind comes up again by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

from psycopg import sql

from system_under_test.automation.dependencies import Abandoned, Hold
from system_under_test.service_kit import logs
from system_under_test.service_kit.clock import pause
from system_under_test.service_kit.database import Database, Work
from system_under_test.service_kit.runtime import background
from system_under_test.service_kit.settings import Profile

Row = dict[str, Any]

_TAKE = sql.SQL(
    "UPDATE {0} SET act_at = clock_timestamp() + make_interval(secs => %s) WHERE id = (SELECT id FROM {0}"
    " WHERE act_at <= clock_timestamp() ORDER BY act_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING *"
)
_LATER = sql.SQL(
    "UPDATE {} SET attempts = attempts + 1, act_at = clock_timestamp() + make_interval(secs => %s) WHERE id = %s"
)
_DONE = sql.SQL("UPDATE {} SET act_at = NULL WHERE id = %s")


class Due:
    def __init__(self, table: str, database: Database, hold: Hold, stopping: asyncio.Event, profile: Profile) -> None:
        self._table = sql.Identifier("automation", table)
        self._database, self._hold, self._stopping, self._profile = database, hold, stopping, profile
        self._in_hand: set[UUID] = set()

    async def work_off(self, do: Callable[[Row], Awaitable[None]]) -> None:
        """A few at a time, for ever."""
        slots = asyncio.Semaphore(self._profile.due_workers)
        async with asyncio.TaskGroup() as tasks:
            with suppress(Abandoned):
                while not self._stopping.is_set():
                    async with slots:
                        row = await self._hold.through(lambda: self._database.read(self._take))
                    if row is None:
                        await pause(self._profile.due_poll_s, unless=self._stopping)
                    elif row["id"] not in self._in_hand:  # it may take us longer than its lease
                        await slots.acquire()
                        tasks.create_task(self._attend(row, do)).add_done_callback(lambda _: slots.release())

    async def _attend(self, row: Row, do: Callable[[Row], Awaitable[None]]) -> None:
        self._in_hand.add(row["id"])
        try:
            await do(row)
        except Abandoned:
            pass
        except Exception as error:  # it comes up again when its lease is over
            logs.library("due", f"left for later: {logs.describe(error)}", level="error")
        finally:
            self._in_hand.discard(row["id"])

    async def _take(self, work: Work) -> Row | None:
        """One statement, which is a transaction of its own."""
        cursor = await work.connection.execute(_TAKE.format(self._table), (self._profile.lease_s,))
        return await cursor.fetchone()

    async def later(self, row: Row, delay_s: float) -> None:
        await self._write(_LATER.format(self._table), delay_s, row["id"])

    async def done(self, row: Row) -> None:
        await self._write(_DONE.format(self._table), row["id"])

    async def _write(self, statement: sql.Composed, *values: object) -> None:
        async def write(work: Work) -> None:
            await work.connection.execute(statement, values)

        await self._hold.through(lambda: self._database.run(write))


@asynccontextmanager
async def finishing(work: Coroutine[Any, Any, None], profile: Profile) -> AsyncIterator[None]:
    """Such work in the background; at the end, what is in hand may be finished."""
    async with background(work) as task:
        yield
        await asyncio.wait({task}, timeout=profile.handler_deadline_s)
