"""A trigger that lies in wait on an edge, also when somebody restores the edge meanwhile and clears it away."""

from __future__ import annotations

from types import TracebackType

from chaos.proxy.client import Armed, FaultProxy
from chaos.proxy.triggers import Fired, Trigger
from chaos.schedule.schedule import PlannedFault


class Ambush:
    """Armed for the duration of a ``with`` block. Raises ProxyError where the proxy does not read the wire."""

    def __init__(self, proxy: FaultProxy, planned: PlannedFault, trigger: Trigger) -> None:
        self._proxy, self._edge, self._trigger = proxy, planned.at.edge, trigger
        self._armed: Armed | None = None
        self._fired: list[Fired] = []

    def __enter__(self) -> Ambush:
        self._armed = self._proxy.arm(self._edge, self._trigger)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    @property
    def at(self) -> str:
        """When it struck first."""
        return self._fired[0].at

    def struck(self, *, within_s: float) -> bool:
        """Whether its event has come; waits for it. One that was cleared away lies in wait again, and counts anew."""
        assert self._armed is not None
        self._fired = self._armed.fired(within_s)
        if not self._fired and self._armed.disarmed:
            self._armed = self._proxy.arm(self._edge, self._trigger)
        return bool(self._fired)

    def hits(self) -> int:
        """How often it has acted so far."""
        assert self._armed is not None
        return len(self._armed.fired() or self._fired)

    def release(self) -> None:
        """Let go of what it holds up, and act no more. Does nothing the second time."""
        if self._armed is not None:
            self._armed.disarm()
