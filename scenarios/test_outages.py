"""Dependencies are away for longer than any retrying would last: what cannot be done is held, with all its attempts."""

from __future__ import annotations

from chaos.faults.network import cut
from harness.contract.log_lines import CallCompleted, EventSettled
from harness.environment.waiting import eventually
from harness.evidence.clock import monotonic_ns
from scenarios.world import WITHIN_S, World


def test_peers_that_are_gone_for_longer_than_the_ladder_cost_no_attempt(world: World, outage_s: float) -> None:
    *leads, by_hand = world.known_leads(4)
    with cut(world.site, "automation→crm"), cut(world.site, "automation→pipeline"):
        began_ns = monotonic_ns()
        world.move_all(leads, "qualified")
        deal = world.crm.create_deal(by_hand)
        eventually(lambda: _unreached(world) == {"crm", "pipeline"}, within_s=WITHIN_S, describe="a call to each, lost")
        eventually(
            lambda: (monotonic_ns() - began_ns) / 1e9 > outage_s, within_s=outage_s + WITHIN_S, describe="a long outage"
        )
    world.settled()
    settled = [line for line in world.lines() if isinstance(line, EventSettled)]
    assert {(line.status, line.attempt) for line in settled} == {("acked", 1)}
    assert world.leads_with_a_deal() == {*leads, by_hand}
    assert deal.http_status == 201


def _unreached(world: World) -> set[str]:
    """Peers that did not answer a call of automation."""
    calls = (line for line in world.lines() if isinstance(line, CallCompleted) and line.service == "automation")
    return {call.peer for call in calls if call.http_status is None}
