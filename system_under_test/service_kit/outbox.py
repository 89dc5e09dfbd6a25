"""The outbox: an event is stored in the transaction of its change, so that neither exists alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal
from uuid import UUID, uuid4

import msgspec
from psycopg import sql

from system_under_test.service_kit import correlation, logs, metrics
from system_under_test.service_kit.clock import now
from system_under_test.service_kit.database import Work
from system_under_test.service_kit.envelope import SCHEMA_VERSION, Envelope

# The notification is heard after the commit; the id tells how a COMMIT went whose answer was lost.
_STORE = sql.SQL(
    "WITH stored AS (INSERT INTO {}.outbox (event_id, event_type, entity_type, entity_id, entity_version,"
    " correlation_id, causation_id, span_id, envelope) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s))"
    " SELECT pg_notify(%s, ''), pg_current_xact_id()::text AS transaction_id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of one row that the world is to hear of."""

    table: str
    event_type: str
    entity_type: Literal["lead", "deal"]
    entity_id: UUID
    entity_version: int
    from_stage: str | None = None
    to_stage: str | None = None
    payload: dict[str, Any] = field(default_factory=dict)


@cache
def _statement(service: str) -> bytes:
    return _STORE.format(sql.Identifier(service)).as_bytes()


async def store(work: Work, service: str, change: Change) -> None:
    """Store the event of a change. Its id is made here and nowhere else."""
    context = correlation.current()
    event = Envelope(
        event_id=uuid4(),
        event_type=change.event_type,
        schema_version=SCHEMA_VERSION,
        occurred_at=now(),
        correlation_id=UUID(context.correlation_id),
        causation_id=UUID(context.causation_id) if context.causation_id else None,
        entity_type=change.entity_type,
        entity_id=change.entity_id,
        entity_version=change.entity_version,
        source=service,
        hop_count=context.hop_count,
        payload=change.payload,
    )
    stored = await work.one(
        _statement(service),
        event.event_id,
        event.event_type,
        event.entity_type,
        event.entity_id,
        event.entity_version,
        event.correlation_id,
        event.causation_id,
        context.span_id,
        msgspec.json.encode(event).decode(),
        wake_channel(service),
    )
    assert stored is not None
    work.transaction_id = stored["transaction_id"]
    work.once_committed(lambda: _announce(change, event))


def wake_channel(service: str) -> str:
    return f"{service}_outbox"


def _announce(change: Change, event: Envelope) -> None:
    about = replace(
        correlation.current(),
        event_id=str(event.event_id),
        entity_type=change.entity_type,
        entity_id=str(change.entity_id),
    )
    with correlation.using(about):
        logs.line(
            "change.committed",
            "committed",
            table=change.table,
            entity_version=change.entity_version,
            from_stage=change.from_stage,
            to_stage=change.to_stage,
        )
        logs.line("event.stored", "pending", event_type=change.event_type)
    metrics.count("events.stored")
