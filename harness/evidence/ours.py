"""What of a system that others use as well is a scenario's own: the flows that it began, and all that belongs to them.

Where nobody may empty tables and queues, what others do lies between. A flow is ours if a client of ours began it or a
message of ours did; a row, a message or a line belongs to it by its correlation id, an entity by its flow. What has
lost its correlation id on the way belongs to nobody: on such a system, that loss cannot be seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec.structs import replace

from harness.contract.log_lines import Line
from harness.evidence.records import Operation, Planted, Rows

Item = TypeVar("Item", bound=Any)
_ENTITIES = {"leads": "id", "deals": "id", "stages": "entity_id"}
"""Tables whose rows tell no flow, and the column by which their entity is known."""


@dataclass(frozen=True, slots=True)
class Ours:
    """``flows``: correlation ids. ``entities``: what the operations themselves were about."""

    flows: frozenset[str]
    entities: frozenset[str]

    def of_ours(self, items: Iterable[Item]) -> list[Item]:
        """Those messages, or rows that tell their flow, which are ours."""
        return [item for item in items if item.correlation_id in self.flows]

    def lines(self, lines: Sequence[Line]) -> list[Line]:
        """Those that are ours or nobody's: what a process says of itself concerns everybody."""
        return [line for line in lines if line.correlation_id is None or line.correlation_id in self.flows]

    def rows(self, rows: Rows) -> Rows:
        """Rules are everybody's. An entity is ours if a flow of ours has written an event about it."""
        told = {name: tuple(self.of_ours(getattr(rows, name))) for name in _TELL_THEIR_FLOW}
        entities = self.entities | {row.entity_id for row in told["outbox"]}
        known = {
            name: tuple(row for row in getattr(rows, name) if getattr(row, column) in entities)
            for name, column in _ENTITIES.items()
        }
        return replace(rows, **told, **known)


_TELL_THEIR_FLOW = ("history", "outbox", "executions", "processed", "alerts")


def ours(operations: Iterable[Operation], planted: Iterable[Planted]) -> Ours:
    """By what clients of ours have asked for, and what was planted."""
    asked = list(operations)
    flows = {operation.correlation_id for operation in asked} | {message.correlation_id for message in planted}
    return Ours(frozenset(flows), frozenset(one.entity_id for one in asked if one.entity_id is not None))
