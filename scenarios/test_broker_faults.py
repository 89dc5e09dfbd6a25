"""The broker misbehaves; what it did not take has to stay in the outbox."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from chaos.faults.broker import closed, exchange_deleted, queue_full, unbound, work_queue_deleted, work_queue_made_anew
from chaos.faults.process import paused, restarted, stopped
from chaos.faults.site import Attestation, FaultSite
from harness.contract.log_lines import EventPublished
from harness.environment.waiting import eventually
from scenarios.world import WITHIN_S, World

Taken = Callable[[FaultSite], AbstractContextManager[Attestation]]


def test_an_event_that_no_queue_takes_is_kept_until_one_does(world: World) -> None:
    lead_id = world.new_lead()
    world.settled()
    with paused(world.site, "automation") as pause, unbound(world.site):
        moved = world.pipeline.move_lead(lead_id, "qualified")
        returned = world.until_logged("event.published", correlation_id=moved.correlation_id)
        assert returned.status == "returned"
        back = _published(world, "returned")
        pause.add(back, f"{back} publishes were returned while it could not put its bindings back")
        assert world.database.unsent_events() == 1
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}


def test_of_events_published_together_only_those_that_a_queue_took_are_done_with(world: World) -> None:
    """Each is marked for itself. None overtakes an earlier one of its lead that was not taken, or waits for others."""
    (other,) = world.known_leads(1)
    with paused(world.site, "automation") as pause, unbound(world.site, but=["lead.updated"]):
        lead_id = world.new_lead()
        assert world.crm.change_lead(lead_id, name="Ada Second").outcome == "ok"
        taken = world.crm.change_lead(other, name="Ada Other")
        assert world.until_logged("event.published", correlation_id=taken.correlation_id).status == "confirmed"
        before = _published(world, "returned")
        eventually(
            lambda: _published(world, "returned") > before or world.database.unsent_events() < 2,
            within_s=WITHIN_S,
            describe="one more publish that is returned, or an outbox that has forgotten it",
        )
        back = _published(world, "returned")
        pause.add(back, f"{back} publishes were returned while it could not put its bindings back")
        assert world.database.unsent_events() == 2
    world.settled()


def test_a_backlog_waits_for_its_consumer(world: World) -> None:
    leads = world.known_leads(5)
    with paused(world.site, "automation"):
        moves = world.move_all(leads, "qualified")
        assert {move.outcome for move in moves} == {"ok"}
        eventually(lambda: not world.database.unsent_events(), within_s=WITHIN_S, describe="an empty outbox")
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


@pytest.mark.parametrize("taken", [work_queue_deleted, work_queue_made_anew], ids=["deleted", "made anew"])
def test_a_cancelled_consumer_comes_back_by_itself(world: World, taken: Taken) -> None:
    (lead_id,) = world.known_leads(1)
    with taken(world.site):
        assert world.pipeline.move_lead(lead_id, "qualified").outcome == "ok"
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}


def test_what_a_full_queue_refuses_stays_in_the_outbox_until_there_is_room(world: World) -> None:
    """The first ones fill it, for its consumer is away; the nacks are for the others."""
    leads = world.known_leads(4)
    with stopped(world.site, "automation"), queue_full(world.site, max_length=1):
        moves = world.move_all(leads[:2], "qualified")
        eventually(lambda: not world.database.unsent_events(), within_s=WITHIN_S, describe="an empty outbox")
        moves += world.move_all(leads[2:], "qualified")
        assert {move.outcome for move in moves} == {"ok"}
        eventually(
            lambda: _published(world, "nacked") or not world.database.unsent_events(),
            within_s=WITHIN_S,
            describe="a publish that is nacked, or an outbox that is empty in spite of it",
        )
        assert world.database.unsent_events() > 0
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


@pytest.mark.parametrize(
    "place",
    ["pipeline→broker", "automation→broker", pytest.param("rabbitmq", marks=pytest.mark.nightly)],
    ids=["pipeline", "automation", "all"],
)
def test_connections_that_the_broker_closes_are_made_anew(world: World, place: str) -> None:
    leads = world.known_leads(3)
    moves = world.move_all(leads, "qualified")
    with closed(world.site, place):
        moves += world.move_all(leads, "engaged")
    assert {move.outcome for move in moves} == {"ok"}
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


def test_an_exchange_that_is_deleted_comes_back_with_its_bindings(world: World) -> None:
    leads = world.known_leads(3)
    with exchange_deleted(world.site):
        assert {move.outcome for move in world.move_all(leads, "qualified")} == {"ok"}
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


@pytest.mark.nightly
def test_a_backlog_outlives_a_restart_of_the_broker(world: World) -> None:
    leads = world.known_leads(3)
    with stopped(world.site, "automation"):
        world.move_all(leads, "qualified")
        eventually(lambda: not world.database.unsent_events(), within_s=WITHIN_S, describe="an empty outbox")
        backlog = world.broker.waiting()[world.target.broker.work_queue] or 0
        with restarted(world.site, "rabbitmq") as restart:
            restart.add(backlog, f"{backlog} messages were in the work queue")
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


def _published(world: World, status: str) -> int:
    lines = (line for line in world.lines() if isinstance(line, EventPublished))
    return sum(line.status == status for line in lines)
