"""Waiting until a system is quiet: every correlation closed, nothing unsent, nothing queued. In place of sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.contract.log_lines import InBand, Line
from harness.trace.edges import obligations
from harness.trace.flow import Flow, Surroundings

POLL_S = 0.03
CALM_S = 0.15
"""So long no new line may come, before the last look: a line that is on its way now would be missed otherwise."""
PAUSE_S = 0.05
"""The same within a scenario, which goes on: what comes late is still its own."""
LATE_S = 3.0
"""The same while a line is missing that should have gone before another. Some come late: whoever has lost the answer to
a COMMIT writes down what it stored when it can ask again, and its relay may have published that before."""


@dataclass(frozen=True, slots=True)
class Rest:
    """How waiting ended. ``awaited`` says what had not come, one text each; empty means quiet."""

    awaited: tuple[str, ...]
    waited_s: float

    @property
    def quiet(self) -> bool:
        return not self.awaited


@dataclass
class QuietWatch:
    """Keeps the flows of one scenario up to date with the log, and tells which are still open.

    ``read_on``: all lines so far, a list that only grows. ``surroundings``: as for judging. ``unfinished``: looks that
    cost more than reading the log (unsent outbox rows, queue depths), taken only when the log says that all is closed;
    each gives texts about what is not finished. ``concerns``: whether a flow is waited for; on a system that others use
    as well, only our own are.
    """

    read_on: Callable[[], list[Line]]
    surroundings: Callable[[], Surroundings]
    unfinished: Callable[[], list[str]]
    concerns: Callable[[str], bool] = lambda flow: True
    _flows: dict[str, list[InBand]] = field(default_factory=dict)
    _open: dict[str, str] = field(default_factory=dict)
    _orphaned: set[str] = field(default_factory=set)
    _taken: int = 0
    _around: Surroundings = field(default_factory=Surroundings)

    def await_quiet(self, *, within_s: float = 30.0, stalled_s: float = 7.0, calm_s: float = CALM_S) -> Rest:
        """Wait until nothing is open and no line has come for ``calm_s``, or until there is no hope: no line for
        ``stalled_s``, or ``within_s`` over."""
        began = last_line = time.monotonic()
        while True:
            if self._take_new_lines():
                last_line = time.monotonic()  # to read much takes long
            now = time.monotonic()
            still_open = [says for flow, says in self._open.items() if self.concerns(flow)]
            calm = min(LATE_S, stalled_s) if any(map(self.concerns, self._orphaned)) else calm_s
            if not still_open and now - last_line >= calm:
                unfinished = self.unfinished()
                if not unfinished and not self._take_new_lines():
                    return Rest((), now - began)
                awaited = tuple(unfinished)
            else:
                awaited = tuple(still_open)
            if now - began > within_s or now - last_line > stalled_s:
                return Rest(awaited or ("a moment without new lines",), now - began)
            time.sleep(POLL_S)

    def forget(self) -> None:
        """Nothing is asked any more: let go of all lines."""
        self._flows.clear()
        self._open.clear()
        self._orphaned.clear()

    def _take_new_lines(self) -> bool:
        """Read on, and judge the flows that have grown; all open ones if a kill may excuse them now. False: no news."""
        around = self.surroundings()
        grown = set() if around == self._around else set(self._open)
        self._around = around
        came = False
        lines = self.read_on()
        new, self._taken = lines[self._taken :], len(lines)
        for line in new:
            if isinstance(line, InBand):
                came = came or self.concerns(line.correlation_id)
                self._flows.setdefault(line.correlation_id, []).append(line)
                grown.add(line.correlation_id)
        for correlation_id in grown:
            self._judge(correlation_id, around)
        return came

    def _judge(self, correlation_id: str, around: Surroundings) -> None:
        flow = Flow(correlation_id, self._flows[correlation_id])
        unmet = [obligation for obligation in obligations(flow, around) if not obligation.holds]
        if any(obligation.state == "orphan" for obligation in unmet):
            self._orphaned.add(correlation_id)
        else:
            self._orphaned.discard(correlation_id)
        still_open = next((obligation for obligation in unmet if obligation.state == "open"), None)
        if still_open is None:
            self._open.pop(correlation_id, None)
        else:
            self._open[correlation_id] = f"{still_open.missing} by {still_open.by} in flow {correlation_id}"
