"""An outage is nobody's failed attempt: while a dependency is down, deliveries are held and tried again.

A held delivery stays unacknowledged in its handler. With every slot held, nothing more is consumed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from system_under_test.service_kit.calls import PeerTrouble
from system_under_test.service_kit.clock import pause
from system_under_test.service_kit.database import UNAVAILABLE
from system_under_test.service_kit.health import Dependency
from system_under_test.service_kit.settings import Profile

T = TypeVar("T")


class Abandoned(Exception):
    """Holding on has no use any more: the service stops, or the broker has given the delivery back."""


class Hold:
    def __init__(
        self, database: Dependency, peers: list[Dependency], stopping: asyncio.Event, profile: Profile
    ) -> None:
        self._database, self._peers = database, {peer.name: peer for peer in peers}
        self._stopping, self._deadline_s = stopping, profile.handler_deadline_s

    async def through(self, step: Callable[[], Awaitable[T]], lost: asyncio.Future[Any] | None = None) -> T:
        """Do a step, again after each outage. What fails while its dependency is up, fails for the caller.

        When `lost` is done, the broker has given the work to somebody else. Who is outside (a webhook's receiver,
        a mail server) is no dependency.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._deadline_s
        while True:
            try:
                async with asyncio.timeout(self._deadline_s):
                    return await step()
            except PeerTrouble as trouble:
                peer = self._peers.get(trouble.peer)
                if peer is None or not (trouble.may_be_down and await self._was_down(peer, lost)):
                    raise
            except UNAVAILABLE:
                if await self._was_down(self._database, lost):
                    give_up = loop.time() + self._deadline_s
                elif loop.time() > give_up:
                    raise
                else:  # a connection was cut, a lock was taken: the next try may find it better
                    await pause(random.uniform(0.05, 0.25), unless=self._stopping)
            if self._stopping.is_set() or (lost is not None and lost.done()):
                raise Abandoned

    async def _was_down(self, dependency: Dependency, lost: asyncio.Future[Any] | None) -> bool:
        """Look whether it is down, and if so, return only when it is up again."""
        if (await dependency.check()).status == "up":
            return False
        up = asyncio.ensure_future(dependency.up.wait())
        stop = asyncio.ensure_future(self._stopping.wait())
        waits: set[asyncio.Future[Any]] = {up, stop} if lost is None else {up, stop, lost}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            stop.cancel()
        return True
