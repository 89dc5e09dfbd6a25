"""The life of a service: settings, first line, its parts, a signal, the parts in reverse, last line."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import uvloop

from system_under_test import __version__
from system_under_test.service_kit import logs, metrics
from system_under_test.service_kit.settings import Settings, load_or_exit

_FAILED = 70  # EX_SOFTWARE

Assemble = Callable[[Settings, socket.socket, asyncio.Event], AbstractAsyncContextManager[None]]


def run(service: str, assemble: Assemble, *, calls_crm: bool, acts: bool = False) -> None:
    """Run a service until SIGTERM. `assemble` holds up its parts; it gets the socket and the wish to stop."""
    settings = load_or_exit(service, calls_crm=calls_crm, acts=acts)
    logs.configure(service, settings.instance, settings.secrets())
    uvloop.run(_live(settings, assemble))


async def _live(settings: Settings, assemble: Assemble) -> None:
    pid = os.getpid()
    logs.line("service.started", "ok", version=__version__, pid=pid)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        listener = socket.create_server((settings.http_host, settings.http_port), backlog=1024)
    except OSError as error:
        logs.library("runtime", f"cannot listen on port {settings.http_port}: {error}", level="error")
        raise SystemExit(1) from None
    snapshots = metrics.write_snapshots(settings.profile.metrics_interval_s)
    async with background(snapshots), assemble(settings, listener, stopping):
        await stopping.wait()
    metrics.write_snapshot()
    logs.line("service.stopped", "graceful", version=__version__, pid=pid)


@asynccontextmanager
async def background(work: Coroutine[object, object, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Work that goes on as long as the block. If it breaks, the process ends: half a service looks fine."""
    task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
    task.add_done_callback(_end_process_if_broken)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


def _end_process_if_broken(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logs.library("runtime", f"background work broke: {logs.describe(error)}", level="error")
        os._exit(_FAILED)
