"""What automation does by itself: each action, the chains they make, and whom they may speak to."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from email.utils import formatdate
from itertools import pairwise

import pytest

from chaos.faults.network import cut
from harness.clients.sinks import MAIL
from harness.evidence.records import Received
from scenarios.world import World

HOOKS, ALERTS = "/hooks", "/alerts"
WON_RULE, LOST_RULE = "deal-won-notify", "lead-lost-notify"
DELAYS_MS = (100, 200, 400, 800)
TOLERANCE = 0.2
SCHEDULING_MS = 250
"""What a busy machine may add to a delay."""


def test_new_leads_are_given_to_the_active_agents_in_turn(world: World) -> None:
    first, *others = world.crm.users("agent")
    assert world.operator.set_active(first, active=False).answer["changed"]
    leads = world.new_leads(2 * len(others))
    world.settled()
    owners = Counter(row.owner_id for row in world.database.rows().leads)
    assert owners == dict.fromkeys(others, 2)
    assert len(leads) == owners.total()


def test_a_lead_that_somebody_owns_by_then_keeps_its_owner(world: World) -> None:
    chosen = world.crm.users("agent")[-1]  # who is not the next in turn
    with cut(world.site, "crm→broker"):
        lead_id = world.new_lead()
        assert world.crm.change_lead(lead_id, owner_id=chosen).answer["changed"]
    world.settled()
    assert world.crm.lead(lead_id).answer["owner_id"] == chosen


def test_one_patch_makes_a_chain_of_four_hops_in_one_trace(world: World) -> None:
    told = world.add_rule("proposal-notify", "deal.stage.changed", "notify", to_stage="proposal")
    lead_id = world.new_lead()
    moved = world.pipeline.move_lead(lead_id, "qualified")
    world.settled()
    rows = world.database.rows()
    events = [row for row in rows.outbox if row.correlation_id == moved.correlation_id]
    by_cause = {row.causation_id: row for row in events}
    chain = [by_cause[None]]
    while chain[-1].event_id in by_cause:
        chain.append(by_cause[chain[-1].event_id])
    assert [event.event_type for event in chain] == ["lead.stage.changed", "deal.created", "deal.stage.changed"]
    (webhook,) = world.sinks.received(HOOKS)
    assert (webhook.event_id, webhook.correlation_id) == (chain[-1].event_id, moved.correlation_id)
    assert [row.id for row in world.executions_of(told)] == [webhook.key]
    assert [(row.to_stage, row.source) for row in rows.history if row.entity_type == "deal"] == [
        ("proposal", "automation")
    ]


def test_a_deal_that_is_won_is_told_by_a_signed_webhook(world: World) -> None:
    world.pipeline.move_deal(_a_deal(world), "won")
    world.settled()
    (webhook,) = world.sinks.received(HOOKS)
    assert webhook.signed
    assert [row.id for row in world.executions_of(WON_RULE)] == [webhook.key]


def test_a_lead_that_is_lost_is_told_by_mail_and_a_mail_server_may_be_busy(world: World) -> None:
    world.sinks.behave(MAIL, 451, times=1)
    lead_id = world.new_lead()
    world.pipeline.move_lead(lead_id, "lost")
    world.settled()
    first, second = world.sinks.received(MAIL)
    assert (first.status, second.status) == (451, 250)
    (execution,) = world.executions_of(LOST_RULE)
    assert first.key == second.key == f"<{execution.id}@automation>"
    assert first.digest == second.digest


def test_a_rule_that_is_switched_off_does_nothing(world: World) -> None:
    off, on = (
        world.add_rule(name, "lead.stage.changed", "notify", to_stage="engaged", enabled=name == "on")
        for name in ("off", "on")
    )
    world.pipeline.move_lead(world.new_lead(), "engaged")
    world.settled()
    (webhook,) = world.sinks.received(HOOKS)
    assert [row.id for row in world.executions_of(on)] == [webhook.key]
    assert world.executions_of(off) == []


def test_a_move_to_where_it_is_already_changes_nothing(world: World) -> None:
    rule = world.add_rule(
        "engaged-engaged", "lead.stage.changed", "move_stage", to_stage="engaged", parameters={"stage": "engaged"}
    )
    world.pipeline.move_lead(world.new_lead(), "engaged")
    world.settled()
    assert [row.status for row in world.executions_of(rule)] == ["succeeded"]
    assert len(world.database.rows().history) == 1


def test_opposing_rules_come_to_an_end(world: World) -> None:
    _chain(world, "engaged", "nurturing", "engaged")
    world.pipeline.move_lead(world.new_lead(), "engaged")
    world.settled()
    assert [row.to_stage for row in world.database.rows().history] == ["engaged", "nurturing", "engaged"]


def test_a_chain_of_seven_rules_ends_at_the_loop_guard(world: World) -> None:
    _chain(world, "engaged", "nurturing", "discovery", "demo", "proposal", "negotiation", "contracting", "on_hold")
    moved = world.pipeline.move_lead(world.new_lead(), "engaged")
    world.recording.expect_dead_letter(moved, reason="loop_guard")
    world.settled()
    assert [row.to_stage for row in world.database.rows().history][-1] == "contracting"
    (letter,) = world.automation.dead_letters()
    assert letter["reason"] == "loop_guard"


def test_a_webhook_that_always_fails_is_called_five_times_then_dead_lettered_and_replayed(world: World) -> None:
    deal_id = _a_deal(world)
    world.sinks.behave(HOOKS, 500)
    won = world.pipeline.move_deal(deal_id, "won")
    world.recording.expect_dead_letter(won, reason="exhausted")
    world.settled()
    calls = world.sinks.received(HOOKS)
    assert len(calls) == 5
    for waited_ms, delay_ms in zip(_gaps_ms(calls), DELAYS_MS, strict=True):
        assert delay_ms * (1 - TOLERANCE) <= waited_ms <= delay_ms * (1 + TOLERANCE) + SCHEDULING_MS
    (alert,) = world.sinks.received(ALERTS)
    (letter,) = world.automation.dead_letters()
    assert alert.signed
    assert (alert.event_id, letter["reason"]) == (letter["event_id"], "exhausted")
    broker = world.target.broker
    ladder = [queue for queue in broker.retry_queues if queue != broker.undeliverable]
    assert world.queues_of(letter["event_id"]) == [broker.work_queue, *ladder, broker.dead_letter_queue]

    world.sinks.behave(HOOKS, 204)
    assert world.automation.replay(letter["event_id"]).http_status == 200
    world.settled()
    calls = world.sinks.received(HOOKS)
    assert [call.status for call in calls] == [500] * 5 + [204]
    assert len({(call.key, call.digest) for call in calls}) == 1
    assert len(world.sinks.received(ALERTS)) == 1


@pytest.mark.parametrize(("status", "as_date"), [(429, False), (503, True)], ids=["in-seconds", "at-a-date"])
def test_a_receiver_that_asks_for_patience_gets_it(world: World, status: int, as_date: bool) -> None:
    deal_id = _a_deal(world)
    patience = formatdate(time.time() + 10, usegmt=True) if as_date else "1"
    world.sinks.behave(HOOKS, status, times=1, retry_after=patience)
    world.pipeline.move_deal(deal_id, "won")
    world.settled()
    calls = world.sinks.received(HOOKS)
    assert [call.status for call in calls] == [status, 204]
    assert _gaps_ms(calls)[0] >= DELAYS_MS[-1] * (1 - TOLERANCE)


def test_a_receiver_that_never_answers_is_given_up_and_called_again(world: World) -> None:
    deal_id = _a_deal(world)
    world.sinks.behave(HOOKS, 500, times=1, delay_ms=30_000)
    world.pipeline.move_deal(deal_id, "won")
    world.settled()
    assert [call.status for call in world.sinks.received(HOOKS)] == [500, 204]


def test_a_receiver_that_cannot_be_reached_is_no_outage_of_ours(world: World) -> None:
    deal_id = _a_deal(world)
    with cut(world.site, "automation→webhook") as fault:
        won = world.pipeline.move_deal(deal_id, "won")
        failed = world.until_logged("action.completed", correlation_id=won.correlation_id)
        fault.add(failed.status == "failed", "an attempt to send the webhook failed")
        assert world.ready("automation")
    world.settled()
    assert [call.status for call in world.sinks.received(HOOKS)] == [204]


def test_a_redirection_is_not_followed(world: World) -> None:
    deal_id = _a_deal(world)
    world.sinks.behave(HOOKS, 307, location="/elsewhere")
    won = world.pipeline.move_deal(deal_id, "won")
    world.recording.expect_dead_letter(won, reason="non_retryable")
    world.settled()
    assert [item.place for item in world.sinks.received()] == [HOOKS, ALERTS]


def test_a_receiver_that_is_not_on_the_list_is_never_called(world: World) -> None:
    port = world.stack.edges["automation→webhook"].rpartition(":")[2]
    elsewhere = world.stack.addresses["webhook"]
    forms = [
        f"http://2130706433:{port}/x",
        f"http://0x7f.0.0.1:{port}/x",
        f"http://[::ffff:127.0.0.1]:{port}/x",
        f"http://127.0.0.1.:{port}/x",
        f"http://allowed@127.0.0.1:{port}/x",
        "http://localhost/x",  # is on the list, but its address is not a public one
        f"http://{elsewhere}/x",
        f"file://127.0.0.1:{port}/x",
    ]
    stages = ("engaged", "nurturing", "discovery", "demo", "proposal", "negotiation", "contracting", "on_hold")
    for stage, url in zip(stages, forms, strict=True):
        world.add_rule(
            f"to-{stage.replace('_', '-')}", "lead.stage.changed", "notify", to_stage=stage, parameters={"url": url}
        )
    for stage in stages:
        moved = world.pipeline.move_lead(world.new_lead(), stage)
        world.recording.expect_dead_letter(moved, reason="non_retryable")
    world.settled()
    assert {item.place for item in world.sinks.received()} == {ALERTS}


def _a_deal(world: World) -> str:
    """A deal made by hand, when all that follows from it has come to rest."""
    deal = world.crm.create_deal(world.new_lead())
    world.settled()
    return str(deal.answer["id"])


def _chain(world: World, *stages: str) -> None:
    """Rules that each move a lead on from one stage to the next."""
    for number, (stage, following) in enumerate(pairwise(stages)):
        parameters = {"stage": following}
        world.add_rule(f"chain-{number}", "lead.stage.changed", "move_stage", to_stage=stage, parameters=parameters)


def _gaps_ms(calls: list[Received]) -> list[float]:
    moments = [datetime.fromisoformat(call.received_at) for call in calls]
    return [(later - earlier).total_seconds() * 1000 for earlier, later in pairwise(moments)]
