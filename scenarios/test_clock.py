"""The clock of one service is an hour fast or slow: no chain, no timer, no lease and no patience is fooled by it."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from chaos.faults.clock import skewed
from harness.evidence.clock import seconds_between
from scenarios.world import World

pytestmark = pytest.mark.needs_faketime

HOUR_S = 3600.0
HOOKS = "/hooks"
LONGEST_DELAY_S = 0.8


@pytest.mark.nightly
def test_a_clock_that_is_an_hour_fast_does_not_cut_the_patience_short_that_a_receiver_asks_for(world: World) -> None:
    lead_id = world.new_lead()
    world.settled()
    with skewed(world.site, "automation", skew_s=HOUR_S):
        world.sinks.behave(HOOKS, 503, times=1, retry_after=formatdate(time.time() + 10, usegmt=True))
        world.add_rule("engaged-notify", "lead.stage.changed", "notify", to_stage="engaged")
        world.pipeline.move_lead(lead_id, "engaged")
        world.settled()
    first, second = world.sinks.received(HOOKS)
    assert (first.status, second.status) == (503, 204)
    assert seconds_between(first.received_at, second.received_at) >= LONGEST_DELAY_S


@pytest.mark.nightly
@pytest.mark.parametrize("service", ["crm", "pipeline", "automation"])
@pytest.mark.parametrize("skew_s", [HOUR_S, -HOUR_S], ids=["fast", "slow"])
def test_a_clock_that_is_an_hour_wrong_breaks_no_chain(world: World, service: str, skew_s: float) -> None:
    told = world.add_rule("proposal-notify", "deal.stage.changed", "notify", to_stage="proposal")
    waits = world.add_rule("sla", "lead.stage.changed", "escalate", to_stage="engaged", parameters={"after_ms": 400})
    never = world.add_rule("never", "lead.stage.changed", "escalate", to_stage="demo", parameters={"after_ms": 600_000})
    with skewed(world.site, service, skew_s=skew_s):
        chained, escalated, moved_on = world.new_leads(3)
        world.pipeline.move_lead(chained, "qualified")
        world.pipeline.move_lead(moved_on, "demo")
        engaged = world.pipeline.move_lead(escalated, "engaged")
        world.until_logged("timer.fired", correlation_id=engaged.correlation_id)
        world.pipeline.move_lead(moved_on, "nurturing")
        world.settled()
    assert world.leads_with_a_deal() == {chained}
    assert [len(world.executions_of(rule)) for rule in (told, waits, never)] == [1, 1, 0]
