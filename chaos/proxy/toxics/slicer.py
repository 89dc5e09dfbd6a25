"""slicer: chunks are cut into slices of ``average_size`` ± ``size_variation`` bytes, ``delay`` microseconds apart."""

from __future__ import annotations

from typing import Annotated

import msgspec

from chaos.proxy.toxics.stage import Attributes, NotNegative, QueueStage


class Slicer(Attributes):
    average_size: Annotated[int, msgspec.Meta(ge=1)]
    size_variation: NotNegative = 0
    delay: NotNegative = 0

    def __post_init__(self) -> None:
        if self.size_variation >= self.average_size:
            raise ValueError(
                f"size_variation {self.size_variation} has to be less than average_size {self.average_size}"
            )


class SlicerStage(QueueStage):
    attributes: Slicer
    attributes_type = Slicer

    def piece(self, size: int) -> int:
        average, variation = self.attributes.average_size, self.attributes.size_variation
        if size - average <= variation:
            return size
        return average + (self.random.randrange(-variation, variation) if variation else 0)

    def due(self, size: int, arrived: float, previous: float) -> float:
        return max(arrived, previous + self.attributes.delay / 1_000_000)
