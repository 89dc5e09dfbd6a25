"""What a proxy has seen: evidence that something passed, and that a toxic really acted on it."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import msgspec

from chaos.proxy.toxics.stage import Acted
from chaos.proxy.triggers import Stream
from chaos.proxy.wire.events import Event

MOST_EVENTS = 100_000


class StreamCounts:
    """What has passed one way, over all connections of a proxy."""

    __slots__ = ("bytes", "events", "opaque")

    def __init__(self) -> None:
        self.bytes = 0
        self.events: defaultdict[str, int] = defaultdict(int)
        self.opaque: str | None = None  # why a decoder gave up, if one did

    def forget(self) -> None:
        """Zero what is counted. That a decoder gave up stays true."""
        self.bytes = 0
        self.events.clear()

    def shown(self) -> dict[str, Any]:
        return {"bytes": self.bytes, "events": dict(self.events), "opaque": self.opaque}


class Counts:
    """What a proxy has seen since it was made, or since it was told to forget."""

    def __init__(self) -> None:
        self.connections = 0
        self.refused = 0
        self.streams: dict[Stream, StreamCounts] = {"upstream": StreamCounts(), "downstream": StreamCounts()}
        self.toxics: defaultdict[str, Acted] = defaultdict(Acted)

    def forget(self) -> None:
        """Zero everything; connections that are open go on counting into the same counters."""
        self.connections = self.refused = 0
        for stream in self.streams.values():
            stream.forget()
        for acted in self.toxics.values():
            acted.connections = acted.chunks = acted.bytes = 0

    def shown(self, open_connections: int) -> dict[str, Any]:
        return {
            "connections": self.connections,
            "open": open_connections,
            "refused": self.refused,
            **{name: stream.shown() for name, stream in self.streams.items()},
            "toxics": {name: msgspec.to_builtins(acted) for name, acted in self.toxics.items()},
        }


class Record(msgspec.Struct, frozen=True):
    """One event on the wire of one proxy."""

    n: int
    at: str  # RFC 3339, UTC, µs
    proxy: str
    connection: int
    stream: Stream
    name: str
    detail: str


class Recorder:
    """Every event of every proxy in the order in which they passed, while it is switched on."""

    def __init__(self) -> None:
        self.on = False
        self._records: list[Record] = []
        self._dropped = 0

    def switch(self, on: bool) -> None:
        """Switching it on empties it, also if it was on."""
        self.on = on
        if on:
            self._records.clear()
            self._dropped = 0

    def add(self, proxy: str, connection: int, stream: Stream, event: Event) -> None:
        if len(self._records) >= MOST_EVENTS:
            self._dropped += 1
            return
        at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        self._records.append(Record(len(self._records), at, proxy, connection, stream, event.name, event.detail))

    def shown(self) -> dict[str, Any]:
        return {"recording": self.on, "events": self._records, "dropped": self._dropped}
