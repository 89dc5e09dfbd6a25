"""What became of each scenario as a test, whether it left evidence to judge or not: one line a scenario."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from harness.evidence.run_directory import RunDirectory, read_records

How = Literal["passed", "failed", "not set up", "crashed"]
"""``not set up``: it could not even begin, mostly for want of a stack. ``crashed``: its worker died with it."""


class Outcome(Struct, frozen=True, kw_only=True):
    """``file`` and ``line`` (from 1): where it stands. ``told``: what it wrote down of itself (``record_property``)."""

    scenario: str
    file: str
    line: int | None
    how: How
    worker: str
    began_at: str
    took_s: float
    says: str = ""
    told: dict[str, str] = {}


def read_outcomes(run: RunDirectory) -> tuple[Outcome, ...]:
    """In the order in which they ended; none of a run from before they were written down. Raises EvidenceError."""
    return read_records(run.outcomes_file, Outcome) if run.outcomes_file.exists() else ()
