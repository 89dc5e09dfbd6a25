"""The broker misbehaves; what it did not take has to stay in the outbox."""

from __future__ import annotations

from chaos.faults.broker import unbound, work_queue_deleted
from chaos.faults.process import paused
from harness.environment.waiting import eventually
from scenarios.world import WITHIN_S, World


def test_an_event_that_no_queue_takes_is_kept_until_one_does(world: World) -> None:
    lead_id = world.new_lead()
    world.settled()
    with unbound(world.site):
        moved = world.pipeline.move_lead(lead_id, "qualified")
        returned = world.until_logged("event.published", correlation_id=moved.correlation_id)
        assert returned.status == "returned"
        assert world.database.unsent_events() == 1
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}


def test_a_backlog_waits_for_its_consumer(world: World) -> None:
    leads = world.known_leads(5)
    with paused(world.site, "automation") as pause:
        moves = world.move_all(leads, "qualified")
        assert {move.outcome for move in moves} == {"ok"}
        eventually(lambda: not world.database.unsent_events(), within_s=WITHIN_S, describe="an empty outbox")
        pause.add(len(leads), f"{len(leads)} events were published while automation stood still")
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


def test_a_cancelled_consumer_comes_back_by_itself(world: World) -> None:
    (lead_id,) = world.known_leads(1)
    with work_queue_deleted(world.site):
        assert world.pipeline.move_lead(lead_id, "qualified").outcome == "ok"
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}
