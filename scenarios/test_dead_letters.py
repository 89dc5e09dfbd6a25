"""What cannot be handled dies with its papers in order; what could be handled after all is replayed, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from chaos.faults.at_event import at_event, killed_at
from chaos.faults.database import one_row_only, refusing_writes
from chaos.faults.message import STAGE_CHANGED, event
from chaos.faults.process import stopped
from chaos.proxy.triggers import Trigger
from harness.environment.waiting import eventually
from harness.evidence.records import Planted
from harness.target import fill
from scenarios.world import WITHIN_S, World

ALERTS, DEAL_RULE = "/alerts", "lead-qualified-create-deal"
BEFORE_A_REPLAY = Trigger(stream="upstream", event="publish", detail="*/automation.events", action="cut")


def test_an_event_about_nobody_is_dead_lettered_without_retries(world: World) -> None:
    planted = _about_nobody(world)
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


@pytest.mark.needs_wire_proxy
def test_a_replay_that_never_reaches_the_broker_loses_nothing_and_whoever_dies_again_is_told_again(
    world: World,
) -> None:
    planted = _poison(world, "it dies as often as it is replayed")
    world.settled()
    with at_event(world.site, "automation→broker", BEFORE_A_REPLAY):
        assert world.automation.replay(planted.message_id).http_status == 503
    world.until_ready("automation")
    assert world.automation.replay(planted.message_id).http_status == 200
    world.settled()
    assert [letter["event_id"] for letter in world.automation.dead_letters()] == [planted.message_id]
    assert len({alert.key for alert in world.sinks.received(ALERTS)}) == 2


def test_crm_fails_longer_than_the_ladder_and_a_replay_succeeds_with_one_effect(world: World) -> None:
    lead_id = world.new_lead()
    with refusing_writes(world.site, "crm.deals"):
        moved = world.pipeline.move_lead(lead_id, "qualified")
        world.recording.expect_dead_letter(moved, reason="exhausted")
        event = world.published(correlation_id=moved.correlation_id, type="lead.stage.changed")
        event_id = str(event.message_id)
        world.settled()
        attempts = world.attempts_of(event_id)
    assert attempts == [1, 2, 3, 4, 5]
    assert world.leads_with_a_deal() == set()
    assert world.automation.replay(event_id).http_status == 200
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}
    assert world.automation.dead_letters() == []
    assert world.automation.replay(event_id).http_status == 404


def test_crm_fails_for_a_moment_and_the_ladder_carries_the_event_over(world: World) -> None:
    lead_id = world.new_lead()
    with refusing_writes(world.site, "crm.deals"):
        moved = world.pipeline.move_lead(lead_id, "qualified")
        event = world.published(correlation_id=moved.correlation_id, type="lead.stage.changed")
        event_id = str(event.message_id)
        world.until_received(event_id, attempt=2)
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}
    assert world.attempts_of(event_id)[0] == 1


def test_a_claim_that_another_constraint_refuses_is_dead_lettered_and_replayed(world: World) -> None:
    """Only the constraint of the executions says that a rule has fired: any other violation is an error like any."""
    first, second = world.known_leads(2)
    claims = world.target.database
    world.pipeline.move_lead(first, "qualified")
    world.settled()
    with one_row_only(world.site, claims.executions, rows=f"{claims.execution_rule} = '{DEAL_RULE}'"):
        moved = world.pipeline.move_lead(second, "qualified")
        world.recording.expect_dead_letter(moved, reason="non_retryable")
        world.settled()
    assert world.leads_with_a_deal() == {first}
    (letter,) = world.automation.dead_letters()
    assert world.automation.replay(letter["event_id"]).http_status == 200
    world.settled()
    assert world.leads_with_a_deal() == {first, second}


def test_what_is_never_settled_is_buried_by_the_delivery_limit_and_can_be_replayed(world: World) -> None:
    lead_id = world.new_lead()
    world.settled()
    with stopped(world.site, "automation") as stop:
        moved = world.pipeline.move_lead(lead_id, "qualified")
        world.recording.expect_dead_letter(moved, reason="delivery_limit")
        eventually(lambda: not world.database.unsent_events(), within_s=WITHIN_S, describe="an empty outbox")
        rejected = world.broker.reject_until_moved_to(world.target.broker.undeliverable)
        stop.add(rejected, f"{rejected} deliveries were given back while automation was not there")
    world.settled()
    assert rejected > 20
    (letter,) = world.automation.dead_letters()
    (alert,) = world.sinks.received(ALERTS)
    assert (letter["reason"], letter["event_id"]) == ("delivery_limit", alert.event_id)
    assert world.automation.replay(letter["event_id"]).http_status == 200
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}


def test_an_alert_is_sent_until_it_is_delivered_also_after_a_restart(world: World) -> None:
    world.sinks.behave(ALERTS, 503)
    planted = _poison(world, "an alert is due")
    world.until_logged("event.dead_lettered", correlation_id=planted.correlation_id)
    eventually(lambda: world.sinks.received(ALERTS), within_s=WITHIN_S, describe="a first try to alert")
    world.stack.processes["automation"].restart()
    world.sinks.behave(ALERTS, 204)
    world.settled()
    alerts = world.sinks.received(ALERTS)
    assert {alert.key for alert in alerts} == {alerts[-1].key}
    assert [alert.status for alert in alerts if alert.accepted] == [204]


@pytest.mark.needs_wire_proxy
def test_who_dies_of_burying_a_dead_letter_buries_it_again_and_tells_of_it_once(world: World) -> None:
    detail = f"*/{world.target.broker.dead_letter_queue}"
    burial = Trigger(stream="upstream", event="publish", detail=detail, action="hold")
    edges = [edge for edge in world.target.edges if "automation" in world.target.edge_parts(edge)]
    with killed_at(world.site, "automation", "automation→broker", burial, edges=edges) as kill:
        _poison(world, "it kills whoever buries it")
        eventually(lambda: kill.over, within_s=WITHIN_S, describe="automation to be up again")
    world.settled()
    assert len({alert.key for alert in world.sinks.received(ALERTS)}) == 1


def test_all_of_one_reason_are_discarded_after_a_dry_run(world: World) -> None:
    """The one of another reason lies between them, where whoever looks for them comes past it."""
    first, other = _poison(world, "the first"), _about_nobody(world)
    world.settled()
    poison = [first.message_id, _poison(world, "the last").message_id]
    world.settled()
    dry = world.automation.for_all("discard", "schema_invalid")
    assert dry.answer["dry_run"]
    assert [letter["event_id"] for letter in dry.answer["items"]] == poison
    assert len(world.automation.dead_letters()) == 3
    assert world.automation.for_all("discard", "schema_invalid", dry_run="false").http_status == 200
    assert [letter["event_id"] for letter in world.automation.dead_letters()] == [other.message_id]


def test_all_of_one_reason_are_replayed_and_each_succeeds_once(world: World) -> None:
    leads = world.new_leads(2)
    with refusing_writes(world.site, "crm.deals"):
        for moved in world.move_all(leads, "qualified"):
            world.recording.expect_dead_letter(moved, reason="exhausted")
        world.settled()
    assert world.automation.for_all("replay", "exhausted", dry_run="false").http_status == 200
    world.settled()
    assert (world.leads_with_a_deal(), world.automation.dead_letters()) == (set(leads), [])


@pytest.mark.needs_triage_command
def test_triage_on_the_command_line(world: World) -> None:
    planted = _poison(world, "for the command line")
    world.settled()
    assert [letter["event_id"] for letter in _triage(world, "list")] == [planted.message_id]
    assert _triage(world, "list", "--reason", "exhausted") == []
    for words in (["--reason", "schema_invalid"], ["--dry-run", planted.message_id]):
        assert [letter["event_id"] for letter in _triage(world, "discard", *words)] == [planted.message_id]
    assert len(world.automation.dead_letters()) == 1
    _triage(world, "discard", "--reason", "schema_invalid", "--go")
    assert world.automation.dead_letters() == []
    _triage(world, "discard", planted.message_id, code=1)
    _triage(world, "replay", code=2)


def _poison(world: World, why: str) -> Planted:
    return world.broker.plant(b"no JSON", routing_key="lead.created", expect="schema_invalid", why=why)


def _about_nobody(world: World) -> Planted:
    body = event(STAGE_CHANGED, to_stage="qualified")
    why = "a deal for a lead that does not exist"
    return world.broker.plant(body, routing_key=STAGE_CHANGED, expect="non_retryable", why=why)


def _triage(world: World, *words: str, code: int = 0) -> list[dict[str, Any]]:
    """The operator's tool, as a person runs it; what it printed, one letter a line."""
    access = {
        "AUTOMATION_URL": world.stack.edge_url("client→automation"),
        "OPERATOR_TOKEN": world.stack.tokens["operator"],
    }
    command = [*(fill(word, {"python": sys.executable}) for word in world.target.triage), *words]
    done = subprocess.run(
        command, cwd=world.stack.source_root, env=os.environ | access, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{words}: exit code {done.returncode}: {done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines()]
