"""Dependencies are away for longer than any retrying would last: what cannot be done is held, with all its attempts."""

from __future__ import annotations

from chaos.faults.network import cut
from chaos.faults.process import paused
from harness.contract.log_lines import CallCompleted, EventSettled
from harness.environment.waiting import eventually
from harness.evidence.clock import monotonic_ns
from scenarios.world import WITHIN_S, World


def test_peers_that_can_do_nothing_for_longer_than_the_ladder_cost_no_attempt(world: World, outage_s: float) -> None:
    """pipeline cannot be reached; crm answers, but has no database."""
    *leads, by_hand = world.known_leads(4)
    with cut(world.site, "automation→pipeline"):
        created = world.crm.create_deal(by_hand)
        assert created.http_status == 201
        world.published(correlation_id=created.correlation_id, type="deal.created")  # crm cannot send it later on
        with cut(world.site, "crm→database"):
            began_ns = monotonic_ns()
            world.move_all(leads, "qualified")
            eventually(lambda: _in_vain(world) == {"crm", "pipeline"}, within_s=WITHIN_S, describe="a call to each")
            describe = f"an outage of {outage_s:g} s"
            eventually(lambda: _seconds_since(began_ns) > outage_s, within_s=outage_s + WITHIN_S, describe=describe)
    world.settled()
    settled = [line for line in world.lines() if isinstance(line, EventSettled)]
    assert {(line.status, line.attempt) for line in settled} == {("acked", 1)}
    assert world.leads_with_a_deal() == {*leads, by_hand}


def test_a_peer_that_stands_still_is_given_up_by_whoever_calls_it(world: World) -> None:
    """It takes connections and says nothing: only whoever looks at the time gets away from it."""
    (known,), unknown = world.known_leads(1), world.new_lead()
    world.settled()
    with paused(world.site, "crm"):
        moved = world.pipeline.move_lead(known, "qualified")
        refused = world.pipeline_client(timeout_s=WITHIN_S).move_lead(unknown, "engaged")
        world.until_logged("call.completed", correlation_id=moved.correlation_id)
    assert refused.http_status == 503
    world.settled()
    assert world.leads_with_a_deal() == {known}


def _in_vain(world: World) -> set[str]:
    """Peers that automation has called and that did not do what was asked."""
    calls = (line for line in world.lines() if isinstance(line, CallCompleted) and line.service == "automation")
    return {call.peer for call in calls if call.http_status is None or call.http_status >= 500}


def _seconds_since(moment_ns: int) -> float:
    return (monotonic_ns() - moment_ns) / 1e9
