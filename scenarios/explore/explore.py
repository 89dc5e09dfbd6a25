"""Exploring: schedule after schedule on several stacks, until the time is over or one is red.

A red one is run again to see how often it is, shrunk as far as it stays red for one of the same properties, and
written down as a file that ``gauntlet replay`` runs.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Protocol

from chaos.schedule.confirm import Demand, Rate, bound_of_none, demand, rate
from chaos.schedule.draw import draw
from chaos.schedule.schedule import Schedule, as_toml
from chaos.schedule.shrink import Shrunk, shrink
from harness.evidence.explored import Discovery, Explored, Ran
from harness.evidence.run_directory import write_json
from harness.target import Target
from scenarios.explore.run_schedule import RunSchedule
from scenarios.trials import Trial, TrialResult, Trials

CONFIRM = 5
"""So often a red schedule is run again."""
CONFIRM_SHRUNK = 10
_LOOK_S = 0.5
_NO_PROPERTY = "(the run itself)"


class Listener(Protocol):
    """Whoever shows how it goes on."""

    def ran(self, one: Ran) -> None:
        """A drawn schedule has been run."""

    def phase(self, text: str) -> None:
        """What is done now."""

    def tick(self) -> None:
        """Time goes by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``schedules``: no more than so many; None: as many as the time allows."""

    seed: int
    for_s: float
    schedules: int | None
    target: Target
    on_the_wire: bool
    shrink_for_s: float


def drawn(plan: Plan) -> Iterator[str]:
    """The files of the schedules that would be run: of as many as are asked for, or else of the first ten."""
    for number in range(plan.schedules or 10):
        schedule = draw(plan.seed, number, plan.target, on_the_wire=plan.on_the_wire)
        yield as_toml(schedule, comment=str(schedule))


@dataclass
class Exploration:
    """One exploration on the workers of a run. ``explored`` is what it has come to so far, whenever it is asked."""

    plan: Plan
    work: Trials
    listen: Listener
    _ran: list[Ran] = field(default_factory=list)
    _found: list[Discovery] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _names: Iterator[int] = field(default_factory=itertools.count)

    def run(self) -> Explored:
        """Until the time is over, all schedules were run, one was red, or Ctrl-C. Written to ``explore.json``."""
        interrupted = False
        try:
            red = self._draw_and_run()
            if red is not None:
                self._investigate(*red)
        except KeyboardInterrupt:
            interrupted = True
        green = [one for one in self._ran if one.verdict == "pass"]
        explored = Explored(
            seed=self.plan.seed,
            ran=tuple(self._ran),
            found=tuple(self._found),
            below=1.0 if self._found else bound_of_none(len(green)),
            interrupted=interrupted,
            took_s=time.monotonic() - self._began,
        )
        write_json(self.work.run.root / "explore.json", explored)
        return explored

    # --- drawing ------------------------------------------------------------------------------------------------

    def _draw_and_run(self) -> tuple[Schedule, TrialResult] | None:
        """The first that is red. One more than there are workers waits, so that none is idle."""
        red: tuple[Schedule, TrialResult] | None = None
        running: dict[Future[TrialResult], Schedule] = {}
        schedules = self._schedules()
        self.listen.phase("exploring")
        while True:
            while red is None and len(running) <= self.work.workers and (schedule := next(schedules, None)):
                running[self.work.start(Trial(self._name(schedule), RunSchedule(schedule)))] = schedule
            if not running:
                return red
            done, _ = wait(running, _LOOK_S, FIRST_COMPLETED)
            for future in done:
                schedule = running.pop(future)
                if future.cancelled():
                    continue
                result = future.result()
                self._note(schedule, result)
                if result.verdict.verdict == "fail" and red is None:
                    red = schedule, result
                    self.listen.phase(f"{result.name} is red; waiting for what runs beside it")
                    for waiting in running:
                        waiting.cancel()
            self.listen.tick()

    def _schedules(self) -> Iterator[Schedule]:
        plan = self.plan
        for number in itertools.count():
            over = time.monotonic() - self._began >= plan.for_s
            if over or (plan.schedules is not None and number >= plan.schedules):
                return
            yield draw(plan.seed, number, plan.target, on_the_wire=plan.on_the_wire)

    def _name(self, schedule: Schedule) -> str:
        return f"explore {schedule.seed}-{schedule.number:04}"

    def _note(self, schedule: Schedule, result: TrialResult) -> None:
        one = told(schedule, result)
        self._ran.append(one)
        self.listen.ran(one)

    # --- what is red --------------------------------------------------------------------------------------------

    def _investigate(self, schedule: Schedule, result: TrialResult) -> None:
        """Confirm, shrink, confirm again, write down. With Ctrl-C in between, what is known by then is written."""
        properties = red_properties(result)
        smallest, seen, latest = Shrunk(schedule, 0, minimal=False), Rate(1, 1), result
        try:
            self.listen.phase(f"{result.name} is red ({', '.join(properties)}); again {CONFIRM} times")
            again = self._again(schedule, Demand(CONFIRM, CONFIRM), properties, all_of_them=True)
            seen = rate([is_red(one, properties) for one in again])
            if seen.red:
                smallest = self._shrunk(schedule, demand(seen), properties)
                self.listen.phase(f"as small as it gets; again {CONFIRM_SHRUNK} times")
                again = self._again(
                    smallest.schedule, Demand(CONFIRM_SHRUNK, CONFIRM_SHRUNK), properties, all_of_them=True
                )
                seen = rate([is_red(one, properties) for one in again])
                latest = next((one for one in again if is_red(one, properties)), result)
        finally:
            self._found.append(self._write(smallest, seen, latest, properties))

    def _shrunk(self, schedule: Schedule, wanted: Demand, properties: Sequence[str]) -> Shrunk:
        until = time.monotonic() + self.plan.shrink_for_s

        def still_fails(candidate: Schedule) -> bool:
            again = self._again(candidate, wanted, properties)
            return bool(wanted.met([is_red(one, properties) for one in again]))

        def on_try(candidate: Schedule, tried: int) -> None:
            self.listen.phase(f"shrinking, {tried} tried; smallest so far: {candidate}")

        return shrink(schedule, still_fails, has_time=lambda: time.monotonic() < until, on_try=on_try)

    def _again(
        self, schedule: Schedule, wanted: Demand, properties: Sequence[str], *, all_of_them: bool = False
    ) -> list[TrialResult]:
        """Run it as often as it takes to know whether the demand is met, side by side."""
        done: list[TrialResult] = []
        running: set[Future[TrialResult]] = set()
        started = 0
        while True:
            known = wanted.met([is_red(one, properties) for one in done]) is not None and not all_of_them
            while not known and started < wanted.tries and len(running) < self.work.workers:
                name = f"{self._name(schedule)} again {next(self._names)}"
                running.add(self.work.start(Trial(name, RunSchedule(schedule))))
                started += 1
            if not running:
                return done
            finished, running = wait(running, _LOOK_S, FIRST_COMPLETED)
            done += [one.result() for one in finished]
            self.listen.tick()

    def _write(self, shrunk: Shrunk, seen: Rate, latest: TrialResult, properties: Sequence[str]) -> Discovery:
        schedule = shrunk.schedule
        file = self.work.run.root / "findings" / f"{schedule.seed}-{schedule.number:04}.toml"
        says = _says(latest)
        comment = (
            f"{', '.join(properties)}: {says}\n"
            f"red {seen} times that it was run again{'' if shrunk.minimal else '; not as small as it could be'}\n"
            f"again: gauntlet replay {file}"
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(as_toml(schedule, comment=comment), encoding="utf-8")
        return Discovery(
            name=latest.name, file=str(file), schedule=str(schedule), properties=tuple(properties), says=says,
            red=seen.red, of=seen.of, faults=len(schedule.faults), steps=len(schedule.steps), tried=shrunk.tried,
            minimal=shrunk.minimal,
        )  # fmt: skip


# --- results ----------------------------------------------------------------------------------------------------


def red_properties(result: TrialResult) -> list[str]:
    """What failed; if no property did, the run itself stumbled."""
    return result.verdict.failed or [_NO_PROPERTY]


def is_red(result: TrialResult, properties: Sequence[str]) -> bool:
    """Red for one of the same reasons: a shrunk schedule must not stand for another mistake."""
    return result.verdict.verdict == "fail" and bool(set(red_properties(result)) & set(properties))


def told(schedule: Schedule, result: TrialResult) -> Ran:
    verdict = result.verdict
    return Ran(
        name=result.name, schedule=str(schedule), verdict=verdict.verdict, failed=tuple(verdict.failed),
        says=_says(result), error=verdict.error, faults=result.said or (), took_s=round(result.took_s, 1),
    )  # fmt: skip


def _says(result: TrialResult) -> str:
    """The gravest finding, or what the run stumbled over, or the first doubt."""
    verdict = result.verdict
    findings = sorted(verdict.findings, key=lambda finding: _GRAVITY.get(finding.severity or "", 1))
    doubts = [doubt for one in verdict.results for doubt in one.doubts]
    texts = [finding.says for finding in findings] or ([verdict.error] if verdict.error else doubts)
    return texts[0] if texts else ""


_GRAVITY = {"critical": 0, "major": 1, "minor": 2}


# --- replaying --------------------------------------------------------------------------------------------------


def replay(schedule: Schedule, times: int, work: Trials, listen: Listener) -> list[Ran]:
    """Run one schedule so many times, side by side."""
    running = [work.start(Trial(f"replay {number:02}", RunSchedule(schedule))) for number in range(1, times + 1)]
    ran: list[Ran] = []
    waiting = set(running)
    while waiting:
        done, waiting = wait(waiting, _LOOK_S, FIRST_COMPLETED)
        for future in done:
            ran.append(told(schedule, future.result()))
            listen.ran(ran[-1])
        listen.tick()
    return sorted(ran, key=lambda one: one.name)
