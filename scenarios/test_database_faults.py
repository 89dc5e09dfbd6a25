"""The database misbehaves without being gone: whatever was answered stays, and nothing dies of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from chaos.faults.database import exhausted, locked, read_only, terminated
from chaos.faults.network import slow
from chaos.faults.process import restarted
from chaos.faults.server_log import ServerLog
from harness.clients.together import together
from harness.environment.waiting import eventually
from scenarios.world import WITHIN_S, World


@pytest.mark.parametrize(
    "place",
    [
        "pipeline→database",
        "automation→database",
        pytest.param("crm→database", marks=pytest.mark.nightly),
        pytest.param("postgres", marks=pytest.mark.nightly),
    ],
    ids=["pipeline", "automation", "crm", "all"],
)
def test_sessions_that_are_terminated_within_a_transaction_are_made_anew(world: World, place: str) -> None:
    leads = world.known_leads(4)
    role = place.partition("→")[0] if "→" in place else "pipeline"
    with slow(world.site, f"{role}→database", delay_ms=30), ThreadPoolExecutor(1) as client:
        moving = client.submit(world.move_all, leads, "qualified")
        eventually(lambda: world.database.in_transaction(role), within_s=WITHIN_S, describe="a transaction")
        with terminated(world.site, place):
            first = moving.result()
        world.settled()  # all of it slowly: who was interrupted in the first place has had no time to be slow yet
    assert {move.outcome for move in world.move_all(leads, "proposal")} == {"ok"}
    world.settled()
    assert {lead for lead, move in zip(leads, first, strict=True) if move.outcome == "ok"} <= world.leads_with_a_deal()


@pytest.mark.parametrize(
    "place", ["pipeline→database", pytest.param("postgres", marks=pytest.mark.nightly)], ids=["pipeline", "all"]
)
def test_whoever_gets_no_connection_says_so_and_works_again_when_there_are_some(world: World, place: str) -> None:
    leads = world.known_leads(3)
    with exhausted(world.site, place), terminated(world.site, place):
        refused = world.move_all(leads, "qualified")
        world.until_unready("pipeline")
    assert {move.http_status for move in refused} == {503}
    world.until_ready("pipeline")
    assert {move.outcome for move in world.move_all(leads, "qualified")} == {"ok"}
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


def test_a_lead_that_is_locked_too_long_is_refused_for_now_and_no_other_waits(world: World) -> None:
    held, free = world.known_leads(2)
    with locked(world.site, "pipeline.stages", rows=f"entity_id = '{held}'"):
        waiting, moved = together(
            [lambda: world.pipeline.move_lead(held, "qualified"), lambda: world.pipeline.move_lead(free, "qualified")]
        )
    assert (waiting.http_status, moved.http_status) == (503, 200)
    world.settled()
    assert world.leads_with_a_deal() == {free}


def test_a_table_that_is_locked_for_a_while_costs_no_event(world: World) -> None:
    leads = world.known_leads(3)
    told = ServerLog(world.stack.database)
    with locked(world.site, world.target.database.executions):
        assert {move.outcome for move in world.move_all(leads, "qualified")} == {"ok"}
        eventually(lambda: told.count("lock timeout"), within_s=WITHIN_S, describe="a statement that gives up waiting")
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


def test_a_database_that_can_only_be_read_is_an_outage_like_any_other(world: World) -> None:
    leads = world.known_leads(3)
    with slow(world.site, "automation→crm", delay_ms=400) as delay:
        moves = world.move_all(leads, "qualified")
        world.until_logged("call.sent", correlation_id=moves[0].correlation_id)
        waiting = world.unanswered_calls()
        delay.add(waiting, f"{waiting} calls to crm were on their way")
        with read_only(world.site):
            refused = world.move_all(leads, "proposal")
            for service in world.target.services:
                world.until_unready(service)
    assert {move.http_status for move in refused} == {503}
    world.settled()
    assert world.automation.dead_letters() == []
    assert world.leads_with_a_deal() == set(leads)


def test_a_database_that_is_restarted_is_used_again(world: World) -> None:
    leads = world.known_leads(3)
    with restarted(world.site, "postgres"):
        world.move_all(leads, "qualified")
    for service in world.target.services:
        world.until_ready(service)
    assert {move.outcome for move in world.move_all(leads, "proposal")} == {"ok"}
    world.settled()
