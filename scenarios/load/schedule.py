"""The schedule: every arrival of a run with its moment and its kind, drawn from the seed before the first one comes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from msgspec import structs

from harness.load.arrivals import draw_arrivals
from scenarios.load.order import Order
from scenarios.load.profiles import Kind

BURST = 10
"""So many requests at once are one arrival of the kind ``race``."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """``number`` in the whole schedule; ``at_ns`` after its zero; so many requests of this kind at the same moment."""

    number: int
    at_ns: int
    kind: Kind
    requests: int


def arrivals_of(order: Order) -> Iterator[Arrival]:
    """The share of one process. The shares of all processes are the whole schedule, each arrival once."""
    kinds, weights = list(order.mix), list(order.mix.values())
    chance = random.Random(f"kinds {order.seed}")
    for number, at_ns in enumerate(draw_arrivals(order.steps, order.arrivals, order.seed)):
        kind = chance.choices(kinds, weights)[0]  # drawn for the others' arrivals too, so that all draw alike
        if number % order.parts == order.part:
            yield Arrival(number, at_ns, kind, BURST if kind == "race" else 1)


def requests_in(order: Order) -> int:
    """How many requests the whole schedule is."""
    return sum(arrival.requests for arrival in arrivals_of(structs.replace(order, part=0, parts=1)))
