"""How a sink answers: what the next ones get, and what all others get."""

from __future__ import annotations

import threading
from collections import deque
from typing import Literal

from msgspec import Struct

KEY_VARIABLE = "SINKS_SIGNING_KEY"
Channel = Literal["webhook", "mail"]


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One answer: an HTTP status (mail: 200 takes it, anything else is refused with 451), after a delay.

    With ``hang_up`` the connection is closed without an answer, after the item was written down.
    """

    status: int = 200
    delay_ms: int = 0
    headers: dict[str, str] = {}
    hang_up: bool = False


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers in the order in which they are given; then ``always``."""

    next: tuple[Answer, ...] = ()
    always: Answer = Answer()


class Behaviour:
    """A plan at work, asked by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.follow(Plan())

    def follow(self, plan: Plan) -> None:
        with self._lock:
            self._next: deque[Answer] = deque(plan.next)
            self._always = plan.always

    def answer(self) -> Answer:
        with self._lock:
            return self._next.popleft() if self._next else self._always
