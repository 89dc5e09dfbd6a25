"""What is known of a kind of fault: where it may be, with which parameters, and what it does to those around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

from chaos.faults.site import Attestation, FaultSite
from chaos.schedule.schedule import Moment, PlannedFault, Value
from harness.target import Target

Group = Literal["network", "process", "broker", "database", "outside", "wire"]
Action = Literal["cut", "stall", "delay", "drop", "duplicate"]
Injection = Callable[[FaultSite, PlannedFault], AbstractContextManager[Attestation]]
Follows = Callable[[Target, str], list[Moment]]
Whether = Callable[[Target, str], bool]

LASTS_MS = (300, 1000, 2500)
"""The longest is longer than readiness may take to follow."""


def nothing(target: Target, place: str) -> list[Moment]:
    """What follows a fault that sets nothing off."""
    return []


def never(target: Target, place: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of fault that a schedule may name."""

    name: str
    group: Group
    places: Callable[[Target], tuple[str, ...]]
    inject: Injection
    choices: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    """Its parameters, the mildest value first: drawing takes any, shrinking goes towards the first."""
    lasts_ms: tuple[int, ...] = LASTS_MS
    """For how long it may be drawn; empty for what has its own end."""
    sets_off: Follows = nothing
    """Moments that come only because of it, at which the next fault may strike."""
    action: Action | None = None
    """What the proxy does, for a fault that is done to an event. ``at`` says to which it can be done."""
    at: Callable[[Moment], bool] = lambda moment: True
    counted: bool = False
    """Its hits are counted by the proxy, which has to be ours."""
    needs_flow: bool = False
    """It comes to no effect as long as its place is held still."""
    exhausts: Whether = never
    """Whether, at this place, an event that meets it at every attempt dies, and rightly: whom the event needs is there
    all the same, as far as anybody can tell. (What takes a peer away is no reason to give an event up.)"""
    in_the_broker: Whether = never
    """Whether, at this place, it keeps the gauntlet from handing the broker messages of its own."""
    needs: str = ""
    """The server by which it is done, and at which no other fault may be meanwhile."""

    @property
    def on_the_wire(self) -> bool:
        """Whether it is done to an event, by the proxy."""
        return self.action is not None

    @property
    def needs_our_proxy(self) -> bool:
        return self.on_the_wire or self.counted

    def seat(self, place: str) -> str:
        """Where it is, for whoever keeps two faults from being at one place at once."""
        return self.needs or place
