"""automation, put together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from system_under_test.automation.actions.job import Reach
from system_under_test.automation.alerts import Alerts
from system_under_test.automation.burial import Burial
from system_under_test.automation.consumer import Consumer
from system_under_test.automation.dead_letters.api import DeadLetters
from system_under_test.automation.dependencies import Hold
from system_under_test.automation.due import Due, finishing
from system_under_test.automation.handling import Handling
from system_under_test.automation.mail import Mail
from system_under_test.automation.timers import Timers
from system_under_test.automation.webhook import Webhook
from system_under_test.service_kit import health
from system_under_test.service_kit.calls import Peer
from system_under_test.service_kit.database import Database
from system_under_test.service_kit.http import create_app, serving
from system_under_test.service_kit.publisher import Publisher
from system_under_test.service_kit.runtime import background
from system_under_test.service_kit.settings import Settings


@asynccontextmanager
async def assemble(settings: Settings, listener: socket.socket, stopping: asyncio.Event) -> AsyncIterator[None]:
    profile, outside = settings.profile, settings.outside
    assert outside is not None
    database, publisher = Database(settings), Publisher(settings)
    crm, pipeline = Peer("crm", settings.crm_url, settings), Peer("pipeline", outside.pipeline_url, settings)
    webhook = Webhook(outside, profile)
    database_health = health.database(database, profile)
    peers = [crm.dependency(settings), pipeline.dependency(settings)]
    hold = Hold(database_health, peers, stopping, profile)
    handling = Handling(database, Reach(crm, pipeline, webhook, Mail(outside, profile)), hold, settings)
    burial = Burial(database, publisher, hold, stopping, profile)
    consumer = Consumer(settings, burial, handling, stopping)
    broker_health = health.broker([publisher.link, consumer.link], profile)
    vitals = health.Health([database_health, broker_health, *peers], stopping)
    app = create_app(settings, vitals, database_health, DeadLetters(consumer.link, publisher).routes())
    due = partial(Due, database=database, hold=hold, stopping=stopping, profile=profile)
    timers = Timers(due("timers"), database, pipeline, hold, handling.execute, burial, profile)
    alerts = Alerts(due("alerts"), webhook, settings)
    async with (
        database.opened(),
        crm,
        pipeline,
        webhook,
        background(publisher.link.run()),
        vitals.watching(),
        serving(app, settings, listener),
        finishing(timers.run(), profile),
        finishing(alerts.run(), profile),
        consumer.consuming(),
    ):
        yield
