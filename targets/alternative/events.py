"""Events as they cross the broker, and what can be known of a message even if it is none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from targets.alternative.failures import Unreadable
from targets.alternative.log import Flow, new_span, span_or_none, uuid_or_none

MOST_HOPS = 5
_STAGE_CHANGED = ("from_stage", "to_stage", "source")
_PAYLOADS: dict[str, tuple[str, ...]] = {
    "lead.created": (),
    "lead.assigned": ("owner_id",),
    "lead.updated": (),
    "deal.created": (),
    "lead.stage.changed": _STAGE_CHANGED,
    "deal.stage.changed": _STAGE_CHANGED,
}
"""The events that there are, and what their payloads cannot be without: texts, all of them."""

Uuid = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", to_lower=True)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Event(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    event_id: Uuid
    event_type: Text
    schema_version: Literal[1]
    occurred_at: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")]
    correlation_id: Uuid
    causation_id: Uuid | None
    entity_type: Literal["lead", "deal"]
    entity_id: Uuid
    entity_version: Annotated[int, Field(ge=1, lt=2**31)]
    source: Text
    hop_count: Annotated[int, Field(ge=0, lt=2**31)]
    payload: dict[str, Any]

    @property
    def of_a_stage(self) -> bool:
        return self.event_type.endswith(".stage.changed")

    def flow(self, **more: Any) -> Flow:
        return Flow(
            correlation_id=self.correlation_id,
            event_id=self.event_id,
            causation_id=self.causation_id,
            entity_type=self.entity_type,
            entity_id=self.entity_id,
            hops=self.hop_count,
            **more,
        )


def read(body: bytes) -> Event:
    """Raises Unreadable, which tells nothing of what stands in the body."""
    try:
        event = Event.model_validate_json(body)
    except ValidationError as error:
        raise Unreadable(f"no event: {error.errors(include_url=False, include_input=False)[0]['type']}") from None
    needed = _PAYLOADS.get(event.event_type)
    if needed is None or not event.event_type.startswith(f"{event.entity_type}."):
        raise Unreadable("no event of this type")
    if not all(isinstance(event.payload.get(name), str) and event.payload[name] for name in needed):
        raise Unreadable(f"a payload without {', '.join(needed)}")
    return event


@dataclass(frozen=True, slots=True)
class Letter:
    """A message, delivered or lying in a queue. The properties are those of AMQP."""

    properties: Any
    body: bytes

    @property
    def headers(self) -> dict[str, Any]:
        return self.properties.headers or {}

    @property
    def attempt(self) -> int:
        attempt = self.headers.get("attempt")
        return attempt if isinstance(attempt, int) and attempt >= 1 else 1

    @property
    def replays(self) -> int:
        replays = self.headers.get("replays")
        return replays if isinstance(replays, int) else 0

    def event(self) -> Event:
        event = read(self.body)
        if self.properties.message_id not in (None, event.event_id):
            raise Unreadable("message_id and event_id differ")
        return event

    def flow(self, correlation_id: str) -> Flow:
        """The properties come first: they are there even if the body is damaged. ``correlation_id``: or else this."""
        body = _loosely(self.body)
        kind, entity = body.get("entity_type"), uuid_or_none(body.get("entity_id"))
        known, hops = kind in ("lead", "deal") and entity is not None, body.get("hop_count")
        own = self.properties
        return Flow(
            correlation_id=uuid_or_none(own.correlation_id)
            or uuid_or_none(body.get("correlation_id"))
            or correlation_id,
            event_id=uuid_or_none(own.message_id) or uuid_or_none(body.get("event_id")),
            causation_id=uuid_or_none(self.headers.get("causation_id")) or uuid_or_none(body.get("causation_id")),
            entity_type=kind if known else None,
            entity_id=entity if known else None,
            span_id=new_span(),
            parent_span_id=span_or_none(self.headers.get("span_id")),
            hops=hops if isinstance(hops, int) else 0,
        )


def _loosely(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
