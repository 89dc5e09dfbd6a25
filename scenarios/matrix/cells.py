"""The cells of the matrix: all that there are, made from the target, and which of them cannot be, for what reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from harness.target import Target

Stream = Literal["upstream", "downstream"]
FarEnd = Literal["client side", "database", "broker", "service", "sink"]
"""What kind of thing an edge leads to; ``client side`` is an edge that a client opens, whatever it leads to."""

TOXICS = ("latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data", "down")
STREAMS: tuple[Stream, ...] = get_args(Stream)
FAR_ENDS: tuple[FarEnd, ...] = get_args(FarEnd)
ARROWS: dict[Stream, str] = {"upstream": "↑", "downstream": "↓"}
GENTLE = frozenset({"latency", "bandwidth", "slow_close", "slicer"})
"""Under these everything still comes through, only later or in pieces."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One toxic on one edge in one direction."""

    edge: str
    toxic: str
    stream: Stream

    @property
    def name(self) -> str:
        """Its scenario's name, which is its own within a run."""
        return f"matrix {self.edge} {self.toxic} {self.stream}"

    @property
    def near(self) -> str:
        return self.edge.partition("→")[0]

    @property
    def far(self) -> str:
        return self.edge.partition("→")[2]

    @property
    def far_end(self) -> FarEnd:
        return far_end(self.edge)

    @property
    def gentle(self) -> bool:
        return self.toxic in GENTLE


def far_end(edge: str) -> FarEnd:
    """The kind of an edge's far end."""
    near, _, far = edge.partition("→")
    if near == "client":
        return "client side"
    if far in ("webhook", "mail"):
        return "sink"
    return "database" if far == "database" else "broker" if far == "broker" else "service"


def cells(target: Target) -> list[Cell]:
    """Every cell, applicable or not, in the order of the target's edges."""
    return [Cell(edge, toxic, stream) for edge in target.edges for toxic in TOXICS for stream in STREAMS]


def not_applicable(cell: Cell) -> str | None:
    """Why there is nothing to run in this cell; None where there is."""
    if cell.toxic == "down" and cell.stream == "downstream":
        return "down has no direction: the cell ↑ takes both away"
    if (cell.toxic, cell.far, cell.stream) == ("slow_close", "webhook", "downstream"):
        return "the receiver never closes a connection itself: it waits until who called has closed"
    return None
