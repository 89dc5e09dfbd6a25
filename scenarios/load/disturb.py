"""What breaks while a load is on: a service that is away for a while, or the faults of a schedule."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import inf

from chaos.faults.process import stopped
from chaos.schedule.schedule import Schedule
from scenarios.deaths import expected_deaths
from scenarios.explore.faults import Faults
from scenarios.explore.workload import run_lanes
from scenarios.load.profiles import Outage
from scenarios.world import World

_OVER_WITHIN_S = 60.0


class _Over(Exception):
    """The run is interrupted: no lane goes on."""


class Disturbance:
    """At work in a thread of its own, from ``begin_s`` on. ``active``: the faults that are there right now."""

    def __init__(self, world: World, *, outage: Outage | None, schedule: Schedule | None) -> None:
        self._world, self._outage, self._schedule = world, outage, schedule
        self._over = threading.Event()
        self._away: tuple[str, ...] = ()
        self._faults: Faults | None = None
        self._failure: BaseException | None = None

    @property
    def active(self) -> tuple[str, ...]:
        return self._away + (self._faults.active() if self._faults else ())

    @contextmanager
    def at_work(self, *, begin_s: float) -> Iterator[None]:
        """For the duration of the block, which waits for its end unless it is left in a hurry. Raises what it raises.

        ``begin_s``: so long from now a schedule's first step is taken; an outage has its own moment.
        """
        tasks: list[Callable[[], None]] = []
        if self._outage is not None:
            tasks.append(partial(self._be_away, self._outage))
        if self._schedule is not None:
            tasks.append(partial(self._run, self._schedule, begin_s))
        threads = [threading.Thread(target=self._safely, args=(task,), daemon=True) for task in tasks]
        for thread in threads:
            thread.start()
        try:
            yield
        except BaseException:
            self._over.set()
            raise
        finally:
            for thread in threads:
                thread.join(_OVER_WITHIN_S)
        if self._failure is not None:
            raise self._failure

    def expect_deaths(self) -> None:
        """Announce the dead letters that the schedule's faults rightly bring about. Only for a system at rest."""
        if self._faults is not None:
            world = self._world
            world.recording.expected_dead_letters += expected_deaths(
                world.target, world.lines(), world.database.rows(), self._faults.excuses()
            )

    def _safely(self, task: Callable[[], None]) -> None:
        try:
            task()
        except _Over:
            pass
        except BaseException as failure:
            self._failure = failure

    def _be_away(self, outage: Outage) -> None:
        if self._over.wait(outage.after_s):
            return
        with stopped(self._world.site, outage.service):
            self._away = (f"{outage.service} is stopped",)
            self._over.wait(outage.for_s)
        self._away = ()

    def _run(self, schedule: Schedule, begin_s: float) -> None:
        if self._over.wait(begin_s):
            return
        world = self._world
        self._faults = faults = Faults(replace(world.site, drawn=True), world.target, schedule.faults, at_most_s=inf)

        def step_done(lane: int, steps: int) -> None:
            if self._over.is_set():
                raise _Over
            faults.step_done(lane, steps)

        with faults.at_work():
            run_lanes(world, schedule.lanes, step_done)
