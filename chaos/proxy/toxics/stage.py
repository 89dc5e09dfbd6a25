"""What a toxic does to one direction of one connection: a stage between the socket that is read and the one written.

Bytes come in by ``feed``, an end by ``finish``; both leave in the same order through ``next``. A stage waits with an
alarm alone, so that whatever it waits for can be called off at any moment: ``updated``, ``removed``, ``dropped``.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Annotated, ClassVar, Protocol

import msgspec

from chaos.proxy.alarm import Alarm

HELD_MOST = 1 << 20
"""Bytes that a stage holds before reading from the socket behind it is paused."""

PIECES_A_TURN = 256
"""Then others have their turn: bytes in very small pieces must not keep the loop for themselves."""


NotNegative = Annotated[int, msgspec.Meta(ge=0)]


class Attributes(msgspec.Struct, forbid_unknown_fields=True):
    """What can be set of a toxic; all of it is optional, as in Toxiproxy."""


class End(Enum):
    """How a direction ends."""

    HALF = "half"
    """The sender has no more to say (FIN), and may still listen."""
    CLOSE = "close"
    """A toxic ends the whole connection, in order."""
    RESET = "reset"
    """The connection broke (RST)."""


class Sink(Protocol):
    """What bytes of a direction can go into."""

    def feed(self, data: bytes) -> None: ...

    def finish(self, end: End) -> None: ...


class Place(Protocol):
    """Where a stage is at work: one direction of one connection."""

    def pause(self, why: object) -> None:
        """Read no more from the source until ``resume`` is called for the same reason."""

    def resume(self, why: object) -> None: ...

    def reset(self) -> None:
        """End both sides of the connection with RST, at once."""


class Acted(msgspec.Struct):
    """How much a toxic has really acted on, over all connections of its proxy."""

    connections: int = 0
    chunks: int = 0
    bytes: int = 0


class Stage:
    """The base of all: passes everything on."""

    attributes_type: ClassVar[type[Attributes]] = Attributes
    next: Sink

    def __init__(self, attributes: Attributes, place: Place, acted: Acted, random: Random) -> None:
        self.attributes = attributes
        self.place = place
        self.random = random
        self._acted = acted
        self._counted = False
        self._alarm: Alarm | None = None

    def feed(self, data: bytes) -> None:
        self.next.feed(data)

    def finish(self, end: End) -> None:
        self.next.finish(end)

    def started(self, live: bool) -> None:
        """Called once, when ``next`` is known. ``live``: the connection was open already when the toxic came."""

    def updated(self, attributes: Attributes) -> None:
        """Other attributes hold from now on, also for what is held."""
        self.attributes = attributes

    def removed(self) -> None:
        """The toxic is gone: wait for nothing more, and pass on what is held. ``feed`` is not called any more."""
        self.stop_waiting()

    def dropped(self) -> None:
        """The connection is gone."""
        self.stop_waiting()

    def wait(self, until: float, then: Callable[[], None]) -> None:
        """Call ``then`` once, at that moment of ``time.monotonic``. One wait at a time."""
        self.stop_waiting()

        def ring() -> None:
            self._alarm = None
            then()

        self._alarm = Alarm(until, ring)

    def wait_ms(self, delay_ms: int, then: Callable[[], None]) -> None:
        self.wait(time.monotonic() + delay_ms / 1000, then)

    @property
    def waits(self) -> bool:
        return self._alarm is not None

    def stop_waiting(self) -> None:
        if self._alarm is not None:
            self._alarm.call_off()
            self._alarm = None

    def count(self, size: int) -> None:
        """The toxic acted on a chunk of that many bytes; with 0, on the connection itself."""
        if not self._counted:
            self._counted = True
            self._acted.connections += 1
        if size:
            self._acted.chunks += 1
            self._acted.bytes += size


class QueueStage(Stage):
    """A stage through which bytes go one piece after the other, each when it is due."""

    held_most: ClassVar[int] = HELD_MOST

    def __init__(self, attributes: Attributes, place: Place, acted: Acted, random: Random) -> None:
        super().__init__(attributes, place, acted, random)
        self._held: deque[tuple[bytes, float]] = deque()  # with the moment when they came
        self._size = 0
        self._taken = 0  # of the first of them
        self._end: End | None = None
        self._last_due = -math.inf
        self._next: tuple[int, float] | None = None

    def piece(self, size: int) -> int:
        """How many of the ``size`` bytes that came together go on together. At least 1."""
        return size

    def due(self, size: int, arrived: float, previous: float) -> float:
        """When the next piece may go on (``math.inf``: not as things are), by ``time.monotonic``.

        ``arrived``: when it came; ``previous``: when the one before it was due. For the first that is ``-math.inf``,
        not 0: the clock counts from the machine's start, which may be a minute ago.
        """
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        self._held.append((data, time.monotonic()))
        self._size += len(data)
        if self._size > self.held_most:
            self.place.pause(self)
        if not self.waits and self._end is None:
            self._go_on()

    def finish(self, end: End) -> None:
        self._end = end
        if not self._held:
            self.next.finish(end)

    def updated(self, attributes: Attributes) -> None:
        super().updated(attributes)
        self.stop_waiting()
        self._last_due, self._next = time.monotonic(), None
        self._go_on()

    def removed(self) -> None:
        super().removed()
        while self._held:
            size = len(self._held[0][0]) - self._taken
            self.count(size)
            self._pass_on(size)
        self.place.resume(self)
        if self._end is not None:
            self.next.finish(self._end)

    def dropped(self) -> None:
        super().dropped()
        self._held.clear()

    def _go_on(self) -> None:
        for _ in range(PIECES_A_TURN):
            if not self._held:
                break
            data, arrived = self._held[0]
            if self._next is None:
                size = self.piece(len(data) - self._taken)
                self._next = size, self.due(size, arrived, self._last_due)
            size, due = self._next
            if due > time.monotonic():
                if due < math.inf:
                    self.wait(due, self._go_on)
                return
            self._last_due, self._next = due, None
            if size < len(data) or due > arrived:
                self.count(size)
            self._pass_on(size)
        if self._size <= self.held_most // 2:
            self.place.resume(self)
        if self._held:
            self.wait(0, self._go_on)
        elif self._end is not None:
            self.next.finish(self._end)

    def _pass_on(self, size: int) -> None:
        data, _ = self._held[0]
        piece = data[self._taken : self._taken + size]
        self._taken += size
        self._size -= size
        if self._taken == len(data):
            self._held.popleft()
            self._taken = 0
        self.next.feed(piece)
