"""Where a direction leaves the proxy: its bytes are read as events, counted, and triggers act on them, to the byte.

It stands behind the toxics, so "passed on" is meant as the receiver sees it. Without a trigger a chunk is written as it
came. With one, bytes are kept until the event that they belong to has ended and it is known whether something is to
happen; from then on everything is done in the order of the bytes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from chaos.proxy.alarm import Alarm
from chaos.proxy.toxics.stage import End
from chaos.proxy.triggers import Step, plan
from chaos.proxy.wire.events import Decoder, Edit, Event

if TYPE_CHECKING:
    from chaos.proxy.relay import Flow


class Tap:
    """The last station of one direction of one connection. ``write`` puts bytes on the wire."""

    def __init__(self, flow: Flow, decoder: Decoder, write: Callable[[bytes], object]) -> None:
        self._flow = flow
        self._decoder = decoder
        self._write = write
        self._counts = flow.proxy.counts.streams[flow.stream]
        self._recorder = flow.proxy.recorder
        self._armed = flow.proxy.armed[flow.stream]
        self._reads = flow.proxy.protocol is not None
        self._came = 0  # bytes
        self._careful = False
        self._blocks: set[object] = set()
        self._end: End | None = None
        # Only while careful:
        self._passed = 0  # bytes: what was kept begins here
        self._kept: deque[bytes] = deque()
        self._events: deque[Event] = deque()  # not yet passed, and so not yet counted
        self._edits: dict[int, Edit] = {}
        self._steps: deque[Step] = deque()
        self._working = False
        self.look_around()

    # --- the way of every chunk -------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        self._came += len(data)
        if self._reads:
            decoder = self._decoder
            events = decoder.feed(data)
            if decoder.opaque is not None:
                self._give_up(decoder.opaque)
            if self._careful or decoder.editing:
                self._keep(data, events)
                return
            if events:
                of = self._counts.events
                for event in events:
                    of[event.name] += 1
                if self._recorder.on:
                    self._record(events)
        elif self._careful:
            self._keep(data, [])
            return
        self._counts.bytes += len(data)
        self._write(data)

    def finish(self, end: End) -> None:
        self._end = end
        events = self._decoder.eof() if self._reads else []
        if self._careful:
            self._events.extend(events)
            self._go_on()
        else:
            for event in events:
                self._count(event)
            self._flow.ended_with(end)

    # --- what holds it up -------------------------------------------------------------------------------------------

    def block(self, why: object) -> None:
        """Pass nothing more until ``unblock`` is called for the same reason."""
        self._blocks.add(why)
        self.look_around()
        self._flow.pause(self)

    def unblock(self, why: object) -> None:
        self._blocks.discard(why)
        self.look_around()

    def look_around(self) -> None:
        """Something may have changed: a trigger was armed or disarmed, a reason to wait has come or gone."""
        if not self._careful and (self._armed or self._blocks):
            self._careful = True
            self._passed = self._came
        if self._careful:
            self._go_on()

    def drop(self) -> None:
        """The connection is gone."""
        self._blocks.add(self)
        self._kept.clear()
        self._events.clear()
        self._steps.clear()

    # --- the careful way --------------------------------------------------------------------------------------------

    def _keep(self, data: bytes, events: list[Event]) -> None:
        if not self._careful:
            self._careful = True
            self._passed = self._came - len(data)
        self._kept.append(data)
        self._events.extend(events)
        self._edits.update((edit.start, edit) for edit in self._decoder.edits)
        self._go_on()
        if self._blocks:
            self._flow.pause(self)

    def _go_on(self) -> None:
        """Do all that can be done now, in the order of the bytes. (What it does may call it again.)"""
        if self._working:
            return
        self._working = True
        try:
            while not self._blocks and (self._steps or self._events):
                if self._steps:
                    self._carry_out(self._steps.popleft())
                else:
                    self._plan(self._events.popleft())
        finally:
            self._working = False
        if self._blocks:
            return
        withhold = self._reads and self._end is None and (self._armed or self._decoder.editing)
        self._pass_until(self._decoder.boundary if withhold else self._came)
        self._flow.resume(self)
        if self._end is not None:
            self._flow.ended_with(self._end)
        elif not withhold:
            self._careful = False

    def _plan(self, event: Event) -> None:
        self._count(event)
        edit = self._edits.pop(event.start, None)
        self._steps.extend(plan([event], self._armed, [edit] if edit else (), passed=self._passed))

    def _carry_out(self, step: Step) -> None:
        armed, event = step.armed, step.event
        if armed is not None and armed.disarmed:
            return
        if step.action == "duplicate":
            self._pass_until(step.at)
            self._duplicate(self._take_until(step.until), event)
        elif step.action in ("drop", "replace") and step.at >= self._passed:
            self._pass_until(step.at)
            self._take_until(step.until)
            if step.replacement:
                self._put(step.replacement)
        elif step.action == "cut":
            self._pass_until(step.at)
            self._flow.cut(lambda: armed.happened(self._flow.number, event) if armed and event else None)
            return
        else:
            self._pass_until(step.at)
            self._hold_up(step)
        if armed is not None and event is not None:
            armed.happened(self._flow.number, event)

    def _hold_up(self, step: Step) -> None:
        armed = step.armed
        if armed is None:
            return
        if step.action == "hold":
            self._flow.proxy.hold(armed)
        else:
            self._blocks.add(armed)
            self._flow.pause(self)
            if step.action == "delay":
                Alarm(time.monotonic() + armed.trigger.delay_ms / 1000, lambda: self.unblock(armed))

    def _duplicate(self, data: bytes, event: Event | None) -> None:
        self._put(data)
        if event is None:
            return
        if self._flow.proxy.protocol == "http":
            self._flow.proxy.send_once_more(data)
        else:
            self._put(data)
            self._decoder.duplicated(event)

    # --- bytes ------------------------------------------------------------------------------------------------------

    def _pass_until(self, offset: int) -> None:
        while self._kept and self._passed < offset:
            self._put(self._first(offset - self._passed))

    def _take_until(self, offset: int) -> bytes:
        """Out of what is kept, without passing it on."""
        taken = []
        while self._kept and self._passed < offset:
            taken.append(self._first(offset - self._passed))
        return b"".join(taken)

    def _first(self, most: int) -> bytes:
        data = self._kept.popleft()
        if len(data) > most:
            self._kept.appendleft(data[most:])
            data = data[:most]
        self._passed += len(data)
        return data

    def _put(self, data: bytes) -> None:
        self._counts.bytes += len(data)
        self._write(data)

    # --- evidence ---------------------------------------------------------------------------------------------------

    def _count(self, event: Event) -> None:
        self._counts.events[event.name] += 1
        if self._recorder.on:
            self._record([event])

    def _give_up(self, reason: str) -> None:
        """Bytes go on as they come, and are read no more."""
        self._reads = False
        self._counts.opaque = reason

    def _record(self, events: list[Event]) -> None:
        for event in events:
            self._recorder.add(self._flow.proxy.name, self._flow.number, self._flow.stream, event)
