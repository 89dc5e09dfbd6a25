"""Faults that wait for their moment: the proxy acts at an event on the wire, exactly before or exactly after it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from chaos.faults.site import Attestation, FaultSite, injected
from chaos.proxy.client import Armed
from chaos.proxy.triggers import Fired, Trigger

_LOOK_S = 0.5
"""One question to the proxy whether its trigger has fired waits so long for the answer yes."""


@contextmanager
def at_event(site: FaultSite, edge: str, trigger: Trigger) -> Iterator[Attestation]:
    """A trigger is armed on an edge for the duration of the block. Hits: how often it fired.

    It is a fault from when it first fired. Needs the wire-aware proxy: raises ProxyError where it is another one.
    """
    armed: list[Armed] = []
    with injected(
        site,
        f"{trigger.action} {trigger.when} {trigger.event}",
        edge,
        effect=lambda: armed.append(site.proxy.arm(edge, trigger)),
        undo=lambda: armed[0].disarm() if armed else None,
    ) as attestation:
        yield attestation
        fired = armed[0].fired()
        attestation.add(len(fired), f"{_named(trigger)}: {_told(fired)}")
        attestation.began_at = fired[0].at if fired else None


class Strike:
    """A kill that waits for its event. It happens beside whoever drives the system, at any time until ``give_up``."""

    def __init__(self, site: FaultSite, service: str, edge: str, trigger: Trigger, edges: Sequence[str]) -> None:
        self._site, self._service, self._edge, self._trigger, self._edges = site, service, edge, trigger, edges
        self._given_up = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"kill {service}", daemon=True)
        self.fired: list[Fired] = []

    @property
    def struck(self) -> bool:
        """Whether its event has come: the service is dead or on its way to be."""
        return bool(self.fired)

    @property
    def over(self) -> bool:
        """Whether the service is up again (or the attempt to bring it up has failed)."""
        return self.struck and not self._thread.is_alive()

    @property
    def told(self) -> str:
        """What was hit, in words."""
        return f"{_named(self._trigger)} on {self._edge}: {_told(self.fired)}"

    def wait(self) -> None:
        """Arm it. From now on the service dies when its event comes."""
        self._armed = self._site.proxy.arm(self._edge, self._trigger)
        self._thread.start()

    def give_up(self) -> None:
        """Disarm it, unless it is under way: then wait until all is up again. Raises what went wrong with that."""
        self._given_up.set()
        self._thread.join()
        self._armed.disarm()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self.fired and not self._given_up.is_set():
                self.fired = self._armed.fired(within_s=_LOOK_S)
            if self.fired:
                self._kill()
        except BaseException as failure:  # a thread's failure is told by give_up
            self._failure = failure

    def _kill(self) -> None:
        """What the proxy holds back of a dead process is dropped with its connections, never passed on."""
        process = self._site.service(self._service)

        def die() -> None:
            process.kill()
            for edge in self._edges:
                self._site.proxy.cut(edge)
            self._armed.disarm()
            for edge in self._edges:
                self._site.proxy.restore(edge)

        def live() -> None:
            process.start()
            process.await_ready()

        with injected(self._site, "SIGKILL", self._service, effect=die, undo=live) as attestation:
            attestation.began_at = self.fired[0].at
            attestation.add(len(self.fired), self.told)


@contextmanager
def killed_at(site: FaultSite, service: str, edge: str, trigger: Trigger, *, edges: Sequence[str]) -> Iterator[Strike]:
    """For the duration of the block, a service dies as soon as an event comes, and is started again at once.

    From the event on nothing of it gets out, nor in: the proxy holds all edges that it has (``edges``, the event's
    among them). ``trigger`` tells the event; its action is ours. A kill that never came is written down without hits.
    """
    others = tuple(other for other in edges if other != edge)
    strike = Strike(site, service, edge, msgspec.structs.replace(trigger, action="hold", hold=others), edges)
    strike.wait()
    try:
        yield strike
    finally:
        strike.give_up()
        if not strike.struck:
            with injected(site, "SIGKILL", service, effect=_nothing, undo=_nothing) as attestation:
                attestation.add(0, strike.told)


def _nothing() -> None:
    """It was not done, so there is nothing to undo."""


def _named(trigger: Trigger) -> str:
    return f"{trigger.when} {trigger.event} {trigger.detail} #{trigger.nth}"


def _told(fired: Sequence[Fired]) -> str:
    return ", ".join(f"at {one.at} on connection {one.connection}: {one.detail}" for one in fired) or "never"
