"""One trial of the sweep: the chain goes on until its event comes, the service dies and starts again, all settles."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.faults.at_event import Strike, killed_at
from harness.environment.waiting import eventually
from scenarios.crash_sweep.chain import listen, steps
from scenarios.crash_sweep.points import Point, points
from scenarios.in_turn import in_turn
from scenarios.trials import Trial, Trials
from scenarios.world import WITHIN_S, World

_LOOK_S = 0.4


def list_points(world: World) -> list[Point]:
    """The points of one undisturbed run of the chain."""
    at_rest, at_work = listen(world)
    return points(at_rest, at_work, world.target)


def strike(point: Point, world: World) -> str:
    """Kill at this point; what it hit. If it was not reached, its fault has no hits, and the scenario is unknown."""
    edges = [edge for edge in world.target.edges if point.service in world.target.edge_parts(edge)]
    with killed_at(world.site, point.service, point.edge, point.trigger, edges=edges) as blow:
        _drive(world, blow)
        if blow.struck:
            eventually(lambda: blow.over, within_s=WITHIN_S, describe=f"{point.service} to be up again")
    world.settled()
    return blow.told


def _drive(world: World, blow: Strike) -> None:
    """Take the steps of the chain, each when the last one is over, until the blow has fallen."""
    for step in steps(world):
        step()
        eventually(lambda: blow.struck or world.rested(within_s=_LOOK_S), within_s=WITHIN_S, describe="rest")
        if blow.struck:
            return


class NotTheSame(Exception):
    """The points of several undisturbed runs differ, so that they cannot be relied on. The message says which."""


def recorded(at_work: Trials, times: int) -> list[Point]:
    """The points of so many undisturbed runs of the chain, which have to be the same each time.

    Raises NotTheSame if they are not, or if a run that nobody disturbed is not green.
    """
    todo = [Trial(f"undisturbed {number}", list_points) for number in range(1, times + 1)]
    results = [result for _, result in in_turn(at_work, todo) if result is not None]
    for result in results:
        if not result.green:
            raise NotTheSame(
                f"{result.name} is {result.verdict.verdict}: {result.verdict.error or result.verdict.failed}"
            )
    lists: list[list[Point]] = [result.said for result in results]
    if differences := differing(lists):
        raise NotTheSame("the points are not the same in each run:\n  " + "\n  ".join(differences))
    return lists[0]


def differing(lists: Sequence[Sequence[Point]]) -> list[str]:
    """What is not in all of several lists of points, one text each; nothing where they are the same."""
    everywhere = set.intersection(*map(set, lists))
    return [
        f"{point.name}: in run {number} of {len(lists)}, not in all"
        for number, found in enumerate(lists, start=1)
        for point in found
        if point not in everywhere
    ]
