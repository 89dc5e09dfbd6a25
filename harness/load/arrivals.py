"""When requests are meant to begin: drawn before the run, from its seed alone.

Arrivals are *open*: they come when they come, however long answers take. A client that waits for an answer before it
asks again asks less while the system stalls, and so leaves out what would have been slow (Schroeder, Wierman and
Harchol-Balter, "Open Versus Closed: A Cautionary Tale", NSDI 2006; Gil Tene calls the loss coordinated omission).
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterator, Sequence
from typing import Literal

from harness.load.records import Step

NS = 1_000_000_000


def draw_arrivals(steps: Sequence[Step], arrivals: Literal["poisson", "constant"], seed: int) -> array[int]:
    """The offsets of all arrivals from the beginning, in nanoseconds, in order.

    Both kinds count in expected arrivals, so ramps are exact: where so many are expected by then, one comes. For
    ``poisson`` these counts are a Poisson process of rate 1 (inversion: Çinlar, "Introduction to Stochastic Processes",
    1975, ch. 4.7); for ``constant`` they are ½, 1½, 2½ …, so arrivals are evenly spaced wherever the rate is even.
    """
    counts = _poisson(random.Random(f"arrivals {seed}")) if arrivals == "poisson" else _evenly()
    return array("q", (round(at_s * NS) for at_s in _moments(steps, counts)))


def dealt(offsets: array[int], process: int, processes: int) -> array[int]:
    """The arrivals of one of so many processes, numbered from 0. All of them together make the same schedule."""
    return offsets[process::processes]


def _poisson(chance: random.Random) -> Iterator[float]:
    count = 0.0
    while True:
        count += chance.expovariate(1.0)
        yield count


def _evenly() -> Iterator[float]:
    count = 0.5
    while True:
        yield count
        count += 1.0


def _moments(steps: Sequence[Step], counts: Iterator[float]) -> Iterator[float]:
    began_s = expected = 0.0
    count = next(counts)
    for step in steps:
        within = (step.from_rate + step.to_rate) / 2 * step.seconds
        while count - expected < within:
            yield began_s + _when_expected(step, count - expected)
            count = next(counts)
        began_s += step.seconds
        expected += within


def _when_expected(step: Step, count: float) -> float:
    """After so many seconds of a step, so many arrivals are expected: the root of a t + (b - a) t² / 2T = count."""
    bend = (step.to_rate - step.from_rate) / step.seconds
    root = math.sqrt(max(0.0, step.from_rate**2 + 2 * bend * count))
    return min(step.seconds, 2 * count / (step.from_rate + root))
