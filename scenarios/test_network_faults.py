"""Edges are cut at the worst moment; then they heal, and nothing may be missing. (The matrix has every toxic alone.)"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from chaos.faults.network import cut, slow
from harness.clients.together import together
from harness.environment.proxies import proxy_name
from harness.environment.waiting import eventually
from scenarios.world import WITHIN_S, World

LEADS = 5


@pytest.mark.parametrize("edge", ["pipeline→broker"], ids=proxy_name)
def test_an_edge_is_cut_while_patches_go_on(world: World, edge: str) -> None:
    """Any other edge is cut in the matrix; of this one, clients may notice nothing at all."""
    leads = world.new_leads(LEADS)
    world.move_all(leads, "engaged")
    with cut(world.site, edge):
        during = world.move_all(leads, "qualified")
        world.until_unready(edge.partition("→")[0])
    after = world.move_all(leads, "proposal")
    assert {move.outcome for move in (*during, *after)} == {"ok"}
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


@pytest.mark.parametrize("edge", ["crm→broker", "pipeline→broker"], ids=proxy_name)
def test_a_broker_edge_is_cut_with_publishes_in_flight(world: World, edge: str) -> None:
    """Written to the socket is not confirmed: what was on its way when the edge broke has to be sent again."""
    known = world.known_leads(LEADS)
    with slow(world.site, edge, delay_ms=1_000) as delay:
        if edge.startswith("crm"):
            answers = together([world.crm.create_lead for _ in range(LEADS)])
        else:
            answers = world.move_all(known, "qualified")
        in_flight = world.database.unsent_events()
        delay.add(in_flight, f"{in_flight} events were unconfirmed")
        with cut(world.site, edge):
            world.until_unready(edge.partition("→")[0])
    assert {answer.outcome for answer in answers} == {"ok"}
    world.settled()
    assert world.database.unsent_events() == 0


@pytest.mark.parametrize("service", ["crm", "pipeline"])
def test_answers_are_lost_on_their_way_to_the_client(world: World, service: str) -> None:
    """What was committed is there wholly although nobody was told; what had not arrived yet is not there at all."""
    leads = world.known_leads(LEADS)
    edge, ask = f"client→{service}", [partial(world.pipeline.move_lead, lead_id, "qualified") for lead_id in leads]
    if service == "crm":
        ask = [partial(world.crm.create_lead) for _ in leads]
    before = len(world.database.rows().outbox)
    with slow(world.site, edge, delay_ms=500) as delay, ThreadPoolExecutor(2) as clients:
        asked = [clients.submit(together, ask)]
        committed = eventually(
            lambda: len(world.database.rows().outbox) - before,
            within_s=WITHIN_S,
            describe="a change whose answer is on its way",
        )
        delay.add(committed, f"{committed} changes were committed and not yet answered")
        asked.append(clients.submit(together, ask))
        with cut(world.site, edge):
            answers = [answer for one in asked for answer in one.result()]
    assert "unknown" in {answer.outcome for answer in answers}
    world.settled()
