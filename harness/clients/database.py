"""The database as the harness sees it: a superuser's look at the rows, and the clean slate between scenarios."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from harness.clients.kept import Kept
from harness.environment.waiting import eventually
from harness.evidence.records import Rows, Schema
from harness.target import Target

_COLUMNS = """
SELECT attrelid::regclass::text AS "table", attname::text AS "column", format_type(atttypid, NULL) AS type
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped AND relnamespace IN (
    SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema') ORDER BY 1, attnum"""
_UNIQUE = """
SELECT indrelid::regclass::text AS "table",
    ARRAY(SELECT pg_get_indexdef(indexrelid, key, true) FROM generate_series(1, indnkeyatts) AS key) AS keys
FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
WHERE indisunique AND indisvalid AND indpred IS NULL AND relkind IN ('r', 'p') AND relnamespace IN (
    SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema') ORDER BY 1, 2"""

_WRITES = "-c default_transaction_read_only=off"
"""The harness goes on writing where a fault lets nobody else."""
_LONGEST_LOCK = "30s"
_WITHIN_S = 5


class Database:
    """Connects past every proxy, so that no fault of ours reaches the evidence. Close it after use."""

    def __init__(self, dsn: str, target: Target) -> None:
        self._dsn = dsn
        self._target = target
        self._kept = Kept(partial(self._connect, autocommit=True), fit=_answers, close=psycopg.Connection.close)

    def close(self) -> None:
        self._kept.close()

    def _connect(self, *, autocommit: bool = False) -> psycopg.Connection[dict[str, Any]]:
        return psycopg.connect(
            self._dsn, row_factory=dict_row, connect_timeout=_WITHIN_S, options=_WRITES, autocommit=autocommit
        )

    @contextmanager
    def _snapshot(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """A transaction that sees one moment, whatever is committed meanwhile."""
        with self._kept.lent() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.transaction():
                yield connection

    def rows(self) -> Rows:
        """What the target's queries tell, in one snapshot. Raises msgspec.ValidationError for a column amiss."""
        with self._snapshot() as connection:
            found = {name: connection.execute(query.encode()).fetchall() for name, query in self._target.rows.items()}
        return msgspec.convert(found, Rows)

    def schema(self) -> Schema:
        """What the catalogue says of every table that is not the server's own, in one snapshot."""
        with self._snapshot() as connection:
            found = {
                "columns": connection.execute(_COLUMNS).fetchall(),
                "unique": connection.execute(_UNIQUE).fetchall(),
            }
        return msgspec.convert(found, Schema)

    def unsent_events(self) -> int:
        """Outbox rows that no relay has published yet."""
        return self._count("outbox", "NOT sent")

    @contextmanager
    def backlog(self) -> Iterator[Callable[[], tuple[int, float]]]:
        """For the duration of the block, yields a question: how many outbox rows are unsent, and the oldest's age in
        seconds?"""
        query = self._target.database.backlog.encode()
        with self._connect(autocommit=True) as connection:

            def ask() -> tuple[int, float]:
                row = connection.execute(query).fetchone() or {}
                return int(row["unsent"]), float(row["oldest_s"])

            yield ask

    def undelivered_alerts(self) -> int:
        """Alerts that are still to be sent."""
        return self._count("alerts", "NOT delivered")

    def _count(self, rows: str, condition: str) -> int:
        with self._kept.lent() as connection:
            query = f"SELECT count(*) AS found FROM ({self._target.rows[rows]}) AS {rows} WHERE {condition}"
            row = connection.execute(query.encode()).fetchone()
        return int(row["found"]) if row else 0

    def add_rule(
        self,
        rule_id: str,
        event_type: str,
        to_stage: str | None,
        action: str,
        parameters: dict[str, Any],
        *,
        enabled: bool = True,
    ) -> None:
        """One more rule of the system, until the next clean slate."""
        with self._kept.lent() as connection:
            statement = self._target.database.add_rule.encode()
            connection.execute(statement, (rule_id, event_type, to_stage, action, Jsonb(parameters), enabled))

    @contextmanager
    def holding(self, advisory_lock: int) -> Iterator[None]:
        """Hold a lock that means only what its takers agree on, for the duration of the block."""
        with self._connect() as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (advisory_lock,))
            yield

    @contextmanager
    def locking(self, statement: str) -> Iterator[Callable[[], int]]:
        """Hold the locks that a statement takes, for the duration of the block (30 s at most).

        Yields a question: how many sessions wait for them right now?
        """
        with self._connect() as connection:
            connection.execute(f"SET idle_in_transaction_session_timeout = '{_LONGEST_LOCK}'".encode())
            connection.execute(statement.encode())
            yield partial(self._waiting_for, connection.info.backend_pid)
            connection.rollback()

    def _waiting_for(self, pid: int) -> int:
        return self._number(
            "SELECT count(*) AS found FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid))", pid
        )

    def terminate(self, roles: Sequence[str]) -> list[bool]:
        """End all sessions of these roles. For each that there was: whether it was in a transaction."""
        with self._kept.lent() as connection:
            ended = connection.execute(
                "SELECT xact_start IS NOT NULL AS busy, pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
                " WHERE usename = ANY(%s) AND backend_type = 'client backend'",
                (list(roles),),
            ).fetchall()
        return [bool(row["busy"]) for row in ended]

    def set_read_only(self, on: bool) -> None:
        """Let transactions be read-only unless they say otherwise, those of sessions that are there too. Verified."""
        change = "SET default_transaction_read_only = on" if on else "RESET default_transaction_read_only"
        with self._connect() as connection:
            connection.autocommit = True
            connection.execute(f"ALTER SYSTEM {change}".encode())
            connection.execute("SELECT pg_reload_conf()")
        eventually(lambda: self._is_read_only() is on, within_s=5, describe=f"new sessions to be read-only: {on}")

    def _is_read_only(self) -> bool:
        with psycopg.connect(self._dsn, connect_timeout=_WITHIN_S) as connection:
            return connection.execute("SHOW default_transaction_read_only").fetchone() == ("on",)

    def in_transaction(self, role: str) -> int:
        """Sessions of this role that are within a transaction right now."""
        return self._number(
            "SELECT count(*) AS found FROM pg_stat_activity WHERE usename = %s AND xact_start IS NOT NULL", role
        )

    def waiting_for_locks(self, role: str) -> int:
        """Sessions of this role that wait for a lock right now, whoever holds it."""
        return self._number(
            "SELECT count(*) AS found FROM pg_stat_activity WHERE usename = %s AND wait_event_type = 'Lock'", role
        )

    def committing(self) -> int:
        """Sessions whose COMMIT is under way right now."""
        return self._number(
            "SELECT count(*) AS found FROM pg_stat_activity WHERE state = 'active' AND query ILIKE 'commit%%'"
        )

    def _number(self, query: LiteralString, *values: object) -> int:
        with self._kept.lent() as connection:
            row = connection.execute(query, values).fetchone()
        return int(row["found"]) if row else 0

    def execute(self, statement: str) -> None:
        """Run one statement as superuser: for faults."""
        with self._kept.lent() as connection:
            connection.execute(statement.encode())

    def clean_slate(self) -> None:
        """Empty the target's transient tables. Only for a system at rest: there must be nothing left to lose."""
        spec = self._target.database
        self.execute(f"TRUNCATE {', '.join(spec.transient)} RESTART IDENTITY CASCADE; {spec.restore}")


def _answers(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server takes a question on it. A server that stands still takes none: nobody shall wait for that."""
    try:
        connection.pgconn.send_query(b"")
        answered, _, _ = select.select([connection.pgconn.socket], [], [], _WITHIN_S)
        while answered and connection.pgconn.get_result() is not None:
            pass
    except psycopg.Error:
        return False
    return bool(answered) and connection.pgconn.status == psycopg.pq.ConnStatus.OK
