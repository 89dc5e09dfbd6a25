"""Ten clients, one line: what concurrency must not break."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from harness.clients.together import together
from harness.evidence.records import Operation
from scenarios.world import World

TEN = range(10)
STAGES = "pipeline.stages"


def test_ten_patches_to_one_stage_change_it_once(world: World) -> None:
    (lead_id,) = world.known_leads(1)
    moves = world.overlapping([lambda: world.pipeline.move_lead(lead_id, "qualified") for _ in TEN], writing=STAGES)
    assert [move.http_status for move in moves] == [200] * 10
    assert Counter(move.answer["changed"] for move in moves) == {True: 1, False: 9}
    assert {move.answer["version"] for move in moves} == {2}


def test_ten_patches_on_one_expected_version_have_one_winner(world: World) -> None:
    (lead_id,) = world.known_leads(1)
    moves = world.overlapping(
        [lambda: world.pipeline.move_lead(lead_id, "qualified", expected_version=1) for _ in TEN], writing=STAGES
    )
    assert Counter(move.http_status for move in moves) == {200: 1, 409: 9}


def test_ten_patches_to_ten_stages_make_one_chain(world: World) -> None:
    (lead_id,) = world.known_leads(1)
    stages = [stage for stage in world.target.stages.open if stage != "engaged"]
    moves = world.overlapping([partial(world.pipeline.move_lead, lead_id, stage) for stage in stages], writing=STAGES)
    assert [(move.http_status, move.answer["changed"]) for move in moves] == [(200, True)] * len(stages)
    assert sorted(move.answer["version"] for move in moves) == list(range(2, len(stages) + 2))


def test_ten_patches_to_ten_stages_on_one_version_have_one_winner(world: World) -> None:
    lead_id = world.new_lead()
    world.pipeline.move_lead(lead_id, "contacted")
    stages = world.target.stages.open[2:11]
    moves = world.overlapping(
        [partial(world.pipeline.move_lead, lead_id, stage, expected_version=1) for stage in stages], writing=STAGES
    )
    assert Counter(move.http_status for move in moves) == {200: 1, 409: len(stages) - 1}


def test_readers_during_ten_patches_see_versions_that_only_rise(world: World) -> None:
    """Whether they did is for real_time_order and session_monotonic to say. Who moves it looks at once, too."""
    lead_id = world.new_lead()

    def look_on() -> list[Operation]:
        return [world.pipeline.stage_of(lead_id) for _ in TEN]

    def move(stage: str) -> list[Operation]:
        return [world.pipeline.move_lead(lead_id, stage), world.pipeline.stage_of(lead_id)]

    clients: list[Callable[[], list[Operation]]] = [look_on] * 3
    clients += [partial(move, stage) for stage in world.target.stages.open[1:11]]
    done = together(clients)
    assert {operation.outcome for one in done for operation in one} == {"ok"}


def test_readers_of_a_lead_that_ten_clients_change_see_versions_that_only_rise(world: World) -> None:
    """Half of them change something else than the others: what one has written, no other one may write over."""
    lead_id = world.new_lead()

    def look_on() -> list[Operation]:
        return [world.crm.lead(lead_id) for _ in TEN]

    def change(number: int) -> list[Operation]:
        one_thing = {"name": f"Ada Example {number}"} if number % 2 else {"phone": f"+49 30 555 0{number}"}
        return [world.crm.change_lead(lead_id, **one_thing), world.crm.lead(lead_id)]

    clients: list[Callable[[], list[Operation]]] = [look_on] * 3
    clients += [partial(change, number) for number in TEN]
    done = together(clients)
    assert {operation.outcome for one in done for operation in one} == {"ok"}


def test_ten_deals_for_one_lead_make_one(world: World) -> None:
    lead_id = world.new_lead()
    created = world.overlapping([lambda: world.crm.create_deal(lead_id) for _ in TEN], writing="crm.deals")
    assert Counter(deal.http_status for deal in created) == {201: 1, 409: 9}
    winner = next(deal.answer["id"] for deal in created if deal.http_status == 201)
    assert {deal.answer["existing_id"] for deal in created if deal.http_status == 409} == {winner}


@pytest.mark.needs_clean_slate
def test_ten_leads_with_one_email_make_one(world: World) -> None:
    one = partial(world.crm.create_lead, email="One@Example.test")
    created = world.overlapping([one for _ in TEN], writing="crm.leads")
    assert Counter(lead.http_status for lead in created) == {201: 1, 409: 9}


def test_ten_leads_qualify_at_once_and_each_gets_its_deal(world: World) -> None:
    leads = together([world.new_lead for _ in TEN])
    together([partial(world.pipeline.move_lead, lead_id, "qualified") for lead_id in leads])
    world.settled()
    assert Counter(row.lead_id for row in world.database.rows().deals) == dict.fromkeys(leads, 1)
