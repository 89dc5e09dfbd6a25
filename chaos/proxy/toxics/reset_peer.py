"""reset_peer: both ends get a RST, ``timeout`` milliseconds after the first byte (or end) that came.

On a connection that was open before the toxic came, the time counts from then (Toxiproxy's never resets such a one).
"""

from __future__ import annotations

from random import Random

from chaos.proxy.toxics.stage import HELD_MOST, Acted, Attributes, End, NotNegative, Place, Stage


class ResetPeer(Attributes):
    timeout: NotNegative = 0


class ResetPeerStage(Stage):
    attributes: ResetPeer
    attributes_type = ResetPeer

    def __init__(self, attributes: Attributes, place: Place, acted: Acted, random: Random) -> None:
        super().__init__(attributes, place, acted, random)
        self._held: list[bytes] = []
        self._size = 0
        self._end: End | None = None

    def started(self, live: bool) -> None:
        if live:
            self._wait()

    def feed(self, data: bytes) -> None:
        self._held.append(data)  # for the toxic may be removed before the time has come
        self._size += len(data)
        if self._size > HELD_MOST:
            self.place.pause(self)
        self.count(len(data))
        if not self.waits:
            self._wait()

    def finish(self, end: End) -> None:
        self._end = end
        if not self.waits:
            self._wait()

    def updated(self, attributes: Attributes) -> None:
        super().updated(attributes)
        if self.waits:
            self._wait()

    def removed(self) -> None:
        super().removed()
        for data in self._held:
            self.next.feed(data)
        self.place.resume(self)
        if self._end is not None:
            self.next.finish(self._end)

    def dropped(self) -> None:
        super().dropped()
        self._held.clear()

    def _wait(self) -> None:
        if self.attributes.timeout:
            self.wait_ms(self.attributes.timeout, self._reset)
        else:
            self._reset()

    def _reset(self) -> None:
        self.count(0)
        self.place.reset()
