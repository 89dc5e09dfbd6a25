"""A lead that waits too long is escalated once; one that moves on in time never is, whatever happens meanwhile."""

from __future__ import annotations

from chaos.faults.network import cut, slow
from chaos.faults.process import killed
from harness.clients.sinks import Sinks
from harness.evidence.records import Operation, Received
from scenarios.world import World

HOOKS = "/hooks"
SHIPPED = "lead-contacted-escalate"


def test_a_lead_left_in_contacted_is_given_to_a_manager_and_told_once(world: World) -> None:
    lead_id = world.new_lead()
    world.settled()
    world.pipeline.move_lead(lead_id, "contacted")
    world.settled()
    _assert_escalated_once(world, lead_id, SHIPPED)
    world.pipeline.move_lead(lead_id, "engaged")
    world.pipeline.move_lead(lead_id, "contacted")
    world.settled()
    _assert_escalated_once(world, lead_id, SHIPPED)


def test_a_lead_that_moves_on_in_time_is_not_escalated(world: World) -> None:
    _rule(world, after_ms=3_600_000)
    lead_id = world.new_lead()
    _wait_in_engaged(world, lead_id)
    world.pipeline.move_lead(lead_id, "nurturing")
    world.settled()
    assert world.sinks.received() == []


def test_a_timer_that_is_due_before_automation_hears_of_the_move_does_not_fire(world: World) -> None:
    """Neither that of a lead that is gone, nor that of one that has come back since."""
    _rule(world, after_ms=2_500)
    gone, back = world.new_leads(2)
    world.settled()
    waiting = [_wait_in_engaged(world, lead_id) for lead_id in (gone, back)]
    with cut(world.site, "pipeline→broker"):
        for lead_id, stage in ((gone, "nurturing"), (back, "nurturing"), (back, "engaged")):
            assert world.pipeline.move_lead(lead_id, stage).outcome == "ok"
        for entered in waiting:
            world.until_logged("timer.cancelled", correlation_id=entered.correlation_id)
        assert world.pipeline.move_lead(back, "nurturing").outcome == "ok"
    world.settled()
    assert world.sinks.received() == []


def test_a_timer_outlives_a_restart(world: World) -> None:
    rule = _rule(world, after_ms=2_000)
    lead_id = world.new_lead()
    _wait_in_engaged(world, lead_id)
    world.stack.processes["automation"].restart()
    world.settled()
    _assert_escalated_once(world, lead_id, rule)


def test_automation_is_killed_with_a_claimed_timer_in_hand(world: World) -> None:
    rule = _rule(world, after_ms=300)
    lead_id = world.new_lead()
    world.pipeline.move_lead(lead_id, "nurturing")  # so that pipeline knows it and asks nobody later on
    world.settled()
    with slow(world.site, "automation→pipeline", delay_ms=400) as delay:
        moved = world.pipeline.move_lead(lead_id, "engaged")
        world.until_logged("call.sent", correlation_id=moved.correlation_id)
        waiting = world.unanswered_calls()
        with killed(world.site, "automation") as kill:
            for fault in (delay, kill):
                fault.add(waiting, f"{waiting} looks at the lead's stage were waiting for their answer")
    world.settled()
    _assert_escalated_once(world, lead_id, rule)


def test_an_escalation_that_keeps_failing_is_dead_lettered_and_replayed(world: World) -> None:
    rule = _rule(world, after_ms=100)
    lead_id = world.new_lead()
    world.settled()
    world.sinks.behave(HOOKS, 500)
    moved = world.pipeline.move_lead(lead_id, "engaged")
    world.recording.expect_dead_letter(moved, reason="exhausted")
    world.settled()
    assert len(world.sinks.received(HOOKS)) == 5
    (letter,) = world.automation.dead_letters()
    world.sinks.behave(HOOKS, 204)
    assert world.automation.replay(letter["event_id"]).http_status == 200
    world.settled()
    _assert_escalated_once(world, lead_id, rule)


def _rule(world: World, *, after_ms: int) -> str:
    return world.add_rule(
        "sla", "lead.stage.changed", "escalate", to_stage="engaged", parameters={"after_ms": after_ms}
    )


def _wait_in_engaged(world: World, lead_id: str) -> Operation:
    moved = world.pipeline.move_lead(lead_id, "engaged")
    world.until_logged("timer.scheduled", correlation_id=moved.correlation_id)
    return moved


def _assert_escalated_once(world: World, lead_id: str, rule: str) -> None:
    (lead,) = (row for row in world.database.rows().leads if row.id == lead_id)
    assert lead.owner_id in world.crm.users("manager")
    (execution,) = world.executions_of(rule)
    assert [item.key for item in _accepted(world.sinks)] == [execution.id]


def _accepted(sinks: Sinks) -> list[Received]:
    return [item for item in sinks.received(HOOKS) if item.accepted]
