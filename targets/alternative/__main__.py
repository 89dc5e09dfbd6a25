"""`python -m targets.alternative`: the service, from its first line to its last."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Any

from aiohttp import web

from targets.alternative import VERSION, log, metrics, settings
from targets.alternative.actions import Reach
from targets.alternative.broker import EVENTS, UNDELIVERABLE, Link
from targets.alternative.dependencies import Dependency, Hold
from targets.alternative.door import Door
from targets.alternative.due import Alerts, Timers, work_off
from targets.alternative.handling import Handling
from targets.alternative.outside import Mail, Peer, Webhook, session
from targets.alternative.settings import Settings
from targets.alternative.store import Store
from targets.alternative.worker import Cemetery, Worker


async def main(of: Settings) -> None:
    log.line("service.started", "ok", version=VERSION, pid=os.getpid())
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with session(of) as http:
        await live(of, http, stopping)
    metrics.snapshot()
    log.line("service.stopped", "graceful", version=VERSION, pid=os.getpid())


async def live(of: Settings, http: Any, stopping: asyncio.Event) -> None:
    numbers, store = of.numbers, Store(of)
    crm = Peer("crm", of.crm_url, of, http)
    pipeline = Peer("pipeline", of.pipeline_url, of, http)
    reach = Reach(crm, pipeline, Webhook(of, http), Mail(of), of.webhook_url)
    watched = {one.name: Dependency(one.name, one.probe) for one in (crm, pipeline)}
    watched["database"] = Dependency("database", store.probe)
    hold = Hold(watched, stopping, numbers.step_s)
    handling, cemetery = Handling(store, reach, hold, numbers), Cemetery(store, hold)
    worker = Worker(handling, cemetery, numbers, stopping)
    link = Link(of, {EVENTS: worker.take, UNDELIVERABLE: worker.take_out}, stopping)
    worker.link = cemetery.link = link
    watched["broker"] = Dependency("broker", link.prove)
    link.changed = watched["broker"].nudged.set
    timers = Timers(store, hold, handling, reach, cemetery, of)
    alerts = Alerts(store, hold, reach, of)
    runner = web.AppRunner(Door(of, link, [*watched.values()], stopping).app(), access_log=None)
    await runner.setup()
    watching = [dependency.watch(stopping) for dependency in watched.values()]
    async with asyncio.TaskGroup() as tasks:  # whoever of them breaks, takes the process along
        linked = tasks.create_task(link.run())
        for_ever = [tasks.create_task(work) for work in (metrics.snapshots(numbers.metrics_s), *watching)]
        finishing = [
            tasks.create_task(work_off("timer", timers.attend, store, hold, stopping, of)),
            tasks.create_task(work_off("alert", alerts.attend, store, hold, stopping, of)),
        ]
        await web.TCPSite(runner, of.host, of.port, backlog=1024).start()
        await stopping.wait()
        await asyncio.gather(link.drain(), asyncio.wait(finishing, timeout=numbers.step_s))
        linked.cancel()  # which gives back what has not been begun: another instance can have it at once
        await asyncio.sleep(numbers.drain_s)  # whoever follows readiness has looked by then
        await runner.cleanup()
        for task in (*for_ever, *finishing):
            task.cancel()
    await store.close()


def _main() -> None:
    of = settings.load()
    log.configure(of.instance, of.secrets())
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # of what happens to a connection, the link tells once
    asyncio.run(main(of))


_main()
