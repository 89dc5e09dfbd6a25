"""Edges are cut and slowed while PATCHes go on; then they heal, and nothing may be missing."""

from __future__ import annotations

import pytest

from chaos.faults.network import cut, slow
from harness.environment.toxiproxy import proxy_name
from scenarios.world import World

EDGES = ("pipeline→broker", "automation→database", "automation→crm")
LEADS = 5


@pytest.mark.parametrize("edge", EDGES, ids=proxy_name)
def test_an_edge_is_cut_while_patches_go_on(world: World, edge: str) -> None:
    leads = world.new_leads(LEADS)
    world.move_all(leads, "contacted")
    with cut(world.site, edge):
        during = world.move_all(leads, "qualified")
        world.until_unready(edge.partition("→")[0])
    after = world.move_all(leads, "proposal")
    assert {move.outcome for move in (*during, *after)} == {"ok"}
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


@pytest.mark.parametrize("edge", EDGES, ids=proxy_name)
def test_an_edge_is_slow_while_patches_go_on(world: World, edge: str) -> None:
    leads = world.new_leads(LEADS)
    with slow(world.site, edge, delay_ms=80):
        during = world.move_all(leads, "qualified")
        world.settled()
    after = world.move_all(leads, "proposal")
    assert {move.outcome for move in (*during, *after)} == {"ok"}
    world.settled()
    assert world.leads_with_a_deal() == set(leads)
