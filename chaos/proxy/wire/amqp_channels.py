"""What both directions of an AMQP connection know together: which message a tag means, and which were sent twice.

A publish that the proxy sent twice counts twice at the broker and once at the client, so from then on the two number
the publishes of that channel differently. Here tags are the client's, unless a name says otherwise.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TypeVar

from chaos.proxy.wire.events import Event

T = TypeVar("T")

_MOST = 50_000  # tags that are remembered of a channel; a consumer without acknowledgements would fill any memory


class _Copy:
    """A publish that was sent twice, until its copy is confirmed."""

    __slots__ = ("detail", "headers", "settled")

    def __init__(self, detail: str) -> None:
        self.detail = detail
        self.headers: set[bytes] = set()  # of messages that came back meanwhile
        self.settled = False  # its copy was confirmed, or has come back


class Channel:
    """One channel. ``copies``: by the tag of the publish that was sent twice, ascending."""

    __slots__ = ("_unacked", "_unconfirmed", "confirming", "copies", "tag")

    def __init__(self) -> None:
        self.confirming = False
        self.tag = 0  # of the latest publish
        self.copies: dict[int, _Copy] = {}
        self._unconfirmed: dict[int, Event] = {}
        self._unacked: dict[int, str] = {}

    def published(self, event: Event) -> None:
        """To be called when confirms are on."""
        self.tag = tag = self.tag + 1
        self._unconfirmed[tag] = event
        if len(self._unconfirmed) > _MOST:
            del self._unconfirmed[next(iter(self._unconfirmed))]

    def confirmed(self, tag: int, *, multiple: bool) -> str:
        """The detail of the publish (of several: of the last)."""
        event = _settle(self._unconfirmed, tag) if multiple else self._unconfirmed.pop(tag, None)
        return event.detail if event else ""

    def delivered(self, tag: int, detail: str) -> None:
        self._unacked[tag] = detail
        if len(self._unacked) > _MOST:
            del self._unacked[next(iter(self._unacked))]

    def acked(self, tag: int, *, multiple: bool) -> str:
        """The detail of the delivery (of several: of the last)."""
        return (_settle(self._unacked, tag) if multiple else self._unacked.pop(tag, None)) or ""

    # --- publishes that were sent twice ---------------------------------------------------------------------------

    def sent_twice(self, event: Event) -> bool:
        """Whether it was a publish of this channel that waits for its confirm."""
        for tag, one in self._unconfirmed.items():
            if one is event:
                self.copies[tag] = _Copy(event.detail)
                self.copies = dict(sorted(self.copies.items()))
                return True
        return False

    def counted(self, broker_tag: int) -> int:
        """The publish that a tag of the broker's means, be it the copy or not."""
        extra = 0
        for tag in self.copies:
            if tag + extra >= broker_tag:
                break
            extra += 1
        return broker_tag - extra

    def as_client_counts(self, broker_tag: int, *, multiple: bool) -> int | None:
        """The tag that the client is to be told; None when this is no news to it. To be asked before ``confirmed``."""
        tag = self.counted(broker_tag)
        first = tag + sum(one < tag for one in self.copies)
        if not multiple:
            if first != broker_tag:
                self.copies[tag].settled = True
                return None
            return tag
        if not broker_tag:
            return 0
        for one, copy in self.copies.items():
            copy.settled = copy.settled or one < tag or (one == tag and first != broker_tag)
        return tag if any(one <= tag for one in self._unconfirmed) else None

    def detail_of_copy(self, broker_tag: int) -> str:
        copy = self.copies.get(self.counted(broker_tag))
        return copy.detail if copy else ""

    def returned_twice(self, detail: str, header: bytes) -> bool:
        """Whether a message that comes back does so only because it was sent twice."""
        for copy in self.copies.values():
            if copy.settled or copy.detail != detail:
                continue
            if header in copy.headers:
                copy.settled = True
                return True
            copy.headers.add(header)
        return False


class Channels(dict[int, Channel]):
    """All channels of a connection, by number. One that is asked for is there."""

    def __missing__(self, number: int) -> Channel:
        self[number] = channel = Channel()
        return channel

    def reset(self, number: int) -> None:
        self.pop(number, None)

    def sent_twice(self, event: Event) -> bool:
        return any(channel.sent_twice(event) for channel in self.values())


def _settle(waiting: dict[int, T], tag: int) -> T | None:
    """Take out all up to this tag (0: all). The last of them."""
    last = None
    for one in list(takewhile(lambda one: one <= tag, waiting) if tag else waiting):
        last = waiting.pop(one)
    return last
