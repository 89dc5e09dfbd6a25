"""What a decoder tells of one direction of one connection. Offsets are absolute: bytes since the connection began."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Event(NamedTuple):
    """One whole thing on the wire. ``detail`` never holds ids or literals, so it is the same in every run."""

    name: str
    detail: str
    start: int  # of its first byte
    end: int  # after its last byte


class Edit(NamedTuple):
    """Bytes that the receiver is to get in place of those from ``start`` to ``end``."""

    start: int
    end: int
    replacement: bytes


class Decoder(Protocol):
    """Reads a stream as it comes, in chunks of any size. Never raises; what it does not understand makes it opaque.

    ``boundary``: up to here bytes belong to events that have ended, or may pass in any case. What lies behind it may be
    withheld. An opaque decoder's boundary is all that it was fed.
    ``editing``: bytes behind ``boundary`` have to be withheld, trigger or not, for an edit may come.
    ``edits``: those of what was fed last. (Non-empty only while ``editing``.)
    """

    boundary: int
    opaque: str | None
    editing: bool
    edits: list[Edit]

    def feed(self, data: bytes) -> list[Event]:
        """The events that end in this chunk, in the order of their bytes."""

    def eof(self) -> list[Event]:
        """The event that ends with the stream, if one does."""

    def duplicated(self, event: Event) -> None:
        """To be told when an event of this direction was sent twice, so that its second answer is kept back."""
