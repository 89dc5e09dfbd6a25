"""What exploring leaves behind besides evidence: which schedules ran, what their faults hit, and what was found."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Met = Literal["hit", "missed", "never came"]
"""``missed``: it was there, and nothing was in flight. ``never came``: its moment did not."""


class FaultOutcome(Struct, frozen=True, kw_only=True):
    """What became of one fault of a schedule."""

    fault: str
    met: Met
    hits: int = 0


class Ran(Struct, frozen=True, kw_only=True):
    """One schedule that was run. ``failed``: the properties that did; ``error``: what the run itself stumbled over."""

    name: str
    schedule: str
    verdict: Literal["pass", "fail", "unknown"]
    failed: tuple[str, ...] = ()
    says: str = ""
    error: str | None = None
    faults: tuple[FaultOutcome, ...] = ()
    took_s: float = 0.0


class Discovery(Struct, frozen=True, kw_only=True):
    """A schedule that is red, as small as it could be made. ``red`` of ``of`` more runs of it were red as well."""

    name: str
    file: str
    schedule: str
    properties: tuple[str, ...]
    says: str
    red: int
    of: int
    faults: int
    steps: int
    tried: int
    minimal: bool


class Explored(Struct, frozen=True, kw_only=True):
    """A whole exploration, as ``explore.json`` holds it. ``below``: no larger a share of schedules is red, in 95 of 100
    cases, where none was."""

    seed: int
    ran: tuple[Ran, ...] = ()
    found: tuple[Discovery, ...] = ()
    below: float = 1.0
    interrupted: bool = False
    took_s: float = 0.0

    @property
    def unknown(self) -> int:
        return sum(one.verdict == "unknown" for one in self.ran)
