"""Who saw what went on behind the services: database, broker with its tap, sinks. Some systems lack some."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from harness.clients.broker import Broker
from harness.clients.database import Database
from harness.clients.shared import Absent, SharedBroker, SharedDatabase, SharedSinks
from harness.clients.sinks import Sinks
from harness.clients.tap_to_file import TapToFile
from harness.environment.capabilities import CLEAN_SLATE
from harness.environment.stack import Stack
from harness.evidence.ours import Ours, ours
from harness.evidence.recording import Recording
from harness.evidence.records import TapMessage
from harness.target import Target

_READ_BY_PROPERTIES: dict[str, tuple[str, ...]] = {
    "database": ("rows",), "broker": ("resting",), "sinks": ("received",),
}  # fmt: skip


class Witnesses:
    """Those of one stack, for one scenario. What the system does not offer is an ``Absent``, which says so when asked.

    Where others use the system too (``shared``), they tell of what is ours alone and empty nothing.
    """

    def __init__(self, stack: Stack, target: Target, recording: Recording) -> None:
        self._stack, self._target, self._recording = stack, target, recording
        self.shared = CLEAN_SLATE in stack.lacks
        self.database: Database = self._database()
        self.broker: Broker = self._broker()
        self.sinks: Sinks = self._sinks()
        self._tap: list[TapMessage] = []
        self._tapping = threading.Lock()
        self._to_file: TapToFile | None = None

    def has(self, what: str) -> bool:
        return what not in self._stack.lacks

    def ours(self) -> Ours:
        return ours(self._recording.operations, self._recording.planted)

    def concerns(self, flow: str) -> bool:
        return not self.shared or flow in self.ours().flows

    def _absent(self, what: str) -> Any:
        return Absent(what, self._stack.lacks[what])

    def _database(self) -> Database:
        if not self.has("database"):
            return cast(Database, self._absent("database"))
        if self.shared:
            return SharedDatabase(self._stack.database_url, self._target, self.ours)
        return Database(self._stack.database_url, self._target)

    def _broker(self) -> Broker:
        if not self.has("broker"):
            return cast(Broker, self._absent("broker"))
        url, target, recording, tap = self._stack.broker_url, self._target, self._recording, self._stack.tap
        if self.shared:
            return SharedBroker(url, target, recording, self.ours, tap=tap)
        return Broker(url, target, recording, tap=tap)

    def _sinks(self) -> Sinks:
        if not self.has("sinks"):
            return cast(Sinks, self._absent("sinks"))
        url = self._stack.url("sinks")
        return SharedSinks(url, self.ours) if self.shared else Sinks(url)

    def _there(self) -> Iterator[Sinks | Database | Broker]:
        for name, witness in (("sinks", self.sinks), ("database", self.database), ("broker", self.broker)):
            if self.has(name):
                yield witness

    def clean_slate(self) -> None:
        """Empty what may be emptied: nothing, where others have something in it."""
        if not self.shared:
            for witness in self._there():
                witness.clean_slate()

    def close(self) -> None:
        for witness in self._there():
            witness.close()

    # --- the tap -----------------------------------------------------------------------------------------------

    @contextmanager
    def tap_written_to(self, file: Path) -> Iterator[None]:
        """For the duration of the block, write what the broker sees to a file while it sees it: for so much that memory
        could not hold it. Only the latest is at hand then."""
        with TapToFile(self.broker, file) as self._to_file:
            yield

    @property
    def tap_begun(self) -> bool:
        """Whether the file of the tap holds something already."""
        return self._to_file is not None

    def tapped(self) -> list[TapMessage]:
        """All that the broker has seen so far. Many threads may ask: what each takes out of the tap stays in order."""
        if self._to_file is not None and self._to_file.at_work:
            return self._to_file.latest()
        with self._tapping:
            if self.has("tap"):
                self._tap += self.broker.drain_tap()
            return list(self._tap)

    def published_of(self, entity_id: str) -> TapMessage | None:
        """The last event about an entity that the broker has seen published so far."""
        exchange, about = self._target.broker.exchange, f'"entity_id":"{entity_id}"'
        published = (m for m in reversed(self.tapped()) if m.what == "published" and m.exchange == exchange)
        return next((m for m in published if about in m.body.replace(" ", "")), None)

    def latest_published(self, type: str) -> TapMessage | None:
        """The last message of this type that went to some queue."""
        wanted = (message for message in reversed(self.tapped()) if message.what == "published" and message.queues)
        return next((message for message in wanted if message.type == type), None)

    # --- for the evidence --------------------------------------------------------------------------------------

    def tap_of_ours(self) -> list[TapMessage]:
        return self.ours().of_ours(self._tap) if self.shared else self._tap

    def forget(self) -> None:
        self._tap.clear()

    def missing(self) -> tuple[str, ...]:
        """By the names of what properties read. That nothing is broken here is no want: faults only excuse."""
        lacking = [what for what in self._stack.lacks if what != "faults"]
        return tuple(sorted(name for what in lacking for name in (what, *_READ_BY_PROPERTIES.get(what, ()))))
