"""What is done in a cell: the workload meets the toxic, then all is healed, served again, and at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import httpx

from chaos.faults.database.sessions import terminated
from chaos.faults.network import cut
from chaos.faults.process import stopped
from chaos.faults.toxic import acted_on, toxic, unit
from harness.contract.log_lines import CallCompleted
from harness.environment.waiting import NeverHappened, eventually
from harness.evidence.clock import wall_now
from harness.evidence.records import Operation
from scenarios.deaths import Excuse, expected_deaths
from scenarios.matrix.cells import Cell, far_end
from scenarios.matrix.parameters import attributes
from scenarios.matrix.workload import Batch, operate, prepare, served_again
from scenarios.world import WITHIN_S, World

WORKS_ON_S = 2.0
"""So long the system may work on under a toxic that lets everything through."""
NEXT_S = 3.0
"""After this time without a hit, more has to be done for one."""


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
    return run_cells([cell], world, batches=1)[0]


def run_cells(cells: Sequence[Cell], world: World, *, batches: int) -> list[Hit]:
    """Several cells at once, from a clean slate to rest, with as many batches of the workload as it takes."""
    hits = expose(world, cells, prepare(world, batches))
    served_again(world)
    world.settled()
    _announce_rightful_deaths(world)
    return hits


def _announce_rightful_deaths(world: World) -> None:
    """Who is outside may be away for longer than the ladder is, since other toxics hold up the workload meanwhile."""
    outside = [fault for fault in world.recording.faults if fault.place in world.target.edges]
    excuses = [Excuse(fault.injected_at, fault.healed_at) for fault in outside if far_end(fault.place) == "sink"]
    deaths = expected_deaths(world.target, world.lines(), world.database.rows(), excuses)
    world.recording.expected_dead_letters += deaths


HitSoFar = Callable[[list[Operation]], Hit]
"""What a toxic has hit until now, these operations of clients among it."""


def expose(world: World, cells: Sequence[Cell], batches: Sequence[Batch]) -> list[Hit]:
    """The workload meets the toxics. Each lasts until it has acted on something, a gentle one longer.

    What one toxic keeps away from another comes with the next batch, when the first is gone.
    Raises NeverHappened naming what has hit nothing in the end.
    """
    operations: list[Operation] = []
    hits: dict[Cell, Hit] = {}
    with ExitStack() as all_healed:
        healing = {cell: all_healed.enter_context(ExitStack()) for cell in cells}
        so_far = {cell: healing[cell].enter_context(_at_work(world, cell)) for cell in cells}

        def have_hit(wanted: Sequence[Cell]) -> bool:
            for cell in cells:
                if cell not in hits and (hit := so_far[cell](operations)).hits:
                    hits[cell] = hit
                    if not cell.gentle:
                        healing[cell].close()
            return hits.keys() >= set(wanted)

        closing = [cell for cell in cells if cell.toxic == "slow_close"]
        first = [cell for cell in cells if cell not in closing]
        for number, batch in enumerate(batches, start=1):
            operations += operate(world, batch)
            within_s = WITHIN_S if number == len(batches) else NEXT_S
            if not _soon(partial(have_hit, first), within_s):
                continue
            for cell in closing:  # now that nothing keeps a process that is started anew from becoming ready
                _renew_connections(world, cell)
            if _soon(partial(have_hit, cells), within_s):
                break
        else:
            idle = ", ".join(cell.name for cell in cells if cell not in hits)
            raise NeverHappened(f"these have acted on nothing: {idle}")
        if any(cell.gentle for cell in cells):
            world.rested(within_s=WORKS_ON_S)
        return [so_far[cell](operations) if cell.gentle else hits[cell] for cell in cells]


def _soon(has_come: Callable[[], bool], within_s: float) -> bool:
    """Wait for it, but no longer than that: whether it has come."""
    try:
        return eventually(has_come, within_s=within_s, describe="toxics to act on something")
    except NeverHappened:
        return False


def _at_work(world: World, cell: Cell) -> AbstractContextManager[HitSoFar]:
    return _down(world, cell) if cell.toxic == "down" else _poisoned(world, cell)


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
    """Hit is who needs the far end and says so, not being ready; or else whoever asked and was refused."""
    since, hit = wall_now(), Hit(cell, 0, "")

    def so_far(operations: list[Operation]) -> Hit:
        nonlocal hit
        refused = _refused(world, cell, since, operations)
        needed = cell.near in world.target.services and cell.far_end != "sink"
        if needed and not world.ready(cell.near):
            hit = Hit(cell, 1 + refused, f"{cell.near} is not ready, {refused} calls were refused")
        elif not needed:
            hit = Hit(cell, refused, f"{refused} calls were refused")
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
    if cell.far_end == "sink":
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
