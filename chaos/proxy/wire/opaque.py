"""Bytes of which nothing is known: all of them may pass at once."""

from __future__ import annotations

from chaos.proxy.wire.events import Edit, Event


class OpaqueDecoder:
    """A decoder that has nothing to tell."""

    def __init__(self, reason: str) -> None:
        self.opaque: str | None = reason
        self.boundary = 0
        self.editing = False
        self.edits: list[Edit] = []

    def feed(self, data: bytes) -> list[Event]:
        self.boundary += len(data)
        return []

    def eof(self) -> list[Event]:
        return []

    def duplicated(self, event: Event) -> None:
        """There are no events."""
