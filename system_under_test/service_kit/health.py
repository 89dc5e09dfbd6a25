"""Health: one prober watches each dependency and tells the log, the readiness answer and whoever waits."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter, Response
from psycopg import sql
from pydantic import BaseModel
from starlette.routing import BaseRoute

from system_under_test.service_kit import logs, metrics
from system_under_test.service_kit.broker import Link
from system_under_test.service_kit.clock import Backoff, pause
from system_under_test.service_kit.database import UNAVAILABLE, Database
from system_under_test.service_kit.runtime import background
from system_under_test.service_kit.settings import Profile

Status = Literal["unknown", "up", "degraded", "down"]


@dataclass(frozen=True, slots=True)
class Reading:
    status: Status = "up"
    detail: str | None = None
    oldest_unsent_age_s: float | None = None


class Liveness(BaseModel):
    status: Literal["live"]


class Readiness(BaseModel):
    status: Literal["ready", "not_ready", "draining"]
    dependencies: dict[str, Reading]


class Dependency:
    def __init__(self, name: str, probe: Callable[[], Awaitable[Reading]], profile: Profile) -> None:
        self.name, self._probe, self._profile = name, probe, profile
        self.reading = Reading("unknown")
        self.up = asyncio.Event()
        self._nudged = asyncio.Event()
        self._look: asyncio.Task[None] | None = None

    async def watch(self, stopping: asyncio.Event) -> None:
        backoff = Backoff(self._profile.probe_first_s, self._profile.probe_most_s)
        while not stopping.is_set():  # what we close ourselves is no news
            self._nudged.clear()
            await self.check()
            if self.up.is_set():
                backoff.reset()
                await pause(self._profile.health_interval_s, unless=self._nudged)
            else:
                await pause(backoff.next_s(), unless=self._nudged)

    def nudge(self) -> None:
        """Something has changed: look at once."""
        self._nudged.set()

    async def check(self) -> Reading:
        """Look now, all who ask together. A look that began before the question is no answer to it."""
        before = self._look
        if before is not None:
            await asyncio.shield(before)
        if self._look is before:
            # No flow's context: what is found is nobody's in particular.
            self._look = asyncio.create_task(self._read(), context=contextvars.Context())
        assert self._look is not None
        await asyncio.shield(self._look)
        return self.reading

    async def _read(self) -> None:
        try:
            reading = await self._within_bounds()
        except Exception as error:
            reading = Reading("down", logs.describe(error))
        metrics.gauge("dependency.up", float(reading.status == "up"), dependency=self.name)
        # Unknown is a link that is being made, or that we closed ourselves: no news of a dependency.
        changed = reading.status not in (self.reading.status, "unknown")
        self.reading = reading
        if reading.status == "up":
            self.up.set()
        else:
            self.up.clear()
        if changed:
            level: logs.Level = "info" if reading.status == "up" else "warning"
            logs.line("dependency.changed", reading.status, level=level, dependency=self.name, error=reading.detail)

    async def _within_bounds(self) -> Reading:
        try:
            async with asyncio.timeout(self._profile.probe_timeout_s):
                return await self._probe()
        except TimeoutError:
            return Reading("down", f"no answer within {self._profile.probe_timeout_s:g} s")


def database(source: Database, profile: Profile) -> Dependency:
    async def probe() -> Reading:
        answer = await source.ask("SELECT current_setting('transaction_read_only')::bool AS read_only")
        return Reading("down", "it can only be read") if answer["read_only"] else Reading()

    return Dependency("database", probe, profile)


def outbox(source: Database, service: str, profile: Profile) -> Dependency:
    """Late is degraded, not down: requests are still served, and nothing is lost."""
    question = sql.SQL(
        "SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_s"
        " FROM {}.outbox WHERE sent_at IS NULL ORDER BY id LIMIT 1"
    ).format(sql.Identifier(service))

    async def probe() -> Reading:
        try:
            age_s = (await source.ask(question)).get("age_s", 0.0)
        except UNAVAILABLE:
            return Reading("degraded", "the database does not answer")
        age_s = round(age_s, 3)
        metrics.gauge("outbox.oldest_unsent_age.seconds", age_s)
        late = age_s > profile.outbox_late_s
        return Reading("degraded", "events wait to be sent", age_s) if late else Reading(oldest_unsent_age_s=age_s)

    return Dependency("outbox", probe, profile)


def broker(links: list[Link], profile: Profile) -> Dependency:
    async def probe() -> Reading:
        if any(link.is_new for link in links):
            return Reading("unknown", "connecting")
        await asyncio.gather(*(link.probe() for link in links))
        return Reading()

    dependency = Dependency("broker", probe, profile)
    for link in links:
        link.on_change = dependency.nudge
    return dependency


class Health:
    def __init__(self, dependencies: list[Dependency], stopping: asyncio.Event) -> None:
        self.dependencies, self._stopping = dependencies, stopping

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as probers:
            for dependency in self.dependencies:
                await probers.enter_async_context(background(dependency.watch(self._stopping)))
            yield

    def routes(self) -> list[BaseRoute]:
        router = APIRouter()
        router.add_api_route("/health/live", self.live, methods=["GET"])
        not_ready: dict[int | str, dict[str, Any]] = {
            503: {"model": Readiness, "description": "A dependency is down, or the service is stopping."}
        }
        router.add_api_route("/health/ready", self.ready, methods=["GET"], responses=not_ready)
        return router.routes

    async def live(self) -> Liveness:
        return Liveness(status="live")

    async def ready(self, response: Response) -> Readiness:
        report = {dependency.name: dependency.reading for dependency in self.dependencies}
        is_ready = all(reading.status in ("up", "degraded") for reading in report.values())
        status: Literal["ready", "not_ready", "draining"] = "ready" if is_ready else "not_ready"
        if self._stopping.is_set():
            status = "draining"
        response.status_code = 200 if status == "ready" else 503
        return Readiness(status=status, dependencies=report)
