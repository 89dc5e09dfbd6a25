"""Rules: an event type, perhaps a stage, and what is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from system_under_test.service_kit.database import Work
from system_under_test.service_kit.envelope import Envelope


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    to_stage: str | None
    action: str
    parameters: dict[str, Any]

    def matches(self, event: Envelope) -> bool:
        return self.to_stage is None or event.payload.get("to_stage") == self.to_stage


async def enabled_for(work: Work, event: Envelope) -> list[Rule]:
    rows = await work.all(
        "SELECT id, to_stage, action, parameters FROM automation.rules WHERE event_type = %s AND enabled ORDER BY id",
        event.event_type,
    )
    return [Rule(**row) for row in rows]
