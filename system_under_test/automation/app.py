"""automation, put together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from system_under_test.automation.consumer import Consumer
from system_under_test.automation.dead_letters import DeadLetters
from system_under_test.automation.dependencies import Hold
from system_under_test.automation.handling import Handling
from system_under_test.service_kit import health
from system_under_test.service_kit.calls import Peer
from system_under_test.service_kit.database import Database
from system_under_test.service_kit.http import create_app, serving
from system_under_test.service_kit.publisher import Publisher
from system_under_test.service_kit.runtime import background
from system_under_test.service_kit.settings import Settings


@asynccontextmanager
async def assemble(settings: Settings, listener: socket.socket, stopping: asyncio.Event) -> AsyncIterator[None]:
    profile = settings.profile
    database, publisher, crm = (
        Database(settings),
        Publisher(settings),
        Peer("crm", settings.crm_url, settings),
    )
    database_health, crm_health = health.database(database, profile), crm.dependency(settings)
    hold = Hold(database_health, crm_health, stopping, profile)
    consumer = Consumer(settings, publisher, Handling(database, crm, hold, settings), stopping)
    broker_health = health.broker([publisher.link, consumer.link], profile)
    vitals = health.Health([database_health, broker_health, crm_health], stopping)
    app = create_app(settings, vitals, database_health, DeadLetters(consumer.link, publisher).routes())
    async with (
        database.opened(),
        crm,
        background(publisher.link.run()),
        vitals.watching(),
        serving(app, settings, listener),
        consumer.consuming(),
    ):
        yield
