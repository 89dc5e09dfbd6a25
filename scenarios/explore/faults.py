"""The faults of one schedule at work: each waits in a thread of its own for its moment, comes, stays, and is undone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from chaos.faults.site import FaultSite
from chaos.schedule.kinds import KINDS
from chaos.schedule.schedule import PlannedFault
from harness.evidence.clock import wall_now
from harness.evidence.explored import FaultOutcome, Met

AT_MOST_S = 4.0
"""No fault lasts longer, whatever its schedule says: clients that wait for its end would never come to theirs."""
_UNTIL_EFFECTIVE_S = 0.3
"""So long a lane waits for a fault of its step to take effect. A SIGTERM takes longer, which is the point of it."""
_LINGER_S = 1.5
"""What the lanes have set off goes on after them: so long the moments on the wire may still come."""
_UNDONE_WITHIN_S = 60.0


@dataclass
class _Fault:
    """One fault. ``spent``: between which moments it was there, and what it hit."""

    planned: PlannedFault
    due: threading.Event = field(default_factory=threading.Event)
    effective: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    came_at: str = ""
    ended_at: str = ""
    hits: int = 0
    failure: BaseException | None = None

    @property
    def outcome(self) -> FaultOutcome:
        met: Met = "hit" if self.hits else "missed" if self.came_at else "never came"
        return FaultOutcome(fault=str(self.planned), met=met, hits=self.hits)


class Faults:
    """All faults of a schedule, from before its lanes begin until everything is undone."""

    def __init__(self, site: FaultSite, planned: Sequence[PlannedFault]) -> None:
        self._site = site
        self._faults = [_Fault(one) for one in planned]
        self._over = threading.Event()
        self._seats = {_seat(one): threading.Lock() for one in planned}

    @contextmanager
    def at_work(self) -> Iterator[Faults]:
        """Faults may come for the duration of the block, and a little longer for those that wait for an event.

        Raises what a fault raises, when all have been undone.
        """
        threads = [threading.Thread(target=self._live, args=(one,), name=str(one.planned)) for one in self._faults]
        for thread in threads:
            thread.start()
        try:
            yield self
            self._linger()
        finally:
            self._over.set()
            for one in self._faults:
                one.due.set()
            for thread in threads:
                thread.join(_UNDONE_WITHIN_S)
        for one in self._faults:
            if one.failure is not None:
                raise one.failure
        if any(thread.is_alive() for thread in threads):
            raise TimeoutError(f"not undone within {_UNDONE_WITHIN_S:g} s: {[t.name for t in threads if t.is_alive()]}")

    def step_done(self, lane: int, steps: int) -> None:
        """So many steps of a lane are done: what is due now comes before its next step."""
        due = [
            one for one in self._faults if not one.planned.at.on_the_wire
            and (one.planned.at.lane, one.planned.at.step) == (lane, steps)
        ]  # fmt: skip
        for one in due:
            one.due.set()
        for one in due:
            one.effective.wait(_UNTIL_EFFECTIVE_S)

    def outcomes(self) -> tuple[FaultOutcome, ...]:
        return tuple(one.outcome for one in self._faults)

    def exhausting(self) -> list[tuple[str, str]]:
        """Between which moments an event that failed had a fault as its reason which may outlast all attempts."""
        return [
            (one.came_at, one.ended_at)
            for one in self._faults
            if one.came_at and KINDS[one.planned.kind].exhausts(one.planned.place)
        ]

    def _linger(self) -> None:
        until = time.monotonic() + _LINGER_S
        for one in self._faults:
            one.ended.wait(max(0.0, until - time.monotonic()))

    def _live(self, one: _Fault) -> None:
        try:
            one.due.wait()
            if not self._over.is_set():
                with self._seats[_seat(one.planned)]:
                    self._inject(one)
        except BaseException as failure:
            one.failure = failure
        finally:
            one.effective.set()
            one.ended.set()

    def _inject(self, one: _Fault) -> None:
        kind = KINDS[one.planned.kind]
        one.came_at = wall_now()
        with kind.inject(self._site, one.planned) as attestation:
            one.effective.set()
            lasts_s = AT_MOST_S if one.planned.for_ms is None else one.planned.for_ms / 1000
            self._over.wait(min(lasts_s, AT_MOST_S))
        one.ended_at = wall_now()
        one.hits = attestation.hits


def _seat(planned: PlannedFault) -> str:
    return KINDS[planned.kind].seat(planned.place)
