"""What clients do in a schedule: lanes of steps on leads and deals that are known by names."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from chaos.schedule.schedule import Lane, Step
from harness.clients.http import CrmClient, PipelineClient
from harness.environment.waiting import NeverHappened, eventually
from harness.evidence.records import Operation
from scenarios.world import World

PATIENCE_S = 4.0
"""A client waits so long for an answer. Longer than the longest fault of a drawn schedule, so most outlast it."""
_DEAL_WITHIN_S = 2.0
_LANE_WITHIN_S = 120.0


@dataclass
class Bundle:
    """The leads and deals of a schedule by their names. Safe to use from many lanes."""

    world: World
    _emails: dict[str, str] = field(default_factory=dict)
    _ids: dict[str, str] = field(default_factory=dict)
    _versions: dict[str, int] = field(default_factory=dict)

    def email_for(self, name: str) -> str:
        return self._emails.setdefault(name, f"{uuid.uuid4().hex}@example.test")

    def id_of(self, name: str) -> str | None:
        """Of a lead whose making nobody confirmed, and of a deal, the database knows; None if there is none."""
        if name not in self._ids:
            find = self._lead if name.startswith("lead") else self._deal
            try:
                describe = f"{name} in the database"
                self._ids[name] = eventually(lambda: find(name), within_s=_DEAL_WITHIN_S, describe=describe)
            except NeverHappened:
                return None
        return self._ids[name]

    def _lead(self, name: str) -> str | None:
        email = self._emails.get(name)
        return next((row.id for row in self.world.database.rows().leads if row.email == email), None)

    def _deal(self, name: str) -> str | None:
        lead_id = self._ids.get(name.replace("deal", "lead"))
        return next((row.id for row in self.world.database.rows().deals if row.lead_id == lead_id), None)

    def note(self, name: str, operation: Operation) -> None:
        """What an answer tells of an entity: its id, and the version of its stage."""
        if operation.outcome == "ok":
            if operation.action in ("create_lead", "create_deal"):
                self._ids[name] = str(operation.answer["id"])
            elif operation.action == "move_stage":
                self._versions[name] = int(operation.answer["version"])

    def version(self, name: str, step: Step) -> int | None:
        """To expect, as the step says; None where none is known, or none is older."""
        if not step.version or name not in self._versions:
            return None
        known = self._versions[name]
        return known if step.version == "known" else known - 1 if known else None


OnStep = Callable[[int, int], object]


def run_lanes(world: World, lanes: Sequence[Lane], on_step: OnStep) -> None:
    """All lanes side by side, each in a thread of its own. ``on_step(lane, steps)``: so many of a lane are done now.

    Raises what a lane raises.
    """
    bundle = Bundle(world)
    with ThreadPoolExecutor(len(lanes), thread_name_prefix="lane") as pool:
        running = [pool.submit(_run_lane, world, bundle, number, lane, on_step) for number, lane in enumerate(lanes, 1)]
        for lane_run in running:
            lane_run.result(_LANE_WITHIN_S)


def _run_lane(world: World, bundle: Bundle, number: int, lane: Lane, on_step: OnStep) -> None:
    client = _Client(world, bundle)
    for done, step in enumerate(lane.steps):
        on_step(number, done)
        if step.pause_ms:
            threading.Event().wait(step.pause_ms / 1000)  # the client thinks: part of the load, nothing is awaited
        client.do(step)
    on_step(number, len(lane.steps))


class _Client:
    """One lane's clients: connections and a session of its own."""

    def __init__(self, world: World, bundle: Bundle) -> None:
        self._world, self._bundle = world, bundle
        self._crm: CrmClient = world.crm_client(timeout_s=PATIENCE_S)
        self._pipeline: PipelineClient = world.pipeline_client(timeout_s=PATIENCE_S)

    def do(self, step: Step) -> None:
        """Do one step. What cannot be done, since its lead or deal does not exist, is left."""
        if step.do == "poison":
            self._world.broker.plant(
                b"{poison", routing_key="lead.created", expect="schema_invalid", why="a step of the schedule"
            )
            return
        if step.do == "create lead":
            email = self._bundle.email_for(step.on)
            self._bundle.note(step.on, self._crm.create_lead(email=email))
            return
        about = step.lead if step.do == "create deal" else step.on
        entity_id = self._bundle.id_of(about)
        if entity_id is not None and (operation := self._operate(step, entity_id)) is not None:
            self._bundle.note(step.on, operation)

    def _operate(self, step: Step, entity_id: str) -> Operation | None:
        deal = step.on.startswith("deal")
        match step.do:
            case "create deal":
                return self._crm.create_deal(entity_id)
            case "move":
                move = self._pipeline.move_deal if deal else self._pipeline.move_lead
                return move(entity_id, step.to, expected_version=self._bundle.version(step.on, step))
            case "change":
                return self._crm.change_lead(entity_id, phone=f"+49 30 {uuid.uuid4().int % 10**7:07}")
            case "read":
                return self._pipeline.stage_of(entity_id) if not deal else None
            case "deliver again":
                event = self._world.latest_event_of(entity_id)
                if event is not None:
                    self._world.deliver_again(event)
        return None
