"""Processes are killed with work in hand; whoever starts next must finish it, once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack

import pytest

from chaos.faults.database import commit_held
from chaos.faults.network import cut, slow
from chaos.faults.process import killed, stopped
from chaos.faults.site import Attestation, FaultSite
from harness.clients.together import together
from harness.environment.waiting import eventually
from scenarios.world import WITHIN_S, World


def test_automation_is_killed_while_its_action_waits_for_crm(world: World) -> None:
    """None of its requests arrives: whatever is held on the edge when automation is gone, is lost with a cut."""
    leads = world.known_leads(3)
    with ExitStack() as until_started_again, slow(world.site, "automation→crm", delay_ms=2_000) as delay:
        moves = world.move_all(leads, "qualified")
        for move in moves:
            world.until_logged("call.sent", correlation_id=move.correlation_id)
        waiting = world.unanswered_calls()
        kill = until_started_again.enter_context(killed(world.site, "automation"))
        with cut(world.site, "automation→crm") as loss:
            for fault in (delay, kill, loss):
                fault.add(waiting, f"{waiting} calls to crm were waiting for their answer")
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


def test_automation_is_killed_while_it_gives_leads_to_agents(world: World) -> None:
    with ExitStack() as until_started_again, slow(world.site, "automation→crm", delay_ms=300) as delay:
        created = together([world.crm.create_lead for _ in range(3)])
        world.until_logged("call.completed", correlation_id=created[0].correlation_id)
        waiting = eventually(world.unanswered_calls, within_s=WITHIN_S, describe="a call that waits for crm")
        kill = until_started_again.enter_context(killed(world.site, "automation"))
        for fault in (delay, kill):
            fault.add(waiting, f"{waiting} calls to crm were waiting for their answer")
    world.settled()
    owners = {row.id: row.owner_id for row in world.database.rows().leads}
    assert owners.keys() == {lead.answer["id"] for lead in created}
    assert set(owners.values()) <= set(world.crm.users("agent"))
    assert [row.status for row in world.executions_of("lead-created-assign-user")] == ["succeeded"] * 3


def test_pipeline_is_killed_with_unsent_events(world: World) -> None:
    leads = world.known_leads(4)
    with ExitStack() as until_started_again, slow(world.site, "pipeline→broker", delay_ms=300) as delay:
        moves = world.move_all(leads, "qualified")
        unsent = world.database.unsent_events()
        kill = until_started_again.enter_context(killed(world.site, "pipeline"))
        for fault in (delay, kill):
            fault.add(unsent, f"{unsent} events were committed but not yet confirmed")
    assert {move.outcome for move in moves} == {"ok"}
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


def test_crm_is_killed_while_automation_creates_deals(world: World) -> None:
    leads = world.known_leads(3)
    with ExitStack() as until_started_again:
        with slow(world.site, "crm→database", delay_ms=200) as delay:
            moves = world.move_all(leads, "qualified")
            world.until_logged("call.sent", correlation_id=moves[0].correlation_id)
            waiting = world.unanswered_calls()
            kill = until_started_again.enter_context(killed(world.site, "crm"))
            for fault in (delay, kill):
                fault.add(waiting, f"{waiting} calls were waiting in crm")
        world.until_unready("automation")
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


@pytest.mark.parametrize(
    "ended", [killed, pytest.param(stopped, marks=pytest.mark.nightly)], ids=["SIGKILL", "SIGTERM"]
)
def test_pipeline_is_ended_before_it_could_ask_how_a_commit_went(
    world: World, ended: Callable[[FaultSite, str], AbstractContextManager[Attestation]]
) -> None:
    """Nobody is left to log that the event was stored. It is stored all the same, and so it is published."""
    (lead_id,) = world.known_leads(1)
    with ExitStack() as until_started_again, ExitStack() as until_healed:
        with commit_held(world.site, "pipeline.stage_history", entity_id=lead_id), ThreadPoolExecutor(1) as client:
            moving = client.submit(world.pipeline.move_lead, lead_id, "qualified")
            eventually(world.database.committing, within_s=WITHIN_S, describe="a COMMIT that waits")
            until_healed.enter_context(cut(world.site, "pipeline→database"))
            assert moving.result().http_status == 503
        end = until_started_again.enter_context(ended(world.site, "pipeline"))
        end.add(1, "pipeline did not know yet how a COMMIT went")
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}
