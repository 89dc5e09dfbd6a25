"""pipeline, put together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from system_under_test.pipeline.stages import Stages
from system_under_test.service_kit import health
from system_under_test.service_kit.calls import Peer
from system_under_test.service_kit.database import Database
from system_under_test.service_kit.http import create_app, serving
from system_under_test.service_kit.publisher import Publisher
from system_under_test.service_kit.relay import relaying
from system_under_test.service_kit.settings import Settings


@asynccontextmanager
async def assemble(settings: Settings, listener: socket.socket, stopping: asyncio.Event) -> AsyncIterator[None]:
    database, publisher, crm = (
        Database(settings),
        Publisher(settings),
        Peer("crm", settings.crm_url, settings),
    )
    database_health, crm_health = health.database(database, settings.profile), crm.dependency(settings)
    vitals = health.Health(
        [
            database_health,
            health.broker([publisher.link], settings.profile),
            health.outbox(database, settings.service, settings.profile),
            crm_health,
        ],
        stopping,
    )
    app = create_app(settings, vitals, database_health, Stages(database, crm, crm_health).routes())
    async with (
        database.opened(),
        crm,
        relaying(settings, publisher),
        vitals.watching(),
        serving(app, settings, listener),
    ):
        yield
