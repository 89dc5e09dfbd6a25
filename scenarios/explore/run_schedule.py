"""One schedule on one stack: steady state, the lanes with their faults, healing, and life afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from chaos.schedule.schedule import Schedule, as_toml
from harness.evidence.explored import FaultOutcome
from harness.evidence.records import Operation
from scenarios.deaths import expected_deaths
from scenarios.explore.faults import Faults
from scenarios.explore.workload import run_lanes
from scenarios.world import WITHIN_S, World

SCHEDULE_FILE = "schedule.toml"


@dataclass(frozen=True, slots=True)
class RunSchedule:
    """A trial's body. Says what became of each fault."""

    schedule: Schedule

    def __call__(self, world: World) -> tuple[FaultOutcome, ...]:
        file = world.run.scenario(world.name).root / SCHEDULE_FILE
        file.write_text(as_toml(self.schedule), encoding="utf-8")
        world.again = f"gauntlet replay {file}"
        _steady_state(world)
        faults = Faults(replace(world.site, drawn=True), world.target, self.schedule.faults)
        with faults.at_work():
            run_lanes(world, self.schedule.lanes, faults.step_done)
        _healed(world)
        _alive(world)
        world.settled()
        world.recording.expected_dead_letters += expected_deaths(
            world.target, world.lines(), world.database.rows(), faults.excuses()
        )
        return faults.outcomes()


def _steady_state(world: World) -> None:
    """Before anything breaks, a lead gets its deal."""
    lead_id = world.new_lead()
    moved = world.pipeline.move_lead(lead_id, "qualified")
    assert moved.outcome == "ok", f"PATCH before any fault: {moved.http_status} {moved.answer}"
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}, "before any fault, a qualified lead got no deal"


def _healed(world: World) -> None:
    """Verified: every edge is whole, every process runs, every service says that it is ready."""
    world.site.proxy.restore_all(world.target.edges)
    down = [name for name in (*world.stack.services, "postgres", "rabbitmq") if not world.stack.processes[name].alive]
    assert not down, f"after all faults were undone, these do not run: {', '.join(down)}"
    for service in world.stack.services:
        world.until_ready(service)


def _alive(world: World) -> None:
    """New operations are served, and bring about what they always do."""
    created = _served(world, world.crm.create_lead)
    lead_id = str(created.answer["id"])
    _served(world, lambda: world.pipeline.move_lead(lead_id, "qualified"))
    world.settled()
    assert lead_id in world.leads_with_a_deal(), "after all faults were undone, a qualified lead got no deal"


def _served(world: World, operate: Callable[[], Operation]) -> Operation:
    """Asked again until it is, within the system's promise."""
    within_s = world.target.bounds.first_success_s if world.target.bounds else WITHIN_S
    began = time.monotonic()
    while True:
        operation = operate()
        if operation.outcome != "unknown":
            assert operation.outcome == "ok", f"{operation.action}: {operation.http_status} {operation.answer}"
            return operation
        waited_s = time.monotonic() - began
        assert waited_s < within_s, f"{operation.action} was not served within {within_s:g} s: {operation.answer}"
