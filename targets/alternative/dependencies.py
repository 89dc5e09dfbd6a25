"""What the service depends on: watched for readiness, and waited for while it is gone, at the cost of no attempt."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from targets.alternative import log
from targets.alternative.failures import Abandoned, PeerTrouble, Unavailable

T = TypeVar("T")

_EVERY_S, _ANSWER_S = 0.25, 0.9


class Degraded(Exception):
    """It is there, and can do less than it should."""


async def pause(seconds: float, unless: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await unless.wait()


class Dependency:
    def __init__(self, name: str, probe: Callable[[], Awaitable[None]]) -> None:
        self.name, self._probe = name, probe
        self.status, self.detail = "unknown", ""
        self.up = asyncio.Event()
        self.nudged = asyncio.Event()
        self._look: asyncio.Task[None] | None = None

    async def watch(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():  # what we close ourselves is no news
            self.nudged.clear()
            await self.check()
            await pause(_EVERY_S, unless=self.nudged)

    async def check(self) -> str:
        """Look now. A look that began before the question is no answer to it."""
        before = self._look
        if before is not None:
            await asyncio.shield(before)
        if self._look is before:
            self._look = asyncio.create_task(self._read(), context=contextvars.Context())
        assert self._look is not None
        await asyncio.shield(self._look)
        return self.status

    async def _read(self) -> None:
        status, detail = "up", ""
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._probe()
        except Degraded as error:
            status, detail = "degraded", str(error)
        except TimeoutError:
            status, detail = "down", f"no answer within {_ANSWER_S:g} s"
        except Exception as error:
            status, detail = "down", log.describe(error)
        changed, self.status, self.detail = status != self.status, status, detail
        if status == "up":
            self.up.set()
        else:
            self.up.clear()
        if changed:
            level = "info" if status == "up" else "warning"
            log.line("dependency.changed", status, level=level, dependency=self.name, error=detail or None)


class Hold:
    def __init__(self, dependencies: dict[str, Dependency], stopping: asyncio.Event, step_s: float) -> None:
        self._dependencies, self._stopping, self._step_s = dependencies, stopping, step_s

    async def through(self, step: Callable[[], Awaitable[T]], lost: asyncio.Future[str] | None = None) -> T:
        """Do a step, again after each outage of what it needs. What fails while that is up, fails for the caller.

        Raises Abandoned when the service stops, or when ``lost`` is done: then the broker has given the work away.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._step_s
        while True:
            try:
                async with asyncio.timeout(self._step_s):
                    return await step()
            except PeerTrouble as trouble:
                peer = self._dependencies.get(trouble.peer)
                if peer is None or not trouble.may_be_down or not await self._was_down(peer, lost):
                    raise
            except Unavailable:
                if await self._was_down(self._dependencies["database"], lost):
                    give_up = loop.time() + self._step_s
                elif loop.time() > give_up:
                    raise
                else:  # a connection was cut, a lock was taken
                    await pause(random.uniform(0.05, 0.25), unless=self._stopping)
            if self._stopping.is_set() or (lost is not None and lost.done()):
                raise Abandoned

    async def _was_down(self, dependency: Dependency, lost: asyncio.Future[str] | None) -> bool:
        """Whether it was; if so, it is up again now, or there is no use in waiting."""
        if await dependency.check() == "up":
            return False
        waits: set[asyncio.Future[Any]] = {
            asyncio.ensure_future(event.wait()) for event in (dependency.up, self._stopping)
        }
        try:
            await asyncio.wait(waits | ({lost} if lost else set()), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return True
