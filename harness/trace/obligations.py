"""An obligation: one line has been written, so another has to follow (or has to have gone before)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, TypeVar

from msgspec import Struct

from harness.contract.log_lines import InBand

Key = TypeVar("Key")
State = Literal["closed", "duplicated", "open", "excused", "orphan", "excess"]
"""``open``: what must follow has not come. ``orphan``: what must have gone before was never logged.
``excess``: more came than may come. ``duplicated``: more came, and may. ``excused``: a kill of ours explains it."""


class Obligation(Struct, frozen=True, eq=False, gc=False):
    """One causal edge at one line. ``by`` names the service that has to write the missing line."""

    edge: str
    line: InBand
    state: State
    missing: str
    by: str

    @property
    def holds(self) -> bool:
        return self.state in ("closed", "duplicated", "excused")


def exactly_one(count: int, *, excused: bool = False) -> State:
    """The state of an edge that must be closed by one line, no more."""
    if count == 0:
        return "excused" if excused else "open"
    return "closed" if count == 1 else "excess"


def at_least_one(count: int) -> State:
    """The state of an edge that may be closed more than once: at-least-once delivery."""
    return "open" if count == 0 else "closed" if count == 1 else "duplicated"


def tally(keys: Iterable[Key]) -> dict[Key, int]:
    """How often each key comes; 0 for any other. A Counter takes longer to make than a small flow has use for it."""
    counts: dict[Key, int] = defaultdict(int)
    for key in keys:
        counts[key] += 1
    return counts
