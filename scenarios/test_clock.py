"""The clock of one service is an hour fast or slow: no chain, no timer, no lease and no patience is fooled by it."""

from __future__ import annotations

import pytest

from chaos.faults.clock import skewed
from scenarios.world import World

HOUR_S = 3600.0
HOOKS = "/hooks"


@pytest.mark.needs_faketime
@pytest.mark.parametrize("service", ["crm", "pipeline", "automation"])
@pytest.mark.parametrize("skew_s", [HOUR_S, -HOUR_S], ids=["fast", "slow"])
def test_a_clock_that_is_an_hour_wrong_breaks_no_chain(world: World, service: str, skew_s: float) -> None:
    told = world.add_rule("proposal-notify", "deal.stage.changed", "notify", to_stage="proposal")
    waits = world.add_rule("sla", "lead.stage.changed", "escalate", to_stage="engaged", parameters={"after_ms": 400})
    never = world.add_rule("never", "lead.stage.changed", "escalate", to_stage="demo", parameters={"after_ms": 600_000})
    with skewed(world.site, service, skew_s=skew_s):
        chained, escalated, moved_on = world.new_leads(3)
        world.pipeline.move_lead(chained, "qualified")
        world.pipeline.move_lead(escalated, "engaged")
        world.pipeline.move_lead(moved_on, "demo")
        world.pipeline.move_lead(moved_on, "nurturing")
        world.settled()
    assert world.leads_with_a_deal() == {chained}
    assert [len(world.executions_of(rule)) for rule in (told, waits, never)] == [1, 1, 0]
    world.settled()
