"""latency: every chunk comes ``latency`` ± ``jitter`` milliseconds later; none overtakes another."""

from __future__ import annotations

from chaos.proxy.toxics.stage import Attributes, NotNegative, QueueStage


class Latency(Attributes):
    latency: NotNegative = 0
    jitter: NotNegative = 0


class LatencyStage(QueueStage):
    attributes: Latency
    attributes_type = Latency
    held_most = 32 << 20  # or a fast stream would be slowed more than it is delayed

    def due(self, size: int, arrived: float, previous: float) -> float:
        delay_ms, jitter_ms = self.attributes.latency, self.attributes.jitter
        if jitter_ms:
            delay_ms += self.random.randrange(-jitter_ms, jitter_ms)
        return arrived + max(0, delay_ms) / 1000
