"""Users: who owns leads. Agents take them, managers are called when they wait too long."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Query
from starlette.routing import BaseRoute

from system_under_test.service_kit import logs
from system_under_test.service_kit.access import only
from system_under_test.service_kit.clock import rfc3339
from system_under_test.service_kit.database import Database, Work
from system_under_test.service_kit.openapi import refusals
from system_under_test.service_kit.problems import Problem
from system_under_test.service_kit.requests import After, Body, Email, Limit, Moment, Page, Text, View, page

UserRole = Literal["agent", "manager"]


class NewUser(Body):
    name: Text
    email: Email
    role: UserRole


class UserChange(Body):
    active: bool


class User(View):
    id: UUID
    name: str
    email: str
    role: UserRole
    active: bool
    version: int
    created_at: Moment


class ChangedUser(User):
    changed: bool


class Users:
    def __init__(self, database: Database) -> None:
        self._database = database

    def routes(self) -> list[BaseRoute]:
        router, operator = APIRouter(), [Depends(only("operator"))]
        router.add_api_route(
            "/users",
            self.create,
            methods=["POST"],
            status_code=201,
            response_model=User,
            responses=refusals(403, 409),
            dependencies=operator,
        )
        router.add_api_route("/users", self.list, methods=["GET"], response_model=Page[User])
        router.add_api_route(
            "/users/{user_id}", self.get, methods=["GET"], response_model=User, responses=refusals(404)
        )
        router.add_api_route(
            "/users/{user_id}",
            self.change,
            methods=["PATCH"],
            response_model=ChangedUser,
            responses=refusals(403, 404),
            dependencies=operator,
        )
        return router.routes

    async def create(self, user: NewUser) -> dict[str, object]:
        return await self._database.run(lambda work: _insert(work, user))

    async def get(self, user_id: UUID) -> dict[str, object]:
        async def find(work: Work) -> dict[str, Any] | None:
            return await work.one("SELECT * FROM crm.users WHERE id = %s", user_id)

        return _shown(_known(await self._database.read(find)))

    async def change(self, user_id: UUID, change: UserChange) -> dict[str, object]:
        return await self._database.run(lambda work: _update(work, user_id, change))

    async def list(
        self,
        role: Annotated[UserRole | None, Query()] = None,
        active: Annotated[bool | None, Query()] = None,
        limit: Limit = 50,
        after: After = None,
    ) -> dict[str, object]:
        async def find(work: Work) -> list[dict[str, Any]]:
            return await work.all(
                "SELECT * FROM crm.users WHERE (%s::text IS NULL OR role = %s) AND (%s::boolean IS NULL OR active = %s)"
                " AND (%s::uuid IS NULL OR id > %s) ORDER BY id LIMIT %s",
                *(role, role, active, active, after, after, limit),
            )

        return page([_shown(row) for row in await self._database.read(find)], limit)


async def _insert(work: Work, user: NewUser) -> dict[str, object]:
    row = await work.one(
        "INSERT INTO crm.users (id, name, email, role) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING *",
        *(uuid4(), user.name, user.email, user.role),
    )
    if row is None:
        raise Problem(409, "user-exists", "a user with this email exists", conflict="email")
    work.once_committed(partial(_announce, row))
    return _shown(row)


async def _update(work: Work, user_id: UUID, change: UserChange) -> dict[str, object]:
    row = _known(await work.one("SELECT * FROM crm.users WHERE id = %s FOR UPDATE", user_id))
    if row["active"] == change.active:
        return {**_shown(row), "changed": False}
    row = _known(
        await work.one(
            "UPDATE crm.users SET active = %s, version = version + 1 WHERE id = %s RETURNING *", change.active, user_id
        )
    )
    work.once_committed(partial(_announce, row))
    return {**_shown(row), "changed": True}


def _announce(row: dict[str, Any]) -> None:
    """Nobody subscribes to users: their changes are logged and make no event."""
    logs.line(
        "change.committed",
        "committed",
        entity_type="user",
        entity_id=str(row["id"]),
        table="crm.users",
        entity_version=row["version"],
        from_stage=None,
        to_stage=None,
    )


def _known(row: dict[str, Any] | None) -> dict[str, Any]:
    if row is None:
        raise Problem(404, "user-unknown", "there is no such user")
    return row


def _shown(row: dict[str, Any]) -> dict[str, object]:
    return {**row, "id": str(row["id"]), "created_at": rfc3339(row["created_at"])}
