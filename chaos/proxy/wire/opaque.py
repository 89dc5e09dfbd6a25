"""What all decoders have in common: they never raise, and what they do not understand makes them opaque."""

from __future__ import annotations

from chaos.proxy.wire.events import Edit, Event


class NotUnderstood(Exception):
    """Raised by a decoder's reading for its feeding. The message is what ``opaque`` says."""


class OpaqueDecoder:
    """A decoder that has nothing to tell: all bytes may pass at once."""

    def __init__(self, reason: str | None) -> None:
        self.opaque = reason
        self.boundary = 0
        self.editing = False
        self.edits: list[Edit] = []
        self._offset = 0  # so much has been fed

    def feed(self, data: bytes) -> list[Event]:
        self._offset += len(data)
        self.boundary = self._offset
        return []

    def eof(self) -> list[Event]:
        return []

    def duplicated(self, event: Event) -> None:
        """Nothing comes of it."""


class ReadingDecoder(OpaqueDecoder):
    """A decoder that understands, until it does not.

    ``_rest`` is what it has been fed and could not read yet because too little of it was there.
    """

    def __init__(self) -> None:
        super().__init__(None)
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        if self.opaque is not None:
            return super().feed(data)
        events: list[Event] = []
        if self.edits:
            self.edits = []
        base = self._offset - len(self._rest)
        self._offset += len(data)
        try:
            self._read(self._rest + data if self._rest else data, base, events)
        except NotUnderstood as reason:
            self._turn_opaque(str(reason))
        except Exception as error:  # ours to mend, but no reason to stop somebody's stream
            self._turn_opaque(f"the decoder failed: {error!r}")
        return events

    def _read(self, data: bytes, base: int, events: list[Event]) -> None:
        """Read what can be read, from the absolute offset ``base`` on, and keep in ``_rest`` what cannot yet."""
        raise NotImplementedError

    def _turn_opaque(self, reason: str) -> None:
        self.opaque, self.editing, self._rest, self.boundary = reason, False, b"", self._offset
