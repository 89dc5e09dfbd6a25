"""What is done in a cell: the workload meets the toxic, then all is healed, served again, and at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from chaos.faults.network import acted_on, cut, toxic
from chaos.faults.process import stopped
from chaos.faults.site import Attestation
from harness.contract.log_lines import CallCompleted
from harness.environment.waiting import eventually
from harness.evidence.clock import wall_now
from harness.evidence.records import Operation
from scenarios.matrix.cells import Cell
from scenarios.matrix.parameters import attributes
from scenarios.matrix.workload import Batch, operate, prepare, served_again
from scenarios.world import WITHIN_S, World

WORKS_ON_S = 2.0
"""So long the system may work on under a toxic that lets everything through."""


@dataclass(frozen=True, slots=True)
class Hit:
    """What the toxic of a cell has acted on."""

    cell: Cell
    hits: int
    proof: str

    def __str__(self) -> str:
        return self.proof


def run_cell(cell: Cell, world: World) -> Hit:
    """One cell, from a clean slate to rest."""
    return run_cells([cell], world)[0]


def run_cells(cells: list[Cell], world: World) -> list[Hit]:
    """Several cells, one after the other, each with leads of its own; then all is served again, and at rest."""
    hits = [expose(world, cell, batch) for cell, batch in zip(cells, prepare(world, len(cells)), strict=True)]
    served_again(world)
    world.settled()
    return hits


def expose(world: World, cell: Cell, batch: Batch) -> Hit:
    """The workload meets the toxic, which lasts until the operations are answered and it has acted on something."""
    with poisoned(world, cell) as (attestation, hit_so_far):
        operations = operate(world, batch)
        _renew_connections(world, cell)
        eventually(lambda: hit_so_far(operations), within_s=WITHIN_S, describe=f"{cell.name} to act on something")
        if cell.gentle:
            world.rested(within_s=WORKS_ON_S)
    return Hit(cell, attestation.hits, "; ".join(attestation.proofs))


@contextmanager
def poisoned(world: World, cell: Cell) -> Iterator[tuple[Attestation, Callable[[list[Operation]], int]]]:
    """The toxic of a cell for the duration of the block, and a function that tells how much it has hit so far."""
    if cell.toxic != "down":
        with toxic(world.site, cell.edge, cell.toxic, stream=cell.stream, attributes=attributes(cell)) as attestation:
            yield attestation, lambda _: acted_on(world.site, cell.edge, cell.toxic, cell.stream)[0]
        return
    since, refused = wall_now(), 0

    def felt(operations: list[Operation]) -> int:
        """Who uses connections that stay lost them; who makes a new one for each call was refused one."""
        nonlocal refused
        refused = _refused(world, cell, since, operations)
        return refused or int(cell.near in world.target.services and not world.ready(cell.near))

    with cut(world.site, cell.edge) as attestation:
        yield attestation, felt
        attestation.add(refused, f"{refused} calls were refused")


def _refused(world: World, cell: Cell, since: str, operations: list[Operation]) -> int:
    """Calls over an edge that nobody answered."""
    if cell.near == "client":
        return sum(operation.http_status is None for operation in operations)
    calls = (line for line in world.lines() if isinstance(line, CallCompleted) and line.ts > since)
    return sum((call.service, call.peer, call.http_status) == (cell.near, cell.far, None) for call in calls)


# --- toxics that act only on connections that come or go ---------------------------------------------------------


def _renew_connections(world: World, cell: Cell) -> None:
    """Have connections of the edge closed, by the end whose close the toxic delays. Of sinks each call has its own."""
    if cell.toxic != "slow_close" or cell.far_end == "sink":
        return
    if cell.far_end == "client side":
        close = {"Connection": "close"} if cell.stream == "downstream" else {}
        httpx.get(f"{world.stack.edge_url(cell.edge)}/health/live", headers=close, trust_env=False, timeout=5)
    elif cell.far_end == "database":
        world.database.terminate_backends(cell.near)
    else:
        ends = cell.far if cell.far_end == "service" else cell.near
        with stopped(world.site, ends) as stop:
            stop.add(1, f"{ends} had connections on {cell.edge}")
