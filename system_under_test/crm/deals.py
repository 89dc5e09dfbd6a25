"""Deals: a lead has at most one."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Query
from starlette.routing import BaseRoute

from system_under_test.service_kit import outbox
from system_under_test.service_kit.clock import rfc3339
from system_under_test.service_kit.database import Database, Work
from system_under_test.service_kit.openapi import refusals
from system_under_test.service_kit.outbox import Change
from system_under_test.service_kit.problems import Problem
from system_under_test.service_kit.requests import After, Body, Id, Limit, Moment, Page, Text, View, page


class NewDeal(Body):
    lead_id: Id
    title: Text = "New deal"


class Deal(View):
    id: UUID
    lead_id: UUID
    title: str
    version: int
    created_at: Moment


class Deals:
    def __init__(self, database: Database) -> None:
        self._database = database

    def routes(self) -> list[BaseRoute]:
        router = APIRouter()
        router.add_api_route(
            "/deals",
            self.create,
            methods=["POST"],
            status_code=201,
            response_model=Deal,
            responses=refusals(404, 409),
        )
        router.add_api_route("/deals", self.list, methods=["GET"], response_model=Page[Deal])
        router.add_api_route(
            "/deals/{deal_id}", self.get, methods=["GET"], response_model=Deal, responses=refusals(404)
        )
        return router.routes

    async def create(self, deal: NewDeal) -> dict[str, object]:
        return await self._database.run(lambda work: _insert(work, deal))

    async def get(self, deal_id: UUID) -> dict[str, object]:
        async def find(work: Work) -> dict[str, Any] | None:
            return await work.one("SELECT * FROM crm.deals WHERE id = %s", deal_id)

        row = await self._database.read(find)
        if row is None:
            raise Problem(404, "deal-unknown", "there is no such deal")
        return _shown(row)

    async def list(
        self, lead_id: Annotated[UUID | None, Query()] = None, limit: Limit = 50, after: After = None
    ) -> dict[str, object]:
        async def find(work: Work) -> list[dict[str, Any]]:
            return await work.all(
                "SELECT * FROM crm.deals WHERE (%s::uuid IS NULL OR lead_id = %s)"
                " AND (%s::uuid IS NULL OR id > %s) ORDER BY id LIMIT %s",
                lead_id,
                lead_id,
                after,
                after,
                limit,
            )

        return page([_shown(row) for row in await self._database.read(find)], limit)


async def _insert(work: Work, deal: NewDeal) -> dict[str, object]:
    """Only the constraint knows whether the lead has its deal; any other conflict is an error."""
    row = await work.one(
        "INSERT INTO crm.deals (id, lead_id, title) SELECT %s, id, %s FROM crm.leads WHERE id = %s"
        " ON CONFLICT ON CONSTRAINT deals_lead_id_key DO NOTHING RETURNING *",
        uuid4(),
        deal.title,
        deal.lead_id,
    )
    if row is None:
        raise await _refusal(work, deal)
    change = Change(
        table="crm.deals",
        event_type="deal.created",
        entity_type="deal",
        entity_id=row["id"],
        entity_version=row["version"],
        payload={"lead_id": str(row["lead_id"])},
    )
    await outbox.store(work, "crm", change)
    return _shown(row)


async def _refusal(work: Work, deal: NewDeal) -> Problem:
    existing = await work.one("SELECT id FROM crm.deals WHERE lead_id = %s", deal.lead_id)
    if existing is None:
        return Problem(404, "lead-unknown", "there is no such lead")
    return Problem(409, "deal-exists", "this lead has its deal", existing_id=str(existing["id"]))


def _shown(row: dict[str, Any]) -> dict[str, object]:
    return {
        **row,
        "id": str(row["id"]),
        "lead_id": str(row["lead_id"]),
        "created_at": rfc3339(row["created_at"]),
    }
