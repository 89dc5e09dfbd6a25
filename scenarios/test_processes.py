"""Any process may be killed, stopped, restarted or frozen with work in hand: a service, the broker, the database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from chaos.faults.in_flight import in_flight
from chaos.faults.network import slow
from chaos.faults.process import killed, paused, restarted, stopped
from chaos.faults.site import Attestation, FaultSite
from harness.environment.waiting import eventually
from harness.evidence.clock import wall_now
from scenarios.world import WITHIN_S, World

Kind = Callable[[FaultSite, str], AbstractContextManager[Attestation]]

SLOW = {
    "crm": "crm→database",
    "pipeline": "pipeline→database",
    "automation": "automation→crm",
    "postgres": "pipeline→database",
    "rabbitmq": "pipeline→broker",
}
"""What keeps work in the hand of a process for a while."""


@pytest.mark.nightly
@pytest.mark.parametrize("place", SLOW)
@pytest.mark.parametrize("kind", [killed, stopped, restarted, paused])
def test_a_process_goes_with_work_in_hand_and_nothing_is_lost(world: World, kind: Kind, place: str) -> None:
    leads = world.known_leads(3)
    with ThreadPoolExecutor(1) as client:
        with slow(world.site, SLOW[place], delay_ms=100) as delay:
            moving = client.submit(world.move_all, leads, "qualified")
            kept = eventually(lambda: _kept(world, place), within_s=WITHIN_S, describe=f"work in the hand of {place}")
            delay.add(kept, f"it kept {kept} things in hand")
            with kind(world.site, place):
                pass
        moving.result()
    for service in world.target.services:
        world.until_ready(service)
    world.settled()
    assert {move.outcome for move in world.move_all(leads, "proposal")} == {"ok"}
    world.settled()


def _kept(world: World, place: str) -> int:
    """What is slow on its way: events to the broker, or what its service has begun."""
    if place == "rabbitmq":
        return world.database.unsent_events()
    return in_flight(world.lines(), [SLOW[place].partition("→")[0]], since=wall_now())
