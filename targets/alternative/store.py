"""PostgreSQL by asyncpg: connections that have proved to live, and every statement of the service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from targets.alternative import log
from targets.alternative.events import Event, Letter
from targets.alternative.failures import Unavailable
from targets.alternative.settings import Settings

Row = Any
_ALERTS = UUID("0d4c2a7e-9f0b-5c53-8d0e-6a1f4a9b7c22")
_CONNECTIONS = 12
_FRESH_S, _ANSWER_S = 0.1, 0.7
_PASSING = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection whose server has said that it ends, and which has not ended yet
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    when_in: str | None
    action: str
    arguments: dict[str, Any]

    def matches(self, event: Event) -> bool:
        return self.when_in is None or event.payload.get("to_stage") == self.when_in


@dataclass(frozen=True, slots=True)
class Claim:
    """``state``: ours, done (by somebody, once) or held (by somebody, for now)."""

    state: str
    id: str
    tries: int


class Store:
    """Every method raises Unavailable where a later try may find it better. None of them repeats anything."""

    def __init__(self, settings: Settings) -> None:
        numbers = settings.numbers
        self._url, self._holder, self._deadline_s = settings.database_url, settings.instance, numbers.database_s
        self._connect_s, self._lease_s = numbers.connect_s, numbers.lease_s
        self._session = {
            "application_name": settings.instance,
            "timezone": "UTC",
            "lock_timeout": str(numbers.lock_ms),
            "statement_timeout": str(numbers.statement_ms),
            "idle_in_transaction_session_timeout": "10000",
        }
        self._free: list[tuple[float, Any]] = []
        self._slots = asyncio.Semaphore(_CONNECTIONS)

    # --- connections -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Any]:
        """A connection. Whatever goes wrong with it, it is thrown away: nobody has to know in which state it is."""
        connection = None
        try:
            async with asyncio.timeout(self._deadline_s):
                connection = await self._taken()
                yield connection
        except _PASSING as error:
            if isinstance(error, ValueError):  # asyncpg's word for an argument of ours that is none
                raise
            raise Unavailable(log.describe(error)) from error
        else:
            self._free.append((asyncio.get_running_loop().time(), connection))
            connection = None
        finally:
            if connection is not None:
                connection.terminate()

    async def _taken(self) -> Any:
        loop = asyncio.get_running_loop()
        while self._free:
            since, connection = self._free.pop()
            if connection.is_closed():
                continue
            if loop.time() - since < _FRESH_S or await _answers(connection):
                return connection
            self._forget()  # where one is dead, the others are
        return await asyncpg.connect(self._url, timeout=self._connect_s, ssl=False, server_settings=self._session)

    def _forget(self) -> None:
        while self._free:
            self._free.pop()[1].terminate()

    async def close(self) -> None:
        for _, connection in self._free:
            try:
                await connection.close(timeout=1)
            except _PASSING:
                connection.terminate()

    @asynccontextmanager
    async def _work(self) -> AsyncIterator[Any]:
        """A transaction. It is committed when the block has ended well."""
        async with self._slots, self._lent() as connection:
            await connection.execute("BEGIN")
            yield connection
            await connection.execute("COMMIT")

    async def _one(self, query: str, *values: object) -> Row:
        async with self._slots, self._lent() as connection:
            return await connection.fetchrow(query, *values)

    async def probe(self) -> None:
        """Raises Unavailable unless it answers and may be written to. It waits for no slot: busy is not down."""
        async with self._lent() as connection:
            read_only = await connection.fetchval("SELECT current_setting('transaction_read_only')::bool")
        if read_only:
            raise Unavailable("it can only be read")

    # --- events and rules --------------------------------------------------------------------------------------

    async def rules_for(self, event: Event) -> list[Rule] | None:
        """The rules to look at, or None if the event has been handled to its end."""
        async with self._slots, self._lent() as connection:
            if await connection.fetchval("SELECT 1 FROM flow.handled WHERE event_id = $1", event.event_id):
                return None
            rows = await connection.fetch(
                "SELECT name, when_in, action, arguments::text FROM flow.rule WHERE trigger = $1 AND active"
                " ORDER BY name",
                event.event_type,
            )
        return [_rule(row) for row in rows]

    async def rule(self, name: str) -> Rule:
        query = "SELECT name, when_in, action, arguments::text FROM flow.rule WHERE name = $1"
        return _rule(await self._one(query, name))

    async def finish(self, event: Event, delivery_id: str) -> tuple[bool, list[Row]]:
        """The event is done with: whether by this delivery, and the timers that this event has ended.

        Asked again it answers the same, for the answer to a COMMIT may be lost.
        """
        async with self._work() as connection:
            ended = []
            if event.of_a_stage:
                ended = await connection.fetch(
                    "UPDATE flow.timer SET state = 'cancelled', act_at = NULL, ended_by = $4 WHERE kind = $1"
                    " AND entity = $2 AND (state = 'waiting' AND version < $3 OR ended_by = $4) RETURNING *",
                    *(event.entity_type, event.entity_id, event.entity_version, delivery_id),
                )
            finisher = await connection.fetchval(
                "INSERT INTO flow.handled AS h (event_id, event_type, flow_id, delivery_id) VALUES ($1, $2, $3, $4)"
                " ON CONFLICT (event_id) DO UPDATE SET delivery_id = h.delivery_id RETURNING delivery_id::text",
                *(event.event_id, event.event_type, event.correlation_id, delivery_id),
            )
        return finisher == delivery_id, ended

    # --- runs: a rule runs once for an entity in its lifetime ----------------------------------------------------

    async def claim(self, rule: Rule, event: Event) -> Claim:
        """A run that is new, broken, ours or left behind by somebody dead becomes ours."""
        async with self._work() as connection:
            row = await connection.fetchrow(
                "INSERT INTO flow.run AS r (id, rule, kind, entity, event_id, flow_id, state, holder, held_until)"
                " VALUES ($1, $2, $3, $4, $5, $6, 'claimed', $7, clock_timestamp() + make_interval(secs => $8))"
                " ON CONFLICT (rule, kind, entity) DO UPDATE SET state = 'claimed', holder = excluded.holder,"
                " held_until = excluded.held_until, tries = r.tries + 1"
                " WHERE r.state = 'broken' OR r.state = 'claimed'"
                " AND (r.holder = excluded.holder OR r.held_until < clock_timestamp())"
                " RETURNING id::text, tries",
                *(uuid4(), rule.name, event.entity_type, event.entity_id, event.event_id, event.correlation_id),
                *(self._holder, self._lease_s),
            )
            if row is not None:
                return Claim("ours", row["id"], row["tries"])
            row = await connection.fetchrow(
                "SELECT id::text, state, tries FROM flow.run WHERE rule = $1 AND kind = $2 AND entity = $3",
                *(rule.name, event.entity_type, event.entity_id),
            )
        return Claim("done" if row["state"] == "done" else "held", row["id"], row["tries"])

    async def choose(self, run_id: str, candidates: Sequence[str]) -> str:
        """The next of them in turn; whoever was chosen once for this run stays it."""
        row = await self._one(
            "UPDATE flow.run SET chosen = coalesce(chosen, ($2::uuid[])[1 + nextval('flow.turn') % $3])"
            " WHERE id = $1 RETURNING chosen::text",
            *(run_id, list(candidates), len(candidates)),
        )
        return str(row["chosen"])

    async def succeed(self, run_id: str) -> bool:
        """False, if somebody has taken it over. Asked again it answers the same."""
        row = await self._one(
            "UPDATE flow.run SET state = 'done', error = NULL WHERE id = $1 AND holder = $2 AND state <> 'broken'"
            " RETURNING id",
            *(run_id, self._holder),
        )
        return row is not None

    async def fail(self, run_id: str, error: str) -> None:
        await self._one(
            "UPDATE flow.run SET state = 'broken', error = $3 WHERE id = $1 AND holder = $2 AND state = 'claimed'",
            *(run_id, self._holder, error),
        )

    # --- timers --------------------------------------------------------------------------------------------------

    async def set_timer(
        self, timer_id: str, rule: Rule, event: Event, sla_s: float, replays: int, span_id: str
    ) -> Row | None:
        """The timer, if it is this one that is set now. One whose event died is tried again by its replay."""
        after_s = rule.arguments.get("after_ms", sla_s * 1000) / 1000
        async with self._work() as connection:
            row = await connection.fetchrow(
                "INSERT INTO flow.timer AS t (id, rule, kind, entity, version, event_id, event, span_id, replays,"
                " due_at, act_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,"
                " clock_timestamp() + make_interval(secs => $10), clock_timestamp() + make_interval(secs => $10))"
                " ON CONFLICT (rule, event_id) DO UPDATE SET replays = excluded.replays,"
                " tries = CASE WHEN t.act_at IS NULL THEN 0 ELSE t.tries END,"
                " act_at = CASE WHEN t.act_at IS NULL AND t.state <> 'cancelled'"
                " THEN clock_timestamp() ELSE t.act_at END RETURNING *",
                *(timer_id, rule.name, event.entity_type, event.entity_id, event.entity_version, event.event_id),
                *(event.model_dump_json(), span_id, replays, float(after_s)),
            )
        return row if str(row["id"]) == timer_id else None

    async def end_timer(self, timer_id: UUID, state: str, by: str) -> bool:
        """A waiting timer fires or is cancelled, once. Asked again by the same it answers the same."""
        row = await self._one(
            "UPDATE flow.timer SET state = $2, ended_by = $3 WHERE id = $1 AND (state = 'waiting' OR ended_by = $3)"
            " RETURNING id",
            *(timer_id, state, by),
        )
        return row is not None

    async def bury_timer(self, row: Row) -> None:
        """Its event is a dead letter now, so it is not done with: a replay has to be handled."""
        async with self._work() as connection:
            await connection.execute("DELETE FROM flow.handled WHERE event_id = $1", row["event_id"])
            await connection.execute("UPDATE flow.timer SET act_at = NULL WHERE id = $1", row["id"])

    # --- alerts, and whatever else is due ------------------------------------------------------------------------

    async def raise_alert(self, letter: Letter, reason: str) -> None:
        """Once for a dead letter; one that dies again after a replay is another one."""
        flow = log.flow()
        await self._one(
            "INSERT INTO flow.alert (id, event_id, flow_id, kind, entity, span_id, reason)"
            " VALUES (md5($1)::uuid, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
            f"{_ALERTS} {flow.event_id or flow.correlation_id} {letter.replays}",
            *(flow.event_id, flow.correlation_id, flow.entity_type, flow.entity_id, flow.span_id, reason),
        )

    async def take_due(self, table: str) -> Row | None:
        """What is due comes up again by itself when its lease is over, unless somebody has said otherwise."""
        return await self._one(
            f"UPDATE flow.{table} SET act_at = clock_timestamp() + make_interval(secs => $1) WHERE id = ("
            f"SELECT id FROM flow.{table} WHERE act_at <= clock_timestamp() ORDER BY act_at LIMIT 1"
            " FOR UPDATE SKIP LOCKED) RETURNING *",
            self._lease_s,
        )

    async def later(self, table: str, row: Row, delay_s: float) -> None:
        await self._one(
            f"UPDATE flow.{table} SET tries = $3, act_at = clock_timestamp() + make_interval(secs => $2) WHERE id = $1",
            *(row["id"], float(delay_s), row["tries"] + 1),
        )

    async def done(self, table: str, row: Row) -> None:
        await self._one(f"UPDATE flow.{table} SET act_at = NULL WHERE id = $1", row["id"])


async def _answers(connection: Any) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_S):
            await connection.fetchval("SELECT 1")
    except _PASSING:
        connection.terminate()
        return False
    except BaseException:
        connection.terminate()
        raise
    return True


def _rule(row: Row) -> Rule:
    return Rule(row["name"], row["when_in"], row["action"], json.loads(row["arguments"]))
