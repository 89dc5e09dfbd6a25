"""The sinks as a scenario sees them: what came, and how they shall answer."""

from __future__ import annotations

import httpx
import msgspec

from harness.clients.http import tls
from harness.evidence.records import Received
from harness.sinks.inbox import MAIL, Behaviour

__all__ = ["MAIL", "Sinks"]


class Sinks:
    """Speaks to the control door of one stack's sinks."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=5.0, trust_env=False, verify=tls())

    def close(self) -> None:
        self._http.close()

    def clean_slate(self) -> None:
        """Forget what came; answer well from now on."""
        self._http.delete("/").raise_for_status()

    def behave(
        self,
        place: str,
        status: int,
        *,
        times: int | None = None,
        retry_after: str | None = None,
        location: str | None = None,
        delay_ms: int = 0,
    ) -> None:
        """Let a path of the webhook receiver, or ``MAIL``, answer so: the next ``times`` times, or always."""
        behaviour = Behaviour(
            place=place, status=status, times=times, retry_after=retry_after, location=location, delay_ms=delay_ms
        )
        self._http.post("/", content=msgspec.json.encode(behaviour)).raise_for_status()

    def received(self, place: str | None = None) -> list[Received]:
        """What came so far, at one place or anywhere, in order."""
        items = msgspec.json.decode(self._http.get("/").raise_for_status().content, type=list[Received])
        return [item for item in items if place in (None, item.place)]
