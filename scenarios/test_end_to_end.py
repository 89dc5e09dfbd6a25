"""The promises on a quiet day: one lead, one PATCH, one deal, one trace; and what must be refused is refused."""

from __future__ import annotations

from collections import Counter

import pytest

from chaos.faults.message import duplicate
from scenarios.world import World

DEAL_RULE = "lead-qualified-create-deal"
WALK = ("contacted", "qualified", "proposal", "won")


def test_a_qualified_lead_gets_one_deal_by_one_execution(world: World) -> None:
    lead_id = world.new_lead()
    moved = world.pipeline.move_lead(lead_id, "qualified")
    assert moved.http_status == 200
    assert moved.answer["changed"]
    assert (moved.answer["from_stage"], moved.answer["version"]) == ("new", 1)
    world.settled()
    deals = world.crm.deals_of(lead_id)
    assert [deal["lead_id"] for deal in deals] == [lead_id]
    executions = world.executions_of(DEAL_RULE)
    assert [(row.entity_id, row.status, row.attempts) for row in executions] == [(lead_id, "succeeded", 1)]
    assert executions[0].correlation_id == moved.correlation_id


def test_a_lead_walks_through_its_stages_to_the_end_and_stays_there(world: World) -> None:
    lead_id = world.new_lead()
    for version, stage in enumerate(WALK, start=1):
        moved = world.pipeline.move_lead(lead_id, stage, expected_version=version - 1)
        assert (moved.http_status, moved.answer["version"]) == (200, version)
        assert world.pipeline.stage_of(lead_id).answer["version"] == version
    assert world.pipeline.move_lead(lead_id, "contacted").http_status == 409
    again = world.pipeline.move_lead(lead_id, "won")
    assert (again.http_status, again.answer["changed"]) == (200, False)
    steps = [(step["version"], step["to_stage"], step["source"]) for step in world.pipeline.history_of(lead_id)]
    assert steps == [(version, stage, "manual") for version, stage in enumerate(WALK, start=1)]
    world.settled()
    assert len(world.crm.deals_of(lead_id)) == 1


@pytest.mark.needs_clean_slate
def test_a_list_shows_each_once_however_small_its_pages(world: World) -> None:
    leads = sorted(world.new_leads(5))
    assert {limit: world.crm.leads(limit=limit) for limit in (1, 2, 5, 200)} == dict.fromkeys((1, 2, 5, 200), leads)


@pytest.mark.needs_clean_slate
def test_a_duplicate_lead_is_refused_and_told_which_one_exists(world: World) -> None:
    first = world.crm.create_lead(email="Grace@Example.test", external_id="crm-7")
    assert first.http_status == 201
    same_email = world.crm.create_lead(email="grace@example.TEST")
    assert (same_email.http_status, same_email.answer["existing_id"]) == (409, first.answer["id"])
    same_external_id = world.crm.create_lead(external_id="crm-7")
    assert (same_external_id.http_status, same_external_id.answer["existing_id"]) == (409, first.answer["id"])
    world.settled()
    assert [row.id for row in world.database.rows().leads] == [first.answer["id"]]


def test_a_second_deal_is_refused_and_told_which_one_exists(world: World) -> None:
    lead_id, another = world.new_leads(2)
    first = world.crm.create_deal(lead_id)
    assert first.http_status == 201
    assert world.crm.create_deal(another).http_status == 201
    second = world.crm.create_deal(lead_id)
    assert (second.http_status, second.answer["existing_id"]) == (409, first.answer["id"])
    assert [deal["id"] for deal in world.crm.deals_of(lead_id)] == [first.answer["id"]]


def test_a_deal_made_by_hand_counts_as_the_rules_success(world: World) -> None:
    lead_id = world.new_lead()
    by_hand = world.crm.create_deal(lead_id)
    world.pipeline.move_lead(lead_id, "qualified")
    world.settled()
    assert [deal["id"] for deal in world.crm.deals_of(lead_id)] == [by_hand.answer["id"]]
    assert [row.status for row in world.executions_of(DEAL_RULE)] == ["succeeded"]


def test_the_stage_that_it_has_already_changes_nothing(world: World) -> None:
    lead_id = world.new_lead()
    first = world.pipeline.move_lead(lead_id, "engaged")
    again = world.pipeline.move_lead(lead_id, "engaged")
    assert (first.answer["changed"], again.answer["changed"]) == (True, False)
    assert (again.http_status, again.answer["version"]) == (200, 1)
    world.settled()
    rows = world.database.rows()
    assert len(rows.history) == 1
    assert Counter(row.event_type for row in rows.outbox) == dict.fromkeys(
        ("lead.created", "lead.assigned", "lead.stage.changed"), 1
    )


def test_a_rule_fires_once_in_a_leads_lifetime(world: World) -> None:
    lead_id = world.new_lead()
    for stage in ("qualified", "engaged", "qualified"):
        assert world.pipeline.move_lead(lead_id, stage).answer["changed"]
        world.settled()
    assert len(world.crm.deals_of(lead_id)) == 1
    assert len(world.executions_of(DEAL_RULE)) == 1


def test_what_makes_no_sense_is_refused_and_leaves_nothing(world: World) -> None:
    lead_id = world.new_lead()
    nobody = "00000000-0000-4000-8000-000000000000"
    assert world.pipeline.move_lead(lead_id, "no-such-stage").http_status == 422
    assert world.pipeline.move_lead(lead_id, "contacted", expected_version=3).http_status == 409
    assert world.pipeline.move_lead(nobody, "contacted").http_status == 404
    assert world.crm.create_deal(nobody).http_status == 404
    assert world.crm.create_lead(email="\0").http_status == 422
    world.settled()
    rows = world.database.rows()
    assert (rows.history, rows.deals) == ((), ())
    assert {row.event_type for row in rows.outbox} == {"lead.created", "lead.assigned"}


def test_a_duplicate_delivery_of_an_event_has_no_second_effect(world: World) -> None:
    lead_id = world.new_lead()
    world.pipeline.move_lead(lead_id, "qualified")
    world.settled()
    with duplicate(world.site):
        world.settled()
    assert len(world.crm.deals_of(lead_id)) == 1
    assert len(world.executions_of(DEAL_RULE)) == 1


def test_a_lead_is_changed_once_and_each_change_is_an_event(world: World) -> None:
    lead_id = world.new_lead()
    world.settled()
    before = world.crm.lead(lead_id).answer
    changed = world.crm.change_lead(lead_id, phone="+49 30 123456", expected_version=before["version"])
    assert (changed.answer["changed"], changed.answer["version"]) == (True, before["version"] + 1)
    again = world.crm.change_lead(lead_id, phone="+49 30 123456")
    assert (again.http_status, again.answer["changed"]) == (200, False)
    assert world.crm.change_lead(lead_id, name="Eve", expected_version=before["version"]).http_status == 409
    assert world.crm.change_lead(lead_id, owner_id=lead_id).http_status == 409
    manager = world.crm.users("manager")[0]
    assert world.crm.change_lead(lead_id, owner_id=manager).answer["owner_id"] == manager
    world.settled()
    types = Counter(row.event_type for row in world.database.rows().outbox)
    assert types == {"lead.created": 1, "lead.assigned": 2, "lead.updated": 1}


def test_only_an_operator_changes_users(world: World) -> None:
    agent = world.crm.users("agent")[0]
    assert world.crm.set_active(agent, active=False).http_status == 403
    changed = world.operator.set_active(agent, active=False)
    assert (changed.http_status, changed.answer["active"]) == (200, False)
    assert agent not in world.crm.users("agent")
