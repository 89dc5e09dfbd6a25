"""One trial of the sweep: the chain goes on until its event comes, the service dies at it and starts again, all settles."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.faults.at_event import Strike, killed_at
from harness.environment.waiting import eventually
from scenarios.crash_sweep.chain import listen, steps
from scenarios.crash_sweep.points import Point, points
from scenarios.world import WITHIN_S, World

_LOOK_S = 0.4


def list_points(world: World) -> list[Point]:
    """The points of one undisturbed run of the chain."""
    at_rest, at_work = listen(world)
    return points(at_rest, at_work, world.target)


def strike(point: Point, world: World) -> bool:
    """Kill at this point. Whether it was reached: if not, the scenario has a fault without hits, and is unknown."""
    edges = [edge for edge in world.target.edges if point.service in world.target.edge_parts(edge)]
    with killed_at(world.site, point.service, point.edge, point.trigger, edges=edges) as blow:
        _drive(world, blow)
        if blow.struck:
            eventually(lambda: blow.over, within_s=WITHIN_S, describe=f"{point.service} to be up again")
    world.settled()
    return blow.struck


def _drive(world: World, blow: Strike) -> None:
    """Take the steps of the chain, each when the last one is over, until the blow has fallen."""
    for step in steps(world):
        step()
        eventually(lambda: blow.struck or world.rested(within_s=_LOOK_S), within_s=WITHIN_S, describe="rest")
        if blow.struck:
            return


def same_in_all(lists: Sequence[Sequence[Point]]) -> list[str]:
    """What differs between several lists of points, one text each; nothing where they are the same."""
    everywhere = set.intersection(*map(set, lists))
    return [
        f"{point.name}: in run {number} of {len(lists)}, not in all"
        for number, found in enumerate(lists, start=1)
        for point in found
        if point not in everywhere
    ]
