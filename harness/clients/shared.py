"""Witnesses of a system that others use too: they tell of what is ours, and change nothing of theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from harness.clients.broker import Broker
from harness.clients.database import Database
from harness.clients.sinks import Sinks
from harness.evidence.ours import Ours
from harness.evidence.recording import Recording
from harness.evidence.records import Received, RestingMessage, Rows
from harness.target import Target

WhatIsOurs = Callable[[], Ours]


class SharedDatabase(Database):
    def __init__(self, dsn: str, target: Target, ours: WhatIsOurs) -> None:
        super().__init__(dsn, target)
        self._ours = ours

    def rows(self) -> Rows:
        return self._ours().rows(super().rows())

    def unsent_events(self) -> int:
        return sum(not row.sent for row in self.rows().outbox)

    def undelivered_alerts(self) -> int:
        return sum(not row.delivered for row in self.rows().alerts)

    def execute(self, statement: str) -> NoReturn:
        raise AssertionError(f"nothing is done to a system that others use: {statement}")


class SharedBroker(Broker):
    def __init__(self, url: str, target: Target, recording: Recording, ours: WhatIsOurs, *, tap: str) -> None:
        super().__init__(url, target, recording, tap=tap)
        self._ours = ours

    def resting(self) -> list[RestingMessage]:
        """In the dead-letter queue alone: in one that is consumed, a look would count as a delivery."""
        queue = self._target.broker.dead_letter_queue
        return self._ours().of_ours(self._resting_in(queue) if self._depths([queue])[queue] else [])

    def waiting(self) -> dict[str, int | None]:
        """What waits may be anybody's; ours is closed in the log when it has been handled."""
        return {}

    def clean_slate(self) -> NoReturn:
        raise AssertionError("nothing is taken out of queues that others use")


class SharedSinks(Sinks):
    def __init__(self, url: str, ours: WhatIsOurs) -> None:
        super().__init__(url)
        self._ours = ours

    def received(self, place: str | None = None) -> list[Received]:
        return self._ours().of_ours(super().received(place))


class Absent:
    """In the place of what a system does not offer. A scenario that needs it should not have been run there."""

    def __init__(self, what: str, why: str) -> None:
        self._what, self._why = what, why

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"this needs {self._what} ({name}), which this system does not offer: {self._why}")
