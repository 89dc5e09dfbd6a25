"""Steering the sinks of a stack and asking them what came."""

from __future__ import annotations

import httpx
import msgspec

from harness.clients.sinks.behaviour import Answer, Channel, Plan
from harness.evidence.records import Received


class Sink:
    """One channel: what it answers from now on."""

    def __init__(self, door: httpx.Client, channel: Channel) -> None:
        self._door, self._channel = door, channel

    def answers(self, *answers: Answer, then: Answer | None = None) -> None:
        """Give these answers to the next ones, in order, and ``then`` to all that follow (default: take them)."""
        plan = Plan(next=answers, always=then or Answer())
        self._door.put(f"/behaviour/{self._channel}", content=msgspec.json.encode(plan)).raise_for_status()

    def always(self, answer: Answer) -> None:
        self.answers(then=answer)


class Sinks:
    """The outside of one stack."""

    def __init__(self, url: str) -> None:
        self._door = httpx.Client(base_url=url, trust_env=False, timeout=10)
        self.webhook = Sink(self._door, "webhook")
        self.mail = Sink(self._door, "mail")

    def received(self, channel: Channel | None = None) -> tuple[Received, ...]:
        """Everything that came since the last clean slate, in order."""
        answer = self._door.get("/received").raise_for_status()
        items = msgspec.json.decode(answer.content, type=tuple[Received, ...])
        return tuple(item for item in items if channel in (None, item.channel))

    def clean_slate(self) -> None:
        """Forget what came, and take everything again."""
        self._door.delete("/received").raise_for_status()

    def close(self) -> None:
        self._door.close()
