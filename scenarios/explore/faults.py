"""The faults of one schedule at work: each waits in a thread of its own for its moment, comes, stays, and is undone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from chaos.faults.site import FaultSite, injected
from chaos.proxy.triggers import Trigger
from chaos.schedule.kind import Kind
from chaos.schedule.kinds import KINDS
from chaos.schedule.moments import edges_at
from chaos.schedule.schedule import PlannedFault
from harness.evidence.clock import wall_now
from harness.evidence.explored import FaultOutcome, Met
from harness.target import Target
from scenarios.deaths import Excuse
from scenarios.explore.ambush import Ambush

AT_MOST_S = 4.0
"""No fault of an exploration lasts longer: clients that wait for its end would never come to theirs."""
_UNTIL_EFFECTIVE_S = 0.3
"""So long a lane waits for a fault of its step to take effect. A SIGTERM takes longer, which is the point of it."""
_ARMED_WITHIN_S = 5.0
_LOOK_S = 0.2
"""One question to the proxy whether the event has come waits so long for the answer yes."""
_LOOK_AGAIN_S = 0.05
"""Between two questions how often it has come."""
_LINGER_S = 1.5
"""What the lanes have set off goes on after them: so long the moments on the wire may still come."""
_UNDONE_WITHIN_S = 60.0


@dataclass
class _Fault:
    """One fault: what it waits for, and what has become of it."""

    planned: PlannedFault
    due: threading.Event = field(default_factory=threading.Event)
    ready: threading.Event = field(default_factory=threading.Event)
    """The lanes may begin: it waits for its step, or the proxy for its event."""
    effective: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    came_at: str = ""
    ended_at: str = ""
    hits: int = 0
    failure: BaseException | None = None

    @property
    def kind(self) -> Kind:
        return KINDS[self.planned.kind]

    def lasts_s(self, at_most_s: float) -> float:
        return min(at_most_s, at_most_s if self.planned.for_ms is None else self.planned.for_ms / 1000)

    def may_cost(self, target: Target) -> int | None:
        """How many attempts of one event; None: all of them.

        Whatever takes a peer away may cost one, where the peer is back before anybody looks whether it is there.
        """
        return self.times if self.kind.exhausts(target, self.planned.place) else 1

    @property
    def times(self) -> int | None:
        """So often it strikes; None: whatever it meets while it is there."""
        times = self.planned.parameters.get("times")
        return None if times is None else int(times)

    @property
    def outcome(self) -> FaultOutcome:
        met: Met = "hit" if self.hits else "missed" if self.came_at else "never came"
        return FaultOutcome(fault=str(self.planned), met=met, hits=self.hits)


class Faults:
    """All faults of a schedule, from before its lanes begin until everything is undone."""

    def __init__(
        self, site: FaultSite, target: Target, planned: Sequence[PlannedFault], *, at_most_s: float = AT_MOST_S
    ) -> None:
        """``at_most_s``: no fault lasts longer, whatever its schedule says."""
        self._site, self._target, self._at_most_s = site, target, at_most_s
        self._faults = [_Fault(one) for one in planned]
        self._over = threading.Event()
        self._seats = {one.kind.seat(one.planned.place): threading.Lock() for one in self._faults}

    @contextmanager
    def at_work(self) -> Iterator[Faults]:
        """Faults may come for the duration of the block, and a little longer for those that wait for an event.

        Raises what a fault raises, when all have been undone.
        """
        threads = [threading.Thread(target=self._live, args=(one,), name=str(one.planned)) for one in self._faults]
        for thread in threads:
            thread.start()
        try:
            for one in self._faults:
                one.ready.wait(_ARMED_WITHIN_S)
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

    def active(self) -> tuple[str, ...]:
        """Those that are there right now."""
        return tuple(str(one.planned) for one in self._faults if one.came_at and not one.ended_at)

    def excuses(self) -> list[Excuse]:
        """What each fault that came was a good reason for."""
        return [
            Excuse(one.came_at, one.ended_at, most=one.may_cost(self._target)) for one in self._faults if one.came_at
        ]

    def _linger(self) -> None:
        until = time.monotonic() + _LINGER_S
        for one in self._faults:
            one.ended.wait(max(0.0, until - time.monotonic()))

    # --- the life of one ----------------------------------------------------------------------------------------

    def _live(self, one: _Fault) -> None:
        try:
            if one.planned.at.on_the_wire:
                self._wait_for_its_event(one)
            else:
                one.ready.set()
                one.due.wait()
                if not self._over.is_set():
                    with self._seats[one.kind.seat(one.planned.place)]:
                        self._come(one, released=lambda: None)
        except BaseException as failure:
            one.failure = failure
        finally:
            for moment in (one.ready, one.effective, one.ended):
                moment.set()

    def _wait_for_its_event(self, one: _Fault) -> None:
        """The proxy does it by itself, or holds everything there until we have done it."""
        with Ambush(self._site.proxy, one.planned, _trigger(one, self._target)) as ambush:
            one.ready.set()
            while not ambush.struck(within_s=_LOOK_S):
                if self._over.is_set():
                    return
            if one.kind.on_the_wire:
                self._stay(one, ambush)
                return
            seat = self._seats[one.kind.seat(one.planned.place)]
            if not seat.acquire(blocking=False):
                ambush.release()  # who sits there may need what it holds up to get away: an exchange is made anew
                seat.acquire()
            try:
                self._come(one, released=lambda: self._let_go(one, ambush))
            finally:
                seat.release()

    def _stay(self, one: _Fault, ambush: Ambush) -> None:
        """What the proxy has done is written down; a stall is ended."""
        one.came_at = ambush.at
        told, at = f"{one.kind.action} {one.planned.at.when} {one.planned.at.event}", one.planned.place
        with injected(self._site, told, at, effect=lambda: None, undo=ambush.release) as attestation:
            attestation.began_at = ambush.at
            if one.kind.lasts_ms:
                self._over.wait(one.lasts_s(self._at_most_s))
            self._until_it_struck_enough(one, ambush)
            one.hits = ambush.hits()
            attestation.add(one.hits, f"{one.planned.at}: {one.hits} times")
        one.ended_at = wall_now()

    def _until_it_struck_enough(self, one: _Fault, ambush: Ambush) -> None:
        until = time.monotonic() + self._at_most_s
        while ambush.hits() < (one.times or 1) and time.monotonic() < until and not self._over.wait(_LOOK_AGAIN_S):
            pass

    def _come(self, one: _Fault, *, released: Callable[[], object]) -> None:
        one.came_at = wall_now()
        if one.kind.needs_flow:
            released()
        with one.kind.inject(self._site, one.planned) as attestation:
            released()
            one.effective.set()
            self._over.wait(one.lasts_s(self._at_most_s))
        one.ended_at = wall_now()
        one.hits = attestation.hits

    def _let_go(self, one: _Fault, ambush: Ambush) -> None:
        """What a process had written before it was killed is dropped: nothing of it is passed on after its moment."""
        edges = edges_at(self._target, one.planned.place) if one.kind.name == "SIGKILL" else []
        for edge in edges:
            self._site.proxy.cut(edge)
        ambush.release()
        for edge in edges:
            self._site.proxy.restore(edge)


def _trigger(one: _Fault, target: Target) -> Trigger:
    """What the proxy does at the event; for all that it cannot do by itself, it holds the edges of the place."""
    at, parameters = one.planned.at, one.planned.parameters
    assert at.stream is not None
    others = [edge for edge in edges_at(target, one.planned.place) if edge != at.edge]
    by_the_proxy = one.kind.action is not None
    return Trigger(
        event=at.event,
        stream=at.stream,
        detail=at.detail,
        nth=at.nth,
        when=at.when,
        action=one.kind.action or "hold",
        hold=() if by_the_proxy else tuple(others),
        times=one.times or 1 if by_the_proxy else 1,
        delay_ms=int(parameters.get("delay_ms", 0)) if by_the_proxy else 0,
    )
