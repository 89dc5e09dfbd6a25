"""How often a schedule is red, and what that asks of a smaller one which is to take its place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_SURE = 0.95
_MOST_TRIES = 6
_ALWAYS_RED = 3
"""So often in a row it has to be red, to stand for one that always was."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Red ``red`` times ``of`` so many."""

    red: int
    of: int

    def __str__(self) -> str:
        return f"{self.red} of {self.of}"

    @property
    def always(self) -> bool:
        return self.red == self.of


def rate(reds: Sequence[bool]) -> Rate:
    return Rate(sum(reds), len(reds))


@dataclass(frozen=True, slots=True)
class Demand:
    """At least ``red`` of ``tries`` have to be red. One try after the other; ``met`` says as soon as it is known."""

    red: int
    tries: int

    def met(self, reds: Sequence[bool]) -> bool | None:
        """None as long as it depends on tries to come."""
        if sum(reds) >= self.red:
            return True
        return False if sum(reds) + self.tries - len(reds) < self.red else None


def demand(rate: Rate) -> Demand:
    """Of what is always red, always; of what is red now and then, once in as many tries as it needs for that."""
    if rate.always:
        return Demand(_ALWAYS_RED, _ALWAYS_RED)
    share = max(1, rate.red) / rate.of
    tries = math.ceil(math.log(1 - _SURE) / math.log(1 - share)) if share < 1 else 1
    return Demand(1, max(1, min(_MOST_TRIES, tries)))


def bound_of_none(runs: int) -> float:
    """None of so many were red: then, in 95 of 100 such cases, fewer than this share ever are (the rule of three)."""
    return min(1.0, 3 / runs) if runs else 1.0
