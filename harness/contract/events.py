"""What an event must look like on the wire: the JSON envelope and the AMQP properties around it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from harness.contract.log_lines import ContractViolation, Timestamp, Uuid


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a message on the events exchange. ``hop_count`` counts automation's own causes of causes."""

    event_id: Uuid
    event_type: Literal[
        "lead.created", "lead.assigned", "lead.updated", "deal.created", "lead.stage.changed", "deal.stage.changed"
    ]
    schema_version: Literal[1]
    occurred_at: Timestamp
    correlation_id: Uuid
    causation_id: Uuid | None
    entity_type: Literal["lead", "deal"]
    entity_id: Uuid
    entity_version: Annotated[int, Meta(ge=0)]
    source: str
    hop_count: Annotated[int, Meta(ge=0)]
    payload: dict[str, Any]


_decoder = msgspec.json.Decoder(Event)


def decode_event(body: bytes) -> Event:
    """A message body. Raises ContractViolation."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise ContractViolation(str(error)) from None
