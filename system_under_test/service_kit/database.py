"""PostgreSQL: a pool that gets over restarts, transactions with a deadline, and what "unavailable" means."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, LiteralString, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from system_under_test.service_kit.clock import Backoff
from system_under_test.service_kit.settings import Settings

T = TypeVar("T")
Connection = psycopg.AsyncConnection[DictRow]

UNAVAILABLE = (
    psycopg.OperationalError,  # also: pool, lock and statement time-outs
    psycopg.InterfaceError,
    errors.IdleInTransactionSessionTimeout,
    errors.ReadOnlySqlTransaction,  # the server is a replica for now, or saves its last space
)
_AGAIN = (errors.SerializationFailure, errors.DeadlockDetected)
_TRIES = 3
_COMMITTED, _IN_PROGRESS, _SILENCE = "committed", "in progress", "silence"
_FRESH_S = 0.1  # so long a connection that has answered need not prove again that it lives


@contextmanager
def cut_after(connection: Connection, seconds: float) -> Iterator[None]:
    """Shut the socket down when time is up, so that every wait on it fails at once.

    Cancelling would not do: psycopg answers a cancelled wait by asking the server to stop, over the network
    that stalls.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _cut, connection)
    try:
        yield
    finally:
        timer.cancel()


def _cut(connection: Connection) -> None:
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)


def conninfo(settings: Settings, **session: str | int) -> str:
    profile = settings.profile
    parameters = {
        "statement_timeout": profile.statement_timeout_ms,
        "lock_timeout": profile.lock_timeout_ms,
        "idle_in_transaction_session_timeout": profile.idle_in_transaction_timeout_ms,
        "timezone": "UTC",
        **session,
    }
    return make_conninfo(
        settings.database_url,
        application_name=settings.instance,
        connect_timeout=max(1, round(profile.database_connect_timeout_s)),
        options=" ".join(f"-c {name}={value}" for name, value in parameters.items()),
        keepalives=1,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=profile.tcp_user_timeout_ms,
    )


async def connect(settings: Settings, **session: str | int) -> Connection:
    """A connection of one's own, outside the pool."""
    try:
        async with asyncio.timeout(settings.profile.database_connect_timeout_s):
            return await psycopg.AsyncConnection.connect(
                conninfo(settings, **session), autocommit=True, row_factory=dict_row
            )
    except TimeoutError:
        raise errors.ConnectionTimeout("no connection to the database in time") from None


