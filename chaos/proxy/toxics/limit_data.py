"""limit_data: after ``bytes`` bytes the connection is closed."""

from __future__ import annotations

from random import Random

from chaos.proxy.toxics.stage import Acted, Attributes, End, NotNegative, Place, Stage


class LimitData(Attributes):
    bytes: NotNegative = 0


class LimitDataStage(Stage):
    attributes: LimitData
    attributes_type = LimitData

    def __init__(self, attributes: Attributes, place: Place, acted: Acted, random: Random) -> None:
        super().__init__(attributes, place, acted, random)
        self._passed = 0
        self._closed = False

    def feed(self, data: bytes) -> None:
        if self._closed:
            return
        left = max(0, self.attributes.bytes - self._passed)
        self._passed += min(left, len(data))
        if left:
            self.next.feed(data[:left])
        if self._passed >= self.attributes.bytes:
            self.count(len(data))
            self.finish(End.CLOSE)

    def finish(self, end: End) -> None:
        if not self._closed:
            self._closed = True
            self.next.finish(end)
