"""crm, put together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from system_under_test.crm.deals import Deals
from system_under_test.crm.leads import Leads
from system_under_test.crm.users import Users
from system_under_test.service_kit import health
from system_under_test.service_kit.database import Database
from system_under_test.service_kit.http import create_app, serving
from system_under_test.service_kit.publisher import Publisher
from system_under_test.service_kit.relay import relaying
from system_under_test.service_kit.settings import Settings


@asynccontextmanager
async def assemble(settings: Settings, listener: socket.socket, stopping: asyncio.Event) -> AsyncIterator[None]:
    database, publisher = Database(settings), Publisher(settings)
    database_health = health.database(database, settings.profile)
    vitals = health.Health(
        [
            database_health,
            health.broker([publisher.link], settings.profile),
            health.outbox(database, settings.service, settings.profile),
        ],
        stopping,
    )
    routes = [*Users(database).routes(), *Leads(database).routes(), *Deals(database).routes()]
    app = create_app(settings, vitals, database_health, routes)
    async with (
        database.opened(),
        relaying(settings, publisher),
        vitals.watching(),
        serving(app, settings, listener),
    ):
        yield
