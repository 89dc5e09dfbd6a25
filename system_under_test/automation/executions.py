"""Executions: a rule fires once for an entity in its lifetime, and a crash in between loses nothing.

The row is claimed before the action and says how far it got. Only `succeeded` means done; `started` means
that somebody works on it as long as the lease lives, and that somebody died on it after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from system_under_test.automation.rules import Rule
from system_under_test.service_kit.database import Work
from system_under_test.service_kit.envelope import Envelope


@dataclass(frozen=True, slots=True)
class Claim:
    state: Literal["ours", "done", "busy"]
    execution_id: UUID
    attempts: int


async def claim(work: Work, rule: Rule, event: Envelope, owner: str, lease_s: float) -> Claim:
    row = await work.one(
        "INSERT INTO automation.automation_executions (id, rule_id, entity_type, entity_id, trigger_event_id,"
        " status, lease_owner, lease_expires_at, attempts, correlation_id)"
        " VALUES (%s, %s, %s, %s, %s, 'started', %s, clock_timestamp() + make_interval(secs => %s), 1, %s)"
        " ON CONFLICT ON CONSTRAINT automation_executions_once DO NOTHING RETURNING id",
        uuid4(),
        rule.id,
        event.entity_type,
        event.entity_id,
        event.event_id,
        owner,
        lease_s,
        event.correlation_id,
    )
    if row is not None:
        return Claim("ours", row["id"], 1)
    return await _claim_existing(work, rule, event, owner, lease_s)


async def _claim_existing(work: Work, rule: Rule, event: Envelope, owner: str, lease_s: float) -> Claim:
    row = await work.one(
        "SELECT id, status, attempts,"
        " lease_owner <> %s AND lease_expires_at > clock_timestamp() AS leased_to_another"
        " FROM automation.automation_executions"
        " WHERE rule_id = %s AND entity_type = %s AND entity_id = %s FOR UPDATE",
        owner,
        rule.id,
        event.entity_type,
        event.entity_id,
    )
    if row is None:
        raise LookupError("an execution conflicts with one that cannot be found")
    if row["status"] == "succeeded":
        return Claim("done", row["id"], row["attempts"])
    if row["status"] == "started" and row["leased_to_another"]:
        return Claim("busy", row["id"], row["attempts"])
    await work.connection.execute(
        "UPDATE automation.automation_executions SET status = 'started', lease_owner = %s,"
        " lease_expires_at = clock_timestamp() + make_interval(secs => %s), attempts = attempts + 1,"
        " updated_at = clock_timestamp() WHERE id = %s",
        (owner, lease_s, row["id"]),
    )
    return Claim("ours", row["id"], row["attempts"] + 1)


async def choose(work: Work, execution_id: UUID, candidates: Sequence[str]) -> str:
    """The next of them in turn. Once chosen, it stays: a second try must not give the same work to another."""
    row = await work.one(
        "UPDATE automation.automation_executions SET chosen_id ="
        " coalesce(chosen_id, (%s::uuid[])[1 + nextval('automation.turns') %% %s]) WHERE id = %s RETURNING chosen_id",
        list(candidates),
        len(candidates),
        execution_id,
    )
    assert row is not None
    return str(row["chosen_id"])


async def succeed(work: Work, execution_id: UUID, owner: str, result: dict[str, Any]) -> bool:
    """False, if it was taken over in the meantime."""
    updated = await work.connection.execute(
        "UPDATE automation.automation_executions SET status = 'succeeded', result = %s, last_error = NULL,"
        " updated_at = clock_timestamp() WHERE id = %s AND lease_owner = %s AND status = 'started'",
        (Jsonb(result), execution_id, owner),
    )
    return updated.rowcount == 1


async def fail(work: Work, execution_id: UUID, owner: str, error: str) -> None:
    await work.connection.execute(
        "UPDATE automation.automation_executions SET status = 'failed', last_error = %s,"
        " updated_at = clock_timestamp() WHERE id = %s AND lease_owner = %s AND status = 'started'",
        (error, execution_id, owner),
    )
