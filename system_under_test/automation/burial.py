"""Burying a message: its alert is written down, its copy is in the dead-letter queue, and the log says so."""

from __future__ import annotations

import asyncio
from typing import Any

from system_under_test.automation import alerts, retries
from system_under_test.automation.delivery import Letter
from system_under_test.automation.dependencies import Abandoned, Hold
from system_under_test.automation.retries import DeadLetter
from system_under_test.service_kit import logs
from system_under_test.service_kit.clock import Backoff, pause
from system_under_test.service_kit.database import UNAVAILABLE, Database
from system_under_test.service_kit.publisher import Message, Publisher
from system_under_test.service_kit.settings import Profile


class Burial:
    def __init__(
        self, database: Database, publisher: Publisher, hold: Hold, stopping: asyncio.Event, profile: Profile
    ) -> None:
        self._database, self._publisher, self._hold = database, publisher, hold
        self._stopping, self._profile = stopping, profile

    async def bury(self, letter: Letter, verdict: DeadLetter, lost: asyncio.Future[Any] | None = None) -> bool:
        """False, if it could not be done for now. Doing it again makes a second copy, but no second alert."""
        try:
            await self._hold.through(
                lambda: self._database.run(lambda work: alerts.raise_for(work, letter, verdict.reason)), lost
            )
        except (Abandoned, *UNAVAILABLE):
            return False
        if not await self.publish(retries.dead_letter_copy(letter, verdict), lost):
            return False
        logs.line(
            "event.dead_lettered",
            "dead_lettered",
            level="error",
            reason=verdict.reason,
            error=logs.describe(verdict.error),
            attempts=letter.attempt,
        )
        return True

    async def publish(self, copy: Message, lost: asyncio.Future[Any] | None) -> bool:
        """Until the broker confirms the copy. As long as it does not, the original stays where it is."""
        backoff = Backoff(self._profile.reconnect_first_s, self._profile.reconnect_most_s)
        while not (await self._publisher.publish(copy)).confirmed:
            if self._stopping.is_set() or (lost is not None and lost.done()):
                return False
            await pause(backoff.next_s(), unless=self._stopping)
        return True
