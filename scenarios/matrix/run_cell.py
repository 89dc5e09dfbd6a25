"""What is done in a cell: the workload meets the toxic, then all is healed, served again, and at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from chaos.faults.database.sessions import terminated
from chaos.faults.network import cut
from chaos.faults.process import stopped
from chaos.faults.toxic import acted_on, toxic, unit
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
    with (_down if cell.toxic == "down" else _poisoned)(world, cell) as hit_so_far:
        operations = operate(world, batch)
        _renew_connections(world, cell)
        describe = f"{cell.name} to act on something"
        eventually(lambda: hit_so_far(operations).hits, within_s=WITHIN_S, describe=describe)
        if cell.gentle:
            world.rested(within_s=WORKS_ON_S)
        return hit_so_far(operations)


HitSoFar = Callable[[list[Operation]], Hit]
"""What a toxic has hit until now, these operations of clients among it."""


@contextmanager
def _poisoned(world: World, cell: Cell) -> Iterator[HitSoFar]:
    def acted() -> int:
        return acted_on(world.site, cell.edge, kind=cell.toxic, stream=cell.stream)

    def so_far(_: list[Operation]) -> Hit:
        hits = acted() - before
        return Hit(cell, hits, f"the proxy counts {hits} {unit(cell.toxic)} that it acted on")

    before = acted()
    with toxic(world.site, cell.edge, kind=cell.toxic, stream=cell.stream, attributes=attributes(cell)):
        yield so_far


@contextmanager
def _down(world: World, cell: Cell) -> Iterator[HitSoFar]:
    """Who uses connections that stay loses them; who makes a new one for each call is refused."""
    since, hit = wall_now(), Hit(cell, 0, "")

    def so_far(operations: list[Operation]) -> Hit:
        nonlocal hit
        refused = _refused(world, cell, since, operations)
        unready = cell.near in world.target.services and not world.ready(cell.near)
        hit = Hit(cell, refused + unready, f"{refused} calls were refused{f', {cell.near} is not ready' * unready}")
        return hit

    with cut(world.site, cell.edge) as attestation:
        yield so_far
        attestation.add(hit.hits, hit.proof)


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
        with terminated(world.site, cell.edge):
            return
    else:
        ends = cell.far if cell.far_end == "service" else cell.near
        open_ones = world.site.proxy.connections_on(cell.edge)
        with stopped(world.site, ends) as stop:
            stop.add(open_ones, f"{open_ones} connections on {cell.edge} were open")
