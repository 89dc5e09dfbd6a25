"""Ids of the outbox are drawn before the commit: what is committed out of order has to be sent all the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from chaos.faults.database import commit_held
from harness.environment.waiting import eventually
from scenarios.world import WITHIN_S, World


def test_an_event_that_is_committed_after_a_later_one_was_sent_is_sent_too(world: World) -> None:
    late, early = world.known_leads(2)
    with ThreadPoolExecutor(1) as client, commit_held(world.site, "pipeline.stage_history", entity_id=late):
        moving = client.submit(world.pipeline.move_lead, late, "qualified")
        eventually(world.database.committing, within_s=WITHIN_S, describe="a COMMIT that waits")
        moved = world.pipeline.move_lead(early, "qualified")
        world.until_logged("event.published", correlation_id=moved.correlation_id)
    world.settled()
    assert (moving.result().outcome, moved.outcome) == ("ok", "ok")
    flow = moving.result().correlation_id
    ids = {row.correlation_id: row.id for row in world.database.rows().outbox if row.entity_type == "lead"}
    assert ids[flow] < ids[moved.correlation_id]
    assert world.leads_with_a_deal() == {late, early}
