"""The database as the harness sees it: a superuser's look at the rows, and the clean slate between scenarios."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from harness.evidence.records import Rows
from harness.target import Target


class Database:
    """Connects for each use, past every proxy, so that no fault of ours reaches the evidence."""

    def __init__(self, dsn: str, target: Target) -> None:
        self._dsn = dsn
        self._target = target

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        with psycopg.connect(self._dsn, row_factory=dict_row, connect_timeout=5) as connection:
            yield connection

    def rows(self) -> Rows:
        """What the target's queries tell, in one snapshot. Raises msgspec.ValidationError for a column amiss."""
        with self._connection() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            found = {name: connection.execute(query.encode()).fetchall() for name, query in self._target.rows.items()}
        return msgspec.convert(found, Rows)

    def unsent_events(self) -> int:
        """Outbox rows that no relay has published yet."""
        return self._count("outbox", "NOT sent")

    def undelivered_alerts(self) -> int:
        """Alerts that are still to be sent."""
        return self._count("alerts", "NOT delivered")

    def _count(self, rows: str, condition: str) -> int:
        with self._connection() as connection:
            query = f"SELECT count(*) AS found FROM ({self._target.rows[rows]}) AS {rows} WHERE {condition}"
            row = connection.execute(query.encode()).fetchone()
        return int(row["found"]) if row else 0

    def add_rule(
        self, rule_id: str, event_type: str, to_stage: str | None, action: str, parameters: dict[str, Any]
    ) -> None:
        """One more rule of the system, until the next clean slate."""
        with self._connection() as connection:
            statement = self._target.database.add_rule.encode()
            connection.execute(statement, (rule_id, event_type, to_stage, action, Jsonb(parameters)))

    def execute(self, statement: str) -> None:
        """Run one statement as superuser: for faults."""
        with self._connection() as connection:
            connection.execute(statement.encode())

    def clean_slate(self) -> None:
        """Empty the target's transient tables. Only for a system at rest: there must be nothing left to lose."""
        spec = self._target.database
        self.execute(f"TRUNCATE {', '.join(spec.transient)} RESTART IDENTITY CASCADE; {spec.restore}")
