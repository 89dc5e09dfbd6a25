"""The four-hop chain: one lead on its whole way, one thing at a time, so that each run does the same in the same order.

Created, and so assigned; qualified, and so a deal, and so a proposal; won, and so a webhook; lost, and so a mail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chaos.proxy.client import WireEvent
from harness.environment.waiting import eventually
from harness.evidence.clock import seconds_between
from scenarios.world import World

AT_REST_S = 1.5
"""Longer than the interval of anything that a system does by itself, in the profile for tests."""

Step = Callable[[], object]


def steps(world: World) -> Iterator[Step]:
    """What a client does, one after the other. Each is to be taken when the system has come to rest after the last.

    The ids of later ones are looked up in the database when they are due: whoever asked may not have been told.
    """
    yield world.crm.create_lead
    lead = world.database.rows().leads[0].id
    yield lambda: world.pipeline.move_lead(lead, "qualified")
    deal = world.database.rows().deals[0].id
    yield lambda: world.pipeline.move_deal(deal, "won")
    yield lambda: world.pipeline.move_lead(lead, "lost")


def listen(world: World) -> tuple[list[WireEvent], list[WireEvent]]:
    """What the proxy sees while the system is at rest for a while, and what it sees of the whole chain after that."""
    world.settled()
    proxy = world.site.proxy
    proxy.record()
    eventually(lambda: _span_s(proxy.events()) > AT_REST_S, within_s=20, describe="some time to pass", every_s=0.2)
    at_rest = proxy.events()
    for step in steps(world):
        step()
        world.settled()
    return at_rest, proxy.events()[len(at_rest) :]


def _span_s(events: list[WireEvent]) -> float:
    """From the first to the last of them, in seconds."""
    return seconds_between(events[0].at, events[-1].at) if events else 0.0
