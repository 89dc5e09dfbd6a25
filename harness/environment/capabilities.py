"""What a fault may ask of a process. A scenario names what it needs; an environment that lacks it says so.

Small on purpose: a system that is only reachable over the network has none of these, a container has some.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

CLEAN_SLATE = "clean slate"
"""The right to empty tables and queues, to add rules, and to send what no client would: the system is ours alone."""


@runtime_checkable
class Killable(Protocol):
    """Can be ended without a chance to tidy up, and started again on the same port with the same data."""

    @property
    def alive(self) -> bool:
        """Whether it runs (a paused process does)."""

    def kill(self) -> None:
        """End it, and all that it started, at once. Returns when it is gone."""

    def start(self) -> None:
        """Start it. Returns when it was started, which is before it is ready."""

    def await_ready(self, *, within_s: float = ...) -> None:
        """Return when it answers a real handshake."""


@runtime_checkable
class Pausable(Protocol):
    """Can be frozen with its connections open, as a long garbage collection or a stolen CPU would do."""

    def pause(self) -> None:
        """Freeze it and all that it started. Returns when nothing of it runs any more."""

    def resume(self) -> None:
        """Let it go on. Harmless if it was not paused."""


@runtime_checkable
class Restartable(Protocol):
    """Can be asked to end properly, and come back."""

    def terminate(self, *, within_s: float = ...) -> bool:
        """Ask it to end, then insist. Says whether asking was enough."""

    def restart(self) -> None:
        """End it properly if it runs, start it, wait until it is ready."""


@runtime_checkable
class HasLog(Protocol):
    """Writes down what happens to it, where we can read it."""

    @property
    def log(self) -> Path:
        """What its latest start has complained of so far."""


@runtime_checkable
class Skewable(Protocol):
    """Can be started with a wall clock that is wrong."""

    def start(self, *, skew_s: float = ...) -> None:
        """Start it; its wall clock is so many seconds fast."""


class FaultableProcess(Skewable, Killable, Pausable, Restartable, HasLog, Protocol):
    """A process of ours, to which everything can be done."""
