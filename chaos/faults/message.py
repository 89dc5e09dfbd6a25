"""Messages that no service would send now: broken, oversized, repeated, late, or in the wrong order.

Each kind is planted on a routing key (``place``), says what must become of it, and attests how often it was delivered.
There is nothing to undo: at the end of the block it has been delivered, if there is anybody who takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Literal

from chaos.faults.site import Attestation, FaultSite, injected
from harness.contract.log_lines import EventReceived
from harness.environment.waiting import NeverHappened, eventually
from harness.evidence.records import PLANTED

STAGE_CHANGED = "lead.stage.changed"
WORK_QUEUE = "the work queue"
NOBODY = "11111111-1111-4111-8111-111111111111"
_DELIVERED_WITHIN_S = 5.0


def event(
    event_type: str, *, entity_id: str = NOBODY, entity_version: int = 1, to_stage: str = "nurturing"
) -> dict[str, Any]:
    """The body of an event as its service would make it, without its ids. No rule waits for ``nurturing``."""
    changed = event_type.endswith(".stage.changed")
    return {
        "event_type": event_type,
        "schema_version": 1,
        "occurred_at": "2026-01-01T00:00:00.000000Z",
        "causation_id": None,
        "entity_type": event_type.partition(".")[0],
        "entity_id": entity_id,
        "entity_version": entity_version,
        "source": "pipeline" if changed else "crm",
        "hop_count": 0,
        "payload": {"from_stage": "new", "to_stage": to_stage, "source": "manual"} if changed else {},
    }


@contextmanager
def malformed(
    site: FaultSite, place: str = STAGE_CHANGED, *, body: bytes = b"{this is no JSON"
) -> Iterator[Attestation]:
    """A body that is no event. It has to be dead-lettered as such, at once."""
    plant = partial(site.broker.plant, body, routing_key=place, expect="schema_invalid", why="a malformed body")
    with _planted(site, "malformed", place, lambda: plant().correlation_id) as attestation:
        yield attestation


@contextmanager
def unknown_schema(site: FaultSite, place: str = STAGE_CHANGED, *, version: int = 99) -> Iterator[Attestation]:
    """An event of a version that nobody knows yet. It has to be dead-lettered, and not guessed at."""
    body = event(place) | {"schema_version": version}
    plant = partial(
        site.broker.plant, body, routing_key=place, expect="schema_invalid", why=f"schema version {version}"
    )
    with _planted(site, "of an unknown schema", place, lambda: plant().correlation_id) as attestation:
        yield attestation


@contextmanager
def oversized(site: FaultSite, place: str = STAGE_CHANGED, *, size_bytes: int = 1 << 20) -> Iterator[Attestation]:
    """An event with a payload of this size. It is an event like any other, and makes no line of the log long."""
    body = event(place)
    body["payload"] |= {"note": "x" * size_bytes}
    plant = partial(site.broker.plant, body, routing_key=place, expect="processed", why=f"{size_bytes} bytes and more")
    with _planted(site, "oversized", place, lambda: plant().correlation_id) as attestation:
        yield attestation


@contextmanager
def without_ids(
    site: FaultSite, place: str = STAGE_CHANGED, *, where: Literal["properties", "body"] = "properties"
) -> Iterator[Attestation]:
    """An event that has its ids in one place only. The body alone will do; without them in it, it is no event."""
    body, expect = event(place), "processed" if where == "properties" else "schema_invalid"
    plant = partial(
        site.broker.plant, body, routing_key=place, expect=expect, why=f"no ids in its {where}", without_ids_in=where
    )
    with _planted(site, f"without ids in its {where}", place, lambda: plant().correlation_id) as attestation:
        yield attestation


@contextmanager
def with_orders(site: FaultSite, place: str = STAGE_CHANGED, *, expires_ms: int = 60_000) -> Iterator[Attestation]:
    """No event, of which whoever sent it wants that it expires, and that each queue it comes to has a copy more.

    It has to be dead-lettered as such, at once; what becomes of the dead letter is not for its sender to say.
    """
    plant = partial(
        site.broker.plant,
        b"{orders, but no JSON",
        routing_key=place,
        expect="schema_invalid",
        why="orders of its own",
        expiration=str(expires_ms),
        also_to=(site.target.broker.work_queue,),
    )
    with _planted(site, "with orders", place, lambda: plant().correlation_id) as attestation:
        yield attestation


@contextmanager
def stale_version(
    site: FaultSite, place: str = STAGE_CHANGED, *, entity_id: str, to_stage: str = "contacted"
) -> Iterator[Attestation]:
    """News of the first version of something that has moved on. It is processed; what waits since then never fires."""
    body = event(place, entity_id=entity_id, to_stage=to_stage)
    plant = partial(site.broker.plant, body, routing_key=place, expect="processed", why="a stale version")
    with _planted(site, "of a stale version", place, lambda: plant().correlation_id) as attestation:
        yield attestation


@contextmanager
def duplicate(site: FaultSite, place: str = STAGE_CHANGED) -> Iterator[Attestation]:
    """The latest event of this type once more, to the letter. It must have no effect beyond that of its first copy.

    Raises ValueError if none has been published yet.
    """
    message = site.published(place)
    if message is None:
        raise ValueError(f"duplicate: no {place} has been published in this scenario yet")
    already = sum(_is_delivered(line, str(message.correlation_id), str(message.message_id)) for line in site.log())

    def publish() -> str:
        site.recording.awaited_deliveries[str(message.message_id)] = already + 1
        site.broker.publish_again(message)
        return str(message.correlation_id)

    with _planted(site, "duplicate", place, publish, event_id=str(message.message_id), but=already) as attestation:
        yield attestation


@contextmanager
def reordered(site: FaultSite, place: str = WORK_QUEUE) -> Iterator[Attestation]:
    """Turn the order of what waits in the work queue around. Its consumer has to be away, or it takes it first.

    Hits: messages that have another place now.
    """
    moved: list[int] = []
    with injected(
        site, "reordered", place, effect=lambda: moved.append(site.broker.reverse_work_queue()), undo=lambda: None
    ) as attestation:
        attestation.add(sum(moved), f"{sum(moved)} messages have another place in the queue")
        yield attestation


@contextmanager
def _planted(
    site: FaultSite, kind: str, place: str, plant: Callable[[], str], *, event_id: str | None = None, but: int = 0
) -> Iterator[Attestation]:
    """``plant`` returns the flow. Hits: deliveries of it, or of one event in it, ``but`` for so many earlier ones."""
    flows: list[str] = []

    def deliveries() -> int:
        return sum(_is_delivered(line, flows[0], event_id) for line in site.log()) - but

    with injected(
        site, f"{PLANTED}{kind}", place, effect=lambda: flows.append(plant()), undo=lambda: None
    ) as attestation:
        yield attestation
        with suppress(NeverHappened):
            eventually(deliveries, within_s=_DELIVERED_WITHIN_S, describe=f"a message that is {kind} to be delivered")
        count = deliveries()
        attestation.add(count, f"it was delivered {count} times")


def _is_delivered(line: object, flow: str, event_id: str | None) -> bool:
    return isinstance(line, EventReceived) and line.correlation_id == flow and event_id in (None, line.event_id)
