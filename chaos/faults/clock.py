"""The wall clock of one service is wrong, as where nobody keeps it in step; all others are right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected
from harness.contract.log_lines import InBand
from harness.environment.failures import EnvironmentFailed
from harness.evidence.clock import seconds_between, wall_now


@contextmanager
def skewed(site: FaultSite, place: str, *, skew_s: float = 3600.0) -> Iterator[Attestation]:
    """Restart a service with a clock that is so much fast (negative: slow), and at the end with the right one.

    Hits: lines of flows that it wrote meanwhile. Raises EnvironmentFailed where libfaketime is not installed.
    """
    process = site.service(place)
    begun: list[str] = []

    def with_clock(skew_s: float) -> None:
        process.terminate()
        process.start(skew_s=skew_s)
        process.await_ready()

    def skew() -> None:
        begun.append(wall_now())
        with_clock(skew_s)
        _assert_skewed(site, place, since=begun[0])

    with injected(site, "clock", place, effect=skew, undo=lambda: with_clock(0.0)) as attestation:
        yield attestation
        lines = [line for line in site.log() if line.service == place and line.ts > begun[0]]
        worked = sum(isinstance(line, InBand) for line in lines)
        attestation.add(worked, f"{place} wrote {worked} lines of flows with a clock that is {skew_s:+g} s fast")


def _assert_skewed(site: FaultSite, place: str, *, since: str) -> None:
    """Its lines are corrected when they are read: were its clock right after all, they would be wrong by as much."""
    now = wall_now()
    if not any(line.service == place and line.ts > since and seconds_between(line.ts, now) >= 0 for line in site.log()):
        raise EnvironmentFailed(f"{place} was started with a skewed clock, and writes its lines with the right one")
