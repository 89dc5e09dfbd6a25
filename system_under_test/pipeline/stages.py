"""Stages of leads and deals. Each change is one version, one row of history and one event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter
from starlette.routing import BaseRoute

from system_under_test.service_kit import correlation, outbox
from system_under_test.service_kit.access import Caller
from system_under_test.service_kit.calls import Peer, PeerTrouble
from system_under_test.service_kit.clock import rfc3339
from system_under_test.service_kit.database import Database, Work
from system_under_test.service_kit.health import Dependency
from system_under_test.service_kit.openapi import refusals
from system_under_test.service_kit.outbox import Change
from system_under_test.service_kit.problems import Problem, unavailable
from system_under_test.service_kit.requests import Body, Moment, Version, View
from system_under_test.service_kit.settings import Identity

T = TypeVar("T")
Stage = Literal[
    "new", "contacted", "engaged", "nurturing", "qualified", "discovery", "demo",
    "proposal", "negotiation", "contracting", "on_hold", "won", "lost",
]  # fmt: skip
FIRST: Stage = "new"
TERMINAL = frozenset({"won", "lost"})
Source = Literal["manual", "system", "automation"]


class StageRequest(Body):
    stage: Stage
    expected_version: Version | None = None


class _Named(View):
    entity_type: Literal["lead", "deal"]
    entity_id: UUID


class StageView(_Named):
    stage: Stage
    version: int
    updated_at: Moment


class Moved(_Named):
    stage: Stage
    from_stage: Stage
    version: int
    changed: bool
    changed_at: Moment | None


class Step(View):
    version: int
    from_stage: Stage
    to_stage: Stage
    source: Source
    correlation_id: UUID
    causation_id: UUID | None
    changed_at: Moment


class History(_Named):
    items: list[Step]


@dataclass(frozen=True, slots=True)
class Entity:
    type: Literal["lead", "deal"]
    id: UUID


class Stages:
    def __init__(self, database: Database, crm: Peer, crm_health: Dependency) -> None:
        self._database, self._crm, self._crm_health = database, crm, crm_health

    def routes(self) -> list[BaseRoute]:
        router = APIRouter()
        for path, change, stage, history in (
            ("/leads/{lead_id}", self.change_lead, self.lead_stage, self.lead_history),
            ("/deals/{deal_id}", self.change_deal, self.deal_stage, self.deal_history),
        ):
            add = router.add_api_route
            add(f"{path}/stage", change, methods=["PATCH"], response_model=Moved, responses=refusals(404, 409))
            add(f"{path}/stage", stage, methods=["GET"], response_model=StageView, responses=refusals(404))
            add(f"{path}/history", history, methods=["GET"], response_model=History, responses=refusals(404))
        return router.routes

    async def change_lead(self, lead_id: UUID, request: StageRequest, caller: Caller) -> dict[str, object]:
        return await self._change(Entity("lead", lead_id), request, caller)

    async def change_deal(self, deal_id: UUID, request: StageRequest, caller: Caller) -> dict[str, object]:
        return await self._change(Entity("deal", deal_id), request, caller)

    async def lead_stage(self, lead_id: UUID) -> dict[str, object]:
        return await self._known(Entity("lead", lead_id), _stage)

    async def deal_stage(self, deal_id: UUID) -> dict[str, object]:
        return await self._known(Entity("deal", deal_id), _stage)

    async def lead_history(self, lead_id: UUID) -> dict[str, object]:
        return await self._known(Entity("lead", lead_id), _history)

    async def deal_history(self, deal_id: UUID) -> dict[str, object]:
        return await self._known(Entity("deal", deal_id), _history)

    async def _change(self, entity: Entity, request: StageRequest, caller: Identity) -> dict[str, object]:
        source = source_of(caller)
        return await self._known(entity, lambda work, entity: _move(work, entity, request, source))

    async def _known(self, entity: Entity, do: Callable[[Work, Entity], Awaitable[T | None]]) -> T:
        """Do it; if we have not met the entity, meet it and do it again."""
        done = await self._database.run(lambda work: do(work, entity))
        if done is None:
            await self._meet(entity)
            done = await self._database.run(lambda work: do(work, entity))
        if done is None:
            raise LookupError(f"{entity} is gone although nothing deletes it")
        return done

    async def _meet(self, entity: Entity) -> None:
        """Ask crm outside of any transaction: no row stays locked while another service takes its time."""
        try:
            route = f"/{entity.type}s/{{{entity.type}_id}}"
            status, _ = await self._crm.request("GET", route, path={f"{entity.type}_id": entity.id})
        except PeerTrouble as trouble:
            await self._crm_health.check()  # so that this answer and the readiness answer agree
            raise unavailable("crm, which knows whether this exists, is not available") from trouble
        if status == 404:
            raise Problem(404, f"{entity.type}-unknown", f"there is no such {entity.type}")
        if status != 200:
            raise unavailable(f"crm answers {status} when asked for this {entity.type}")

        async def insert(work: Work) -> None:
            await work.connection.execute(
                "INSERT INTO pipeline.stages (entity_type, entity_id, stage, version) VALUES (%s, %s, %s, 0)"
                " ON CONFLICT DO NOTHING",
                (entity.type, entity.id, FIRST),
            )

        await self._database.run(insert)


def source_of(caller: Identity) -> Source:
    """Who moved it is decided by the credentials, never by what a body claims."""
    if caller.role == "user":
        return "manual"
    return "automation" if caller.role == "service" and caller.name == "automation" else "system"


async def _move(work: Work, entity: Entity, request: StageRequest, source: Source) -> dict[str, object] | None:
    """Lock, compare the version, then the stage; only then write."""
    row = await work.one(
        "SELECT stage, version FROM pipeline.stages WHERE entity_type = %s AND entity_id = %s FOR UPDATE",
        entity.type,
        entity.id,
    )
    if row is None:
        return None
    if request.expected_version is not None and request.expected_version != row["version"]:
        raise Problem(
            409,
            "stale-version",
            "the stage has changed since that version",
            current_version=row["version"],
            current_stage=row["stage"],
        )
    if request.stage == row["stage"]:
        return _answer(entity, row["stage"], row["stage"], row["version"], None)
    if row["stage"] in TERMINAL:
        raise Problem(409, "terminal-stage", f"{row['stage']} is final", current_stage=row["stage"])
    changed_at = await _write(work, entity, row, request.stage, source)
    return _answer(entity, row["stage"], request.stage, row["version"] + 1, changed_at)


async def _write(work: Work, entity: Entity, before: dict[str, Any], to_stage: Stage, source: Source) -> str:
    from_stage, version = before["stage"], before["version"] + 1
    context = correlation.current()
    history = await work.one(
        "WITH moved AS (UPDATE pipeline.stages SET stage = %s, version = %s, updated_at = clock_timestamp()"
        " WHERE entity_type = %s AND entity_id = %s RETURNING entity_type, entity_id, version, stage)"
        " INSERT INTO pipeline.stage_history"
        " (entity_type, entity_id, version, from_stage, to_stage, source, correlation_id, causation_id)"
        " SELECT entity_type, entity_id, version, %s, stage, %s, %s, %s FROM moved RETURNING changed_at",
        to_stage,
        version,
        entity.type,
        entity.id,
        from_stage,
        source,
        context.correlation_id,
        context.causation_id,
    )
    change = Change(
        table="pipeline.stages",
        event_type=f"{entity.type}.stage.changed",
        entity_type=entity.type,
        entity_id=entity.id,
        entity_version=version,
        from_stage=from_stage,
        to_stage=to_stage,
        payload={"from_stage": from_stage, "to_stage": to_stage, "source": source},
    )
    await outbox.store(work, "pipeline", change)
    assert history is not None
    return rfc3339(history["changed_at"])


async def _stage(work: Work, entity: Entity) -> dict[str, object] | None:
    row = await work.one(
        "SELECT stage, version, updated_at FROM pipeline.stages WHERE entity_type = %s AND entity_id = %s",
        entity.type,
        entity.id,
    )
    if row is None:
        return None
    return {**_named(entity), **row, "updated_at": rfc3339(row["updated_at"])}


async def _history(work: Work, entity: Entity) -> dict[str, object] | None:
    if await _stage(work, entity) is None:
        return None
    rows = await work.all(
        "SELECT version, from_stage, to_stage, source, correlation_id, causation_id, changed_at"
        " FROM pipeline.stage_history WHERE entity_type = %s AND entity_id = %s ORDER BY version",
        entity.type,
        entity.id,
    )
    return {**_named(entity), "items": [{**row, "changed_at": rfc3339(row["changed_at"])} for row in rows]}


def _answer(entity: Entity, from_stage: str, stage: str, version: int, changed_at: str | None) -> dict[str, object]:
    outcome = {"stage": stage, "from_stage": from_stage, "version": version}
    return {**_named(entity), **outcome, "changed": changed_at is not None, "changed_at": changed_at}


def _named(entity: Entity) -> dict[str, object]:
    return {"entity_type": entity.type, "entity_id": str(entity.id)}
