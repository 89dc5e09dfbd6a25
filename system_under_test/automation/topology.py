"""The queues of automation. Declared again on every reconnect, always with the same arguments."""

from __future__ import annotations

from typing import Any

from system_under_test.service_kit.broker import EXCHANGE, Life, declare_exchange
from system_under_test.service_kit.settings import Profile

EVENTS = "automation.events"
DEAD_LETTERS = "automation.dlq"
UNDELIVERABLE = "automation.undeliverable"  # where the broker puts what was delivered too often, until we bury it
_BINDINGS = ("lead.#", "deal.#")

# At-least-once dead lettering needs both: the strategy, and a queue that refuses rather than drops.
_LOSES_NOTHING = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": "",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
_CRASH_GUARD = 20
_NEVER_GIVES_UP = 1_000_000  # each return counts as a delivery, and 4.x gives up after 20 of them


def retry_queue(rung: int) -> str:
    return f"automation.retry.{rung}"


async def declare(life: Life, profile: Profile) -> None:
    await declare_exchange(life)
    await _queue(life, DEAD_LETTERS, {"x-queue-type": "quorum", "x-delivery-limit": _NEVER_GIVES_UP})
    await _queue(life, UNDELIVERABLE, {"x-queue-type": "quorum", "x-delivery-limit": _NEVER_GIVES_UP})
    # One consumer at a time keeps the order of an entity's events; another replica's waits to take over.
    events = {"x-dead-letter-routing-key": UNDELIVERABLE, "x-delivery-limit": _CRASH_GUARD}
    await _queue(life, EVENTS, {**_LOSES_NOTHING, **events, "x-single-active-consumer": True})
    await bind(life)
    for rung, delay_ms in enumerate(profile.retry_delays_ms, start=1):
        # One delay a queue: only the head of a queue expires.
        back = {"x-dead-letter-routing-key": EVENTS, "x-message-ttl": delay_ms}
        await _queue(life, retry_queue(rung), {**_LOSES_NOTHING, **back})


async def bind(life: Life) -> None:
    """Harmless if it is done already. Who deletes the exchange takes the bindings with it, and whoever publishes next
    makes the exchange anew: nobody would be told that it leads nowhere."""
    for binding in _BINDINGS:
        await life.call("queue_bind", queue=EVENTS, exchange=EXCHANGE, routing_key=binding)


async def _queue(life: Life, name: str, arguments: dict[str, Any]) -> None:
    await life.call("queue_declare", queue=name, durable=True, arguments=arguments)
