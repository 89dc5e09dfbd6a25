"""The standard workload: a few leads on every way that a lead may go, so that each edge of the target carries some.

Everything that needs time is prepared before a toxic comes; while it is there, each operation sets one thing going.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from harness.clients.together import together
from harness.environment.waiting import eventually
from harness.evidence.records import Operation
from scenarios.world import WITHIN_S, World


@dataclass(frozen=True, slots=True)
class Batch:
    """What one round of the workload acts on. ``new`` is a lead that pipeline has not met, ``known`` one that it has;
    ``sold`` has its deal, ``deal``."""

    new: str
    known: str
    sold: str
    deal: str


def prepare(world: World, count: int = 1) -> list[Batch]:
    """So many batches, at rest."""
    created = together([world.crm.create_lead] * (3 * count))
    leads = [str(lead.answer["id"]) for lead in created]
    new, known, sold = leads[:count], leads[count : 2 * count], leads[2 * count :]
    move = world.pipeline.move_lead
    together([partial(move, lead, "engaged") for lead in known] + [partial(move, lead, "qualified") for lead in sold])
    world.settled()
    deals = {row.lead_id: row.id for row in world.database.rows().deals}
    return [Batch(*ids, deal=deals[ids[2]]) for ids in zip(new, known, sold, strict=True)]


def operate(world: World, batch: Batch) -> list[Operation]:
    """The workload, all at once, whatever becomes of it.

    Leads are created and assigned, deals made and proposed; a won one is told by webhook, a lost lead by mail.
    """
    move = world.pipeline.move_lead
    actions: list[Callable[[], Operation]] = [
        world.crm.create_lead,
        world.crm.create_lead,
        partial(move, batch.new, "qualified"),
        partial(move, batch.known, "qualified"),
        partial(world.pipeline.move_deal, batch.deal, "won"),
        partial(move, batch.sold, "lost"),
        partial(world.automation.perform, "read", "GET", "/dead-letters"),
    ]
    return together(actions)


def served_again(world: World) -> None:
    """After healing, every service is ready within its time, and whoever asks, and asks again, is served.

    How soon is judged by recovery_bound: a service needs a moment to notice what it has lost, and may turn clients away
    until it has. Raises NeverHappened naming what was never served.
    """
    for service in world.target.services:
        world.until_ready(service)
    created = _served(world.crm.create_lead)
    _served(partial(world.pipeline.move_lead, str(created.answer["id"]), "qualified"))
    _served(partial(world.automation.perform, "read", "GET", "/dead-letters"))


def _served(operate: Callable[[], Operation]) -> Operation:
    def served() -> Operation | None:
        operation = operate()
        return operation if operation.outcome == "ok" else None

    return eventually(
        served, within_s=WITHIN_S, describe="an operation to be answered 2xx, all being healed", every_s=0.1
    )
