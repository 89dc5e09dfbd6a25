"""What cannot be handled dies with its papers in order; what could be handled after all is replayed, once."""

from __future__ import annotations

from typing import Any

from chaos.faults.database import refusing_writes
from scenarios.world import World

LEAD = "11111111-1111-4111-8111-111111111111"
STAGE_CHANGED: dict[str, Any] = {
    "event_type": "lead.stage.changed",
    "schema_version": 1,
    "occurred_at": "2026-01-01T00:00:00.000000Z",
    "causation_id": None,
    "entity_type": "lead",
    "entity_id": LEAD,
    "entity_version": 1,
    "source": "pipeline",
    "hop_count": 0,
    "payload": {"from_stage": "new", "to_stage": "contacted", "source": "manual"},
}


def test_a_malformed_body_is_dead_lettered(world: World) -> None:
    planted = world.broker.plant(
        b"{this is no JSON", routing_key="lead.stage.changed", expect="schema_invalid", why="malformed body"
    )
    world.settled()
    assert [letter["event_id"] for letter in world.automation.dead_letters()] == [planted.message_id]


def test_an_unknown_schema_version_is_dead_lettered(world: World) -> None:
    body = {**STAGE_CHANGED, "schema_version": 99}
    planted = world.broker.plant(
        body, routing_key="lead.stage.changed", expect="schema_invalid", why="unknown schema version"
    )
    world.settled()
    assert world.attempts_of(planted.message_id) == [1]


def test_an_event_about_nobody_is_dead_lettered_without_retries(world: World) -> None:
    body = {**STAGE_CHANGED, "payload": {"from_stage": "new", "to_stage": "qualified", "source": "manual"}}
    planted = world.broker.plant(
        body, routing_key="lead.stage.changed", expect="non_retryable", why="a deal for a lead that does not exist"
    )
    world.settled()
    assert world.attempts_of(planted.message_id) == [1]


def test_poison_does_not_stop_what_is_healthy(world: World) -> None:
    for number in range(3):
        world.broker.plant(b"\xff\xfe", routing_key="lead.created", expect="schema_invalid", why=f"no UTF-8, {number}")
    lead_id = world.new_lead()
    world.pipeline.move_lead(lead_id, "qualified")
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}


def test_a_discarded_dead_letter_is_gone(world: World) -> None:
    planted = world.broker.plant(b"[]", routing_key="deal.created", expect="schema_invalid", why="a list as a body")
    world.settled()
    assert world.automation.discard(planted.message_id).http_status == 200
    assert world.automation.dead_letters() == []
    assert world.automation.discard(planted.message_id).http_status == 404


def test_crm_fails_longer_than_the_ladder_and_a_replay_succeeds_with_one_effect(world: World) -> None:
    lead_id = world.new_lead()
    with refusing_writes(world.site, "crm.deals") as fault:
        moved = world.pipeline.move_lead(lead_id, "qualified")
        world.recording.expect_dead_letter(moved, reason="exhausted")
        event = world.published(correlation_id=moved.correlation_id, type="lead.stage.changed")
        event_id = str(event.message_id)
        world.settled()
        attempts = world.attempts_of(event_id)
        fault.add(len(attempts), f"{len(attempts)} attempts to create the deal met the refusal")
    assert attempts == [1, 2, 3, 4, 5]
    assert world.leads_with_a_deal() == set()
    assert world.automation.replay(event_id).http_status == 200
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}
    assert world.automation.dead_letters() == []
    assert world.automation.replay(event_id).http_status == 404


def test_crm_fails_for_a_moment_and_the_ladder_carries_the_event_over(world: World) -> None:
    lead_id = world.new_lead()
    with refusing_writes(world.site, "crm.deals") as fault:
        moved = world.pipeline.move_lead(lead_id, "qualified")
        event = world.published(correlation_id=moved.correlation_id, type="lead.stage.changed")
        event_id = str(event.message_id)
        world.until_received(event_id, attempt=2)
        fault.add(1, "the first attempt met the refusal")
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}
    assert world.attempts_of(event_id)[0] == 1
