"""What was received, and how to answer: shared by the receivers and the control door."""

from __future__ import annotations

import threading

from msgspec import Struct

from harness.evidence.records import Received

MAIL = "mail"


class Behaviour(Struct, frozen=True, kw_only=True):
    """How a place (a path of the webhook receiver, or ``mail``) answers, the next ``times`` times or always."""

    place: str
    status: int
    times: int | None = None
    retry_after: str | None = None
    location: str | None = None
    delay_ms: int = 0


class Inbox:
    """Safe to use from the many threads of the receivers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self._behaviours: dict[str, Behaviour] = {}

    def clear(self) -> None:
        """Forget what came and how to answer."""
        with self._lock:
            self._received, self._behaviours = [], {}

    def behave(self, behaviour: Behaviour) -> None:
        with self._lock:
            self._behaviours[behaviour.place] = behaviour

    def answer_for(self, place: str, *, otherwise: int) -> Behaviour:
        """How to answer this time. A limited behaviour is used up."""
        with self._lock:
            behaviour = self._behaviours.get(place)
            if behaviour is None or behaviour.times == 0:
                return Behaviour(place=place, status=otherwise)
            if behaviour.times is not None:
                left = {name: getattr(behaviour, name) for name in behaviour.__struct_fields__}
                self._behaviours[place] = Behaviour(**left | {"times": behaviour.times - 1})
            return behaviour

    def add(self, item: Received) -> None:
        with self._lock:
            self._received.append(item)

    def received(self) -> list[Received]:
        with self._lock:
            return list(self._received)
