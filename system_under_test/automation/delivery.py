"""A message, as it was delivered to us or as it lies in a queue, and what can be known of it even unread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from system_under_test.service_kit import envelope
from system_under_test.service_kit.broker import Life
from system_under_test.service_kit.correlation import Context, new_id, new_span, span_or_none, uuid_or_none
from system_under_test.service_kit.envelope import Envelope


class Unreadable(Exception):
    """The message is not an event that we know."""


@dataclass(frozen=True, slots=True)
class Letter:
    properties: Any
    body: bytes

    @property
    def headers(self) -> dict[str, Any]:
        headers: dict[str, Any] | None = self.properties.headers
        return headers or {}

    @property
    def attempt(self) -> int:
        """Our own header: what the broker counts does not survive a copy."""
        attempt = self.headers.get("attempt")
        return attempt if isinstance(attempt, int) and attempt >= 1 else 1

    @property
    def replays(self) -> int:
        """How often an operator has sent it round again."""
        replays = self.headers.get("replays")
        return replays if isinstance(replays, int) else 0

    def read(self) -> Envelope:
        try:
            event = envelope.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Unreadable(str(error)) from error
        if self.properties.message_id not in (None, str(event.event_id)):
            raise Unreadable("message_id and event_id differ")
        return event

    def context(self) -> Context:
        """Its place in a flow. The properties come first: they are there even if the body is damaged."""
        body = _loosely(self.body)
        entity_type, entity_id = body.get("entity_type"), uuid_or_none(body.get("entity_id"))
        known = entity_type in ("lead", "deal") and entity_id is not None
        hops = body.get("hop_count")
        return Context(
            correlation_id=uuid_or_none(self.properties.correlation_id)
            or uuid_or_none(body.get("correlation_id"))
            or new_id(),
            event_id=uuid_or_none(self.properties.message_id) or uuid_or_none(body.get("event_id")),
            causation_id=uuid_or_none(self.headers.get("causation_id")) or uuid_or_none(body.get("causation_id")),
            entity_type=entity_type if known else None,
            entity_id=entity_id if known else None,
            span_id=new_span(),
            parent_span_id=span_or_none(self.headers.get("span_id")),
            hop_count=hops if isinstance(hops, int) else 0,
        )


@dataclass(frozen=True, slots=True)
class Delivery(Letter):
    life: Life
    tag: int
    redelivered: bool
    id: str


def _loosely(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
