"""Leads: no two with one external id, no two with one e-mail address whatever its case."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from fastapi import APIRouter
from starlette.routing import BaseRoute

from system_under_test.service_kit import outbox
from system_under_test.service_kit.clock import rfc3339
from system_under_test.service_kit.database import Database, Work
from system_under_test.service_kit.openapi import refusals
from system_under_test.service_kit.outbox import Change
from system_under_test.service_kit.problems import Problem
from system_under_test.service_kit.requests import (
    After,
    Body,
    Email,
    Id,
    Limit,
    Moment,
    Page,
    Text,
    Version,
    View,
    page,
)


class NewLead(Body):
    name: Text
    email: Email
    external_id: Text | None = None
    phone: Text | None = None


class LeadChange(Body):
    """What is absent or null stays as it is."""

    expected_version: Version | None = None
    name: Text | None = None
    phone: Text | None = None
    owner_id: Id | None = None


class Lead(View):
    id: UUID
    external_id: str | None
    name: str
    email: str
    phone: str | None
    owner_id: UUID | None
    version: int
    created_at: Moment
    updated_at: Moment


class ChangedLead(Lead):
    changed: bool


class Leads:
    def __init__(self, database: Database) -> None:
        self._database = database

    def routes(self) -> list[BaseRoute]:
        router = APIRouter()
        router.add_api_route(
            "/leads", self.create, methods=["POST"], status_code=201, response_model=Lead, responses=refusals(409)
        )
        router.add_api_route("/leads", self.list, methods=["GET"], response_model=Page[Lead])
        router.add_api_route(
            "/leads/{lead_id}", self.get, methods=["GET"], response_model=Lead, responses=refusals(404)
        )
        router.add_api_route(
            "/leads/{lead_id}",
            self.change,
            methods=["PATCH"],
            response_model=ChangedLead,
            responses=refusals(404, 409),
        )
        return router.routes

    async def create(self, lead: NewLead) -> dict[str, object]:
        return await self._database.run(lambda work: _insert(work, lead))

    async def get(self, lead_id: UUID) -> dict[str, object]:
        async def find(work: Work) -> dict[str, Any] | None:
            return await work.one("SELECT * FROM crm.leads WHERE id = %s", lead_id)

        row = await self._database.read(find)
        if row is None:
            raise Problem(404, "lead-unknown", "there is no such lead")
        return _shown(row)

    async def change(self, lead_id: UUID, change: LeadChange) -> dict[str, object]:
        return await self._database.run(lambda work: _update(work, lead_id, change))

    async def list(self, limit: Limit = 50, after: After = None) -> dict[str, object]:
        async def find(work: Work) -> list[dict[str, Any]]:
            return await work.all(
                "SELECT * FROM crm.leads WHERE %s::uuid IS NULL OR id > %s ORDER BY id LIMIT %s",
                after,
                after,
                limit,
            )

        return page([_shown(row) for row in await self._database.read(find)], limit)


async def _insert(work: Work, lead: NewLead) -> dict[str, object]:
    """The constraints decide what is a duplicate; looking first would let two callers through at once."""
    row = await work.one(
        "INSERT INTO crm.leads (id, external_id, name, email, phone) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING RETURNING *",
        uuid4(),
        lead.external_id,
        lead.name,
        lead.email,
        lead.phone,
    )
    if row is None:
        raise await _duplicate(work, lead)
    change = Change(
        table="crm.leads",
        event_type="lead.created",
        entity_type="lead",
        entity_id=row["id"],
        entity_version=row["version"],
    )
    await outbox.store(work, "crm", change)
    return _shown(row)


async def _update(work: Work, lead_id: UUID, change: LeadChange) -> dict[str, object]:
    """Lock, compare the version, then the values; only what differs is written, and it makes one event."""
    row = await work.one("SELECT * FROM crm.leads WHERE id = %s FOR UPDATE", lead_id)
    if row is None:
        raise Problem(404, "lead-unknown", "there is no such lead")
    if change.expected_version not in (None, row["version"]):
        raise Problem(409, "stale-version", "the lead has changed since", current_version=row["version"])
    wanted = change.model_dump(exclude={"expected_version"}, exclude_none=True)
    changed = {name: value for name, value in wanted.items() if row[name] != value}
    if not changed:
        return {**_shown(row), "changed": False}
    if "owner_id" in changed and not await work.one("SELECT id FROM crm.users WHERE id = %s", change.owner_id):
        raise Problem(409, "user-unknown", "there is no such user to own it")
    after = {**row, **changed}
    updated = await work.one(
        "UPDATE crm.leads SET name = %s, phone = %s, owner_id = %s, version = version + 1,"
        " updated_at = clock_timestamp() WHERE id = %s RETURNING *",
        after["name"],
        after["phone"],
        after["owner_id"],
        lead_id,
    )
    assert updated is not None
    await outbox.store(work, "crm", _event_of(changed, updated))
    return {**_shown(updated), "changed": True}


def _event_of(changed: dict[str, Any], row: dict[str, Any]) -> Change:
    """Names of fields, never their values: those are personal data."""
    payload: dict[str, Any] = {"changed": sorted(changed)}
    if "owner_id" in changed:
        payload["owner_id"] = str(row["owner_id"])
    return Change(
        table="crm.leads",
        event_type="lead.assigned" if "owner_id" in changed else "lead.updated",
        entity_type="lead",
        entity_id=row["id"],
        entity_version=row["version"],
        payload=payload,
    )


async def _duplicate(work: Work, lead: NewLead) -> Problem:
    existing = await work.one(
        "SELECT id, external_id IS NOT DISTINCT FROM %s AND external_id IS NOT NULL AS same_external_id"
        " FROM crm.leads WHERE external_id = %s OR lower(email) = lower(%s)"
        " ORDER BY same_external_id DESC LIMIT 1",
        lead.external_id,
        lead.external_id,
        lead.email,
    )
    if existing is None:
        raise LookupError("a lead conflicts with one that cannot be found")
    conflict = "external_id" if existing["same_external_id"] else "email"
    return Problem(
        409,
        "lead-exists",
        f"a lead with this {conflict} exists",
        conflict=conflict,
        existing_id=str(existing["id"]),
    )


def _shown(row: dict[str, Any]) -> dict[str, object]:
    times = {"created_at": rfc3339(row["created_at"]), "updated_at": rfc3339(row["updated_at"])}
    owner_id = row["owner_id"] and str(row["owner_id"])
    return {**row, "id": str(row["id"]), "owner_id": owner_id, **times}
