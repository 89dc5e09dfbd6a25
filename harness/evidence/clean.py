"""What running the gauntlet on a clean system again and again leaves behind: how often it raised an alarm."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Part = Literal["gate", "chaos"]


class CleanRun(Struct, frozen=True, kw_only=True):
    """One run: a gate, and then random chaos, by one seed. ``alarms``: what was not green, each with its evidence."""

    number: int
    seed: int
    scenarios: int = 0
    schedules: int = 0
    alarms: tuple[Alarm, ...] = ()
    took_s: float = 0.0


class Alarm(Struct, frozen=True, kw_only=True):
    """A scenario or schedule that was not green although no bug was planted."""

    part: Part
    scenario: str
    says: str
    run: str


class CleanRecord(Struct, frozen=True, kw_only=True):
    """All of it, as ``clean.json`` holds it. ``code``: a digest of everything that ran; a record is of one code."""

    seed: int
    code: str
    began_at: str
    machine: str
    workers: int
    schedules: int
    runs: tuple[CleanRun, ...] = ()

    @property
    def alarms(self) -> list[Alarm]:
        return [alarm for run in self.runs for alarm in run.alarms]

    @property
    def noisy(self) -> int:
        """How many runs raised an alarm."""
        return sum(bool(run.alarms) for run in self.runs)

    @property
    def below(self) -> float:
        """Where no run raised one: no larger a share does, in 95 of 100 cases (the rule of three: 3 of N).

        Hanley and Lippman-Hand, If nothing goes wrong, is everything all right?, JAMA 249 (1983).
        """
        return min(1.0, 3 / len(self.runs)) if self.runs else 1.0
