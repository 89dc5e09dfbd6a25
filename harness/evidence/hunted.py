"""What hunting seeded bugs leaves behind besides evidence: which scenarios ran, and what became of each bug."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Outcome = Literal["killed", "wrong reason", "survived", "timeout", "no stack", "stale", "not run"]
"""``killed``: red, for a property that the bug breaks. ``wrong reason``: red, for another one or for none.
``no stack``: the system did not come up with the bug in it, so nothing was judged; that is no kill."""


class Judged(Struct, frozen=True, kw_only=True):
    """One scenario that ran with a bug planted. ``after_s``: from the moment its stack was up to its verdict."""

    scenario: str
    verdict: Literal["pass", "fail", "unknown"]
    failed: tuple[str, ...] = ()
    says: str = ""
    after_s: float = 0.0


class Hunted(Struct, frozen=True, kw_only=True):
    """What became of one bug. ``by``: the expected properties that failed; ``scenario``: where it was red."""

    bug: str
    name: str
    outcome: Outcome
    expect: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    scenario: str = ""
    kill_s: float | None = None
    says: str = ""
    took_s: float = 0.0
    judged: tuple[Judged, ...] = ()
    run: str = ""


class KillMatrix(Struct, frozen=True, kw_only=True):
    """A whole hunt, as ``kill-matrix.json`` holds it."""

    catalogue: str
    seed: int
    began_at: str
    machine: str
    workers: int
    hunted: tuple[Hunted, ...]
    took_s: float = 0.0
    interrupted: bool = False

    @property
    def alive(self) -> list[Hunted]:
        """The bugs that were not killed, whatever became of them instead."""
        return [one for one in self.hunted if one.outcome != "killed"]