class Work:
    """A transaction in hand, and what to write down as soon as it is committed."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.is_complete = False  # all but the COMMIT is done
        self.transaction_id: str | None = None
        self._afterwards: list[Callable[[], None]] = []

    def once_committed(self, write: Callable[[], None]) -> None:
        self._afterwards.append(write)

    def committed(self) -> None:
        for write in self._afterwards:
            write()

    async def learn_id(self) -> None:
        """Ask for our own id, by which the server tells how a COMMIT went whose answer was lost."""
        row = await self.one("SELECT pg_current_xact_id()::text AS id")
        self.transaction_id = row["id"] if row else None

    async def one(self, query: LiteralString | bytes, *values: object) -> dict[str, Any] | None:
        return await (await self.connection.execute(query, values)).fetchone()

    async def all(self, query: LiteralString, *values: object) -> list[dict[str, Any]]:
        return await (await self.connection.execute(query, values)).fetchall()


class Database:
    def __init__(self, settings: Settings) -> None:
        self._settings, self._profile = settings, settings.profile
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            conninfo(settings),
            kwargs={"autocommit": True, "row_factory": dict_row},
            min_size=1,
            max_size=self._profile.pool_size,
            reconnect_timeout=0,  # give up at once; the next request tries again, however long the outage was
            name=settings.service,
            open=False,
        )
        self._answered_at: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()
        self._spare: Connection | None = None
        self._asking = asyncio.Lock()
        self._open_questions: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Database]:
        await self._pool.open(wait=False)
        try:
            yield self
        finally:
            if self._open_questions:
                await asyncio.wait(self._open_questions, timeout=1)
            await self._pool.close(timeout=1)
            if self._spare is not None:
                await self._spare.close()

    async def read(self, work: Callable[[Work], Awaitable[T]]) -> T:
        """Look something up. Each query stands alone: no transaction, two round trips less."""
        async with self._checked_out() as connection:
            with cut_after(connection, self._profile.database_deadline_s):
                return await work(Work(connection))

    async def run(self, work: Callable[[Work], Awaitable[T]]) -> T:
        """Do the work in one transaction; again, when the server says that only the moment was bad."""
        for tries_left in reversed(range(_TRIES)):
            try:
                return await self._once(work)
            except _AGAIN:
                if not tries_left:
                    raise
                await asyncio.sleep(random.uniform(0.05, 0.25))
        raise AssertionError("unreachable")

    async def _once(self, work: Callable[[Work], Awaitable[T]]) -> T:
        async with self._checked_out() as connection:
            with cut_after(connection, self._profile.database_deadline_s):
                unit = Work(connection)
                try:
                    async with connection.transaction():
                        result = await work(unit)
                        unit.is_complete = True
                except UNAVAILABLE:
                    if not (unit.is_complete and await self._was_committed(unit)):
                        raise
                unit.committed()
                return result

    async def _was_committed(self, unit: Work) -> bool:
        """The answer to COMMIT was lost. The server knows how it went, and tells it to another session."""
        if unit.transaction_id is None:
            return False
        for _ in range(_TRIES):
            if (status := await self._status(unit)) == _SILENCE:
                break
            if status != _IN_PROGRESS:
                return status == _COMMITTED
            await asyncio.sleep(random.uniform(0.05, 0.25))
        task = asyncio.get_running_loop().create_task(self._find_out(unit))
        self._open_questions.add(task)
        task.add_done_callback(self._open_questions.discard)
        return False

    async def _find_out(self, unit: Work) -> None:
        """Whoever asked is told that it is not known. What was committed is written down all the same, once it is."""
        backoff = Backoff(self._profile.reconnect_first_s, self._profile.reconnect_most_s)
        while (status := await self._status(unit)) in (_SILENCE, _IN_PROGRESS):
            await asyncio.sleep(backoff.next_s())
        if status == _COMMITTED:
            unit.committed()

    async def _status(self, unit: Work) -> str | None:
        """How the server says that the transaction went; nothing of one that it has forgotten."""
        question = sql.SQL("SELECT pg_xact_status({}::xid8) AS status").format(sql.Literal(unit.transaction_id))
        try:
            status: str | None = (await self.ask(question))["status"]
        except UNAVAILABLE:
            return _SILENCE
        return status

    @asynccontextmanager
    async def _checked_out(self) -> AsyncIterator[Connection]:
        """A connection that has just answered: what a restart or a cut left behind is thrown out here."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._profile.pool_acquire_s
        while True:
            connection = await self._pool.getconn(timeout=max(0.01, give_up - loop.time()))
            try:
                fresh = loop.time() - self._answered_at.get(connection, 0) < _FRESH_S
                if fresh or await self._answers(connection):
                    yield connection
                    self._answered_at[connection] = loop.time()
                    return
            finally:
                await self._pool.putconn(connection)

    async def _answers(self, connection: Connection) -> bool:
        try:
            with cut_after(connection, self._profile.answer_timeout_s):
                await connection.execute("")
        except UNAVAILABLE:
            return False
        return True

    async def ask(self, question: LiteralString | sql.Composed) -> dict[str, Any]:
        """One row over a connection kept for this, so that a busy pool is not taken for a dead server."""
        async with self._asking:
            if self._spare is not None and not await self._answers(self._spare):
                await self._spare.close()
                self._spare = None
            if self._spare is None:
                self._spare = await connect(self._settings)
            with cut_after(self._spare, self._profile.answer_timeout_s):
                row = await (await self._spare.execute(question)).fetchone()
            return row or {}
