"""The commit decides: what is committed out of order is sent all the same, and what is not committed never."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from chaos.faults.database import commit_held, commit_refused
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


def test_an_event_of_a_change_that_is_not_committed_is_never_sent(world: World) -> None:
    (lead_id,) = world.known_leads(1)
    with commit_refused(world.site, "pipeline.stage_history", entity_id=lead_id):
        refused = world.pipeline.move_lead(lead_id, "qualified")
    assert refused.http_status == 503
    world.settled()
    assert not world.leads_with_a_deal()
    assert world.pipeline.move_lead(lead_id, "qualified").answer["version"] == 2
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}
