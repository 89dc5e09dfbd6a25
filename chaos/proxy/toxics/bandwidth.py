"""bandwidth: at most ``rate`` KB (of 1000 bytes) pass in a second. A rate of 0 is a stall that heals without a loss."""

from __future__ import annotations

import math

from chaos.proxy.toxics.stage import Attributes, NotNegative, QueueStage

PIECE_MS = 100
"""What takes longer goes in pieces that take as long as this."""


class Bandwidth(Attributes):
    rate: NotNegative = 0


class BandwidthStage(QueueStage):
    attributes: Bandwidth
    attributes_type = Bandwidth

    def piece(self, size: int) -> int:
        return min(size, self.attributes.rate * PIECE_MS) or size

    def due(self, size: int, arrived: float, previous: float) -> float:
        rate = self.attributes.rate
        return max(arrived, previous) + size / (rate * 1000) if rate else math.inf
