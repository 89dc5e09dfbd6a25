"""Two replicas of a service work side by side; either may go at any time, and nobody notices."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import count

import pytest

from chaos.faults.network import slow
from chaos.faults.process import killed
from harness.clients.together import together
from harness.contract.log_lines import EventPublished
from harness.environment.waiting import eventually
from harness.evidence.records import Operation
from scenarios.traffic import to_a_ready_one, traffic
from scenarios.world import WITHIN_S, World

WALK = ("engaged", "nurturing", "discovery", "demo", "negotiation")


def test_two_pipelines_move_the_same_leads_with_one_relay_between_them(world: World) -> None:
    leads = world.new_leads(4)
    with world.second("pipeline") as second:
        clients = (world.pipeline, world.pipeline_at(second))
        for turn, stage in enumerate(WALK):
            moves = together([partial(clients[(turn + n) % 2].move_lead, lead, stage) for n, lead in enumerate(leads)])
            looks = together([partial(client.stage_of, lead) for client in clients for lead in leads])
            assert {answer.http_status for answer in (*moves, *looks)} == {200}
        contest = together(
            [partial(clients[n % 2].move_lead, leads[0], "qualified", expected_version=len(WALK)) for n in range(10)]
        )
        assert sorted(move.http_status or 0 for move in contest) == [200] + [409] * 9
        world.settled()
        assert len(_relays_of_pipeline(world)) == 1
    assert world.leads_with_a_deal() == {leads[0]}


def test_the_second_pipeline_relays_what_a_killed_one_left_behind(world: World) -> None:
    leads = world.known_leads(3)
    with world.second("pipeline") as second, ExitStack() as until_started_again:
        other = world.pipeline_at(second)
        with slow(world.site, "pipeline→broker", delay_ms=300) as delay:
            moves = together([partial(other.move_lead, lead, "qualified") for lead in leads])
            assert {move.http_status for move in moves} == {200}
            unsent = world.database.unsent_events()
            kill = until_started_again.enter_context(killed(world.site, "pipeline"))
            for fault in (delay, kill):
                fault.add(unsent, f"{unsent} events were committed but not yet confirmed")
        eventually(lambda: not world.database.unsent_events(), within_s=WITHIN_S, describe="an empty outbox")
        assert len(_relays_of_pipeline(world)) == 2
    world.settled()
    assert world.leads_with_a_deal() == set(leads)


def test_the_second_automation_finishes_what_a_killed_one_had_begun(world: World) -> None:
    leads = world.known_leads(3)
    with world.second("automation"):
        with slow(world.site, "automation→crm", delay_ms=400) as delay, ExitStack() as until_started_again:
            moves = world.move_all(leads, "qualified")
            world.until_logged("call.sent", correlation_id=moves[0].correlation_id)
            waiting = world.unanswered_calls()
            kill = until_started_again.enter_context(killed(world.site, "automation"))
            for fault in (delay, kill):
                fault.add(waiting, f"{waiting} calls to crm were waiting for their answer")
            eventually(
                lambda: world.leads_with_a_deal() == set(leads),
                within_s=WITHIN_S,
                describe="a deal for each lead, from the second automation",
            )
        world.settled()
    assert world.leads_with_a_deal() == set(leads)


def test_two_automations_handle_the_events_of_a_lead_in_their_order(world: World) -> None:
    """Whether they did is for entity_event_order to say; the slow database gives them time to get it wrong."""
    leads = world.new_leads(2)
    with world.second("automation"), slow(world.site, "automation→database", delay_ms=30):
        for stage in WALK[:3]:
            world.move_all(leads, stage)
        world.settled()


def test_what_a_stopping_automation_still_handles_is_not_overtaken(world: World) -> None:
    """Whether it was is for entity_event_order to say: the lead's next event comes while the first one drains."""
    (lead,) = world.known_leads(1)
    with world.second("automation"), slow(world.site, "automation→crm", delay_ms=400) as delay:
        moved = world.pipeline.move_lead(lead, "qualified")
        world.until_logged("call.sent", correlation_id=moved.correlation_id)
        waiting = world.unanswered_calls()
        delay.add(waiting, f"{waiting} calls to crm were waiting for their answer")
        with ThreadPoolExecutor(1) as aside:
            restart = aside.submit(world.stack.processes["automation"].restart)
            world.until_unready("automation")
            assert world.pipeline.move_lead(lead, "proposal").http_status == 200
        restart.result()
        world.settled()
    assert world.stack.processes["automation"].starts[-2].how == "stopped"
    assert world.leads_with_a_deal() == {lead}


def test_two_automations_escalate_each_lead_once(world: World) -> None:
    parameters = {"after_ms": 500}
    rule = world.add_rule("sla", "lead.stage.changed", "escalate", to_stage=WALK[0], parameters=parameters)
    leads = world.new_leads(8)
    with world.second("automation"):
        world.move_all(leads, WALK[0])
        world.settled()
    assert {row.entity_id for row in world.executions_of(rule)} == set(leads)


@pytest.mark.parametrize("service", ["crm", "pipeline", "automation"])
def test_nobody_notices_a_rolling_restart_under_traffic(world: World, service: str) -> None:
    leads = world.new_leads(3)
    world.move_all(leads, WALK[0])
    with traffic(_operation(world, service, leads)) as done, world.second(service):
        world.stack.processes[service].restart()
    world.settled()
    noticed = [(op.http_status, op.answer) for op in done if op.outcome != "ok"]
    assert not noticed, f"{len(noticed)} of {len(done)} operations noticed: {noticed[:3]}"
    assert world.stack.processes[service].starts[-2].how == "stopped"


def _operation(world: World, service: str, leads: list[str]) -> Callable[[], Operation]:
    """What clients go on doing: with crm, new leads; otherwise leads are moved to and fro."""
    second = world.replica_of(service)
    if service == "crm":
        crm = {"crm": world.crm, second: world.crm_at(second)}
        return to_a_ready_one(world, list(crm), lambda name: crm[name].create_lead())
    pipelines = {"pipeline": world.pipeline}
    if service == "pipeline":
        pipelines[second] = world.pipeline_at(second)
    numbers = count()

    def move(name: str) -> Operation:
        number = next(numbers)
        return pipelines[name].move_lead(leads[number % len(leads)], WALK[number // len(leads) % len(WALK)])

    return to_a_ready_one(world, list(pipelines), move)


def _relays_of_pipeline(world: World) -> set[str]:
    """The instances that have published events of the pipeline."""
    lines = (line for line in world.lines() if isinstance(line, EventPublished))
    return {line.instance for line in lines if line.service == "pipeline"}
