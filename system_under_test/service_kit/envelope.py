"""The event as it crosses the broker: one shape, written and read with the same types."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec

SCHEMA_VERSION: Final = 1

Moment = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Envelope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    event_id: UUID
    event_type: Name
    schema_version: Literal[1]
    occurred_at: Moment
    correlation_id: UUID
    causation_id: UUID | None
    entity_type: Literal["lead", "deal"]
    entity_id: UUID
    entity_version: Annotated[int, msgspec.Meta(ge=1)]
    source: Name
    hop_count: Annotated[int, msgspec.Meta(ge=0)]
    payload: dict[str, Any]


class Created(msgspec.Struct, frozen=True):
    """A payload of which nothing is needed."""


class Assigned(msgspec.Struct, frozen=True):
    owner_id: UUID


class StageChanged(msgspec.Struct, frozen=True):
    from_stage: Name
    to_stage: Name
    source: Literal["manual", "system", "automation"]


PAYLOADS: dict[str, type[msgspec.Struct]] = {
    "lead.created": Created,
    "lead.assigned": Assigned,
    "lead.updated": Created,
    "deal.created": Created,
    "lead.stage.changed": StageChanged,
    "deal.stage.changed": StageChanged,
}


def decode(body: bytes) -> Envelope:
    """Read and check a whole event, its payload too. Raises msgspec.MsgspecError or UnicodeDecodeError."""
    event = msgspec.json.decode(body, type=Envelope)
    payload = PAYLOADS.get(event.event_type)
    if payload is None or not event.event_type.startswith(f"{event.entity_type}."):
        raise msgspec.ValidationError(f"no event {event.event_type!r} of a {event.entity_type}")
    msgspec.convert(event.payload, payload)
    return event
