"""Driving one world under load: from the first arrival until everything is answered and worked off."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from msgspec import structs

from chaos.schedule.schedule import Schedule, as_toml
from harness.evidence.run_directory import each_record, write_json
from harness.load.measurements import Observed, observed
from harness.load.metrics import Span
from harness.load.progress import Progress
from harness.load.records import LoadPlan, Observation
from scenarios.load.disturb import Disturbance
from scenarios.load.follow import Follower, planned_rate, steps_until
from scenarios.load.generator import Fleet, Generator, generating
from scenarios.load.observer import Observer
from scenarios.load.order import CONNECTIONS, order_for
from scenarios.load.overload import asked_too_much, doubt_instead, machine_filled
from scenarios.load.profiles import Profile
from scenarios.load.schedule import requests_in
from scenarios.world import World

SCHEDULE_FILE = "schedule.toml"
_LOOK_S = 0.25
_TICK_S = 1.0
_BEGINS_WITHIN_S = 20.0
_WORKERS_COME_WITHIN_S = 600.0
_READ_WITHIN_S = 120.0
"""So long it may take to read a long log, before anybody can say that all is at rest."""


class Listener(Protocol):
    """Whoever shows how it goes on."""

    def phase(self, text: str) -> None:
        """What is done now."""

    def tick(self, progress: Progress | None = None) -> None:
        """Time goes by."""


class Nobody:
    """Listens, and says nothing."""

    def phase(self, text: str) -> None: ...

    def tick(self, progress: Progress | None = None) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to ask of a system. ``evidence``: write operations and the tap down, for all properties."""

    profile: Profile
    seed: int
    chaos: Schedule | None = None
    fleet: Fleet = field(default_factory=Fleet)
    evidence: bool = True
    connections: int = CONNECTIONS


def drive(load: Load, world: World, folder: Path, listen: Listener) -> tuple[str, ...]:
    """Drive it, and leave in the folder what ``harness.load.records`` tells. Doubts in the run itself.

    Raises AssertionError if the system does not come to rest, GeneratorFailed.
    """
    return _Drive(load, world, folder, listen).run()


class _Drive:
    """One drive, and who takes part in it."""

    def __init__(self, load: Load, world: World, folder: Path, listen: Listener) -> None:
        self._load, self._world, self._folder, self._listen = load, world, folder, listen
        self._observations = folder / "observed.ndjson"
        self._follower = Follower(folder, world.stack.log_dir)
        self._disturbance = Disturbance(world, outage=load.profile.outage, schedule=load.chaos)
        self._told = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> tuple[str, ...]:
        load, world = self._load, self._world
        stack, profile = world.stack, load.profile
        order = order_for(
            profile, crm=stack.edge_url("client→crm"), pipeline=stack.edge_url("client→pipeline"),
            token=stack.tokens["alice"], seed=load.seed, out=self._folder, operations=load.evidence,
            connections=load.connections,
        )  # fmt: skip
        plan = LoadPlan(
            profile=profile.name, seed=load.seed, arrivals=profile.arrivals, steps=profile.steps,
            warm_up_s=profile.warm_up_s, processes=max(1, load.fleet.workers), scheduled=requests_in(order),
            cores=len(os.sched_getaffinity(0)),
        )  # fmt: skip
        write_json(self._folder / "plan.json", plan)
        if load.chaos is not None:
            file = world.run.scenario(world.name).root / SCHEDULE_FILE
            file.write_text(as_toml(load.chaos), encoding="utf-8")
        with ExitStack() as beside:
            if load.evidence:
                beside.enter_context(world.tap_written_down())
            with generating(stack, order, self._folder, load.fleet) as generator:
                observer = beside.enter_context(Observer(world, self._observations, generator=generator.pids))
                plan = structs.replace(plan, began_ns=self._begin(generator))
                self._go_on(generator, observer, plan)
            world.recording.elsewhere += sorted(self._folder.glob("operations-*.ndjson"))
            doubts = self._doubts(plan, generator)
            plan = structs.replace(self._as_far_as_it_went(plan, generator), ended_ns=self._follower.ended_ns)
            write_json(self._folder / "plan.json", plan)
            try:
                self._drain(observer, plan.ended_ns)
            except AssertionError as failure:
                doubts += (doubt_instead(failure, self._seen(plan), Span(plan.ended_ns, time.time_ns())),)
            finally:
                self._note_overload(plan, generator)
            plan = structs.replace(plan, drained_ns=observer.empty_for_good_since(plan.ended_ns))
        write_json(self._folder / "plan.json", plan)
        return doubts

    def _begin(self, generator: Generator) -> int:
        fleet = self._load.fleet
        waits = f" and waiting for {fleet.expect} workers at {fleet.bind}:{fleet.port}" if fleet.expect else ""
        page = f"; its page: {generator.page}" if generator.page else ""
        self._listen.phase(f"starting Locust{waits}{page}")
        return generator.await_begun(within_s=_WORKERS_COME_WITHIN_S if fleet.expect else _BEGINS_WITHIN_S)

    def _go_on(self, generator: Generator, observer: Observer, plan: LoadPlan) -> None:
        self._listen.phase(f"{self._load.profile.name}: {plan.scheduled} requests")
        warm_s = (plan.began_ns - time.time_ns()) / 1e9 + self._load.profile.warm_up_s
        with self._disturbance.at_work(begin_s=max(0.0, warm_s)):
            while not generator.ended(within_s=_LOOK_S):
                self._tell(observer, plan)
                if not generator.stopped and self._broken(observer):
                    self._listen.phase("it has broken: nothing more is asked")
                    generator.stop()
        self._follower.read_on()

    def _broken(self, observer: Observer) -> bool:
        stop, seen = self._load.profile.stops_at, observer.latest
        if stop is None:
            return False
        queued = sum(seen.depths.values()) if seen else 0
        return queued >= stop.queued or self._follower.error_ratio(time.time_ns()) >= stop.error_ratio

    def _drain(self, observer: Observer, ended_ns: int) -> None:
        """Empty by what is seen from outside; then by the log, which knows of every flow whether it is closed."""
        self._listen.phase("answered; waiting until all is worked off")
        within_s = self._load.profile.drain_s
        assert observer.await_empty(since_ns=ended_ns, within_s=within_s), (
            f"{within_s:g} s after the last answer there was still something waiting: {_waiting(observer.latest)}"
        )
        self._world.settled(within_s=within_s + _READ_WITHIN_S)
        self._disturbance.expect_deaths()

    def _note_overload(self, plan: LoadPlan, generator: Generator) -> None:
        faults = self._world.recording.faults
        faults += machine_filled(self._seen(plan))
        if generator.stopped:
            faults.append(asked_too_much(plan, answered=self._follower.answered, failed=self._follower.failed))

    def _seen(self, plan: LoadPlan) -> Observed:
        return observed(each_record(self._observations, Observation), self._world.target, cores=plan.cores)

    def _as_far_as_it_went(self, plan: LoadPlan, generator: Generator) -> LoadPlan:
        """The plan; of one that was stopped, what was done of it."""
        if not generator.stopped:
            return plan
        lasted_s = (self._follower.intended_ns - plan.began_ns) / 1e9
        return structs.replace(plan, steps=steps_until(plan.steps, lasted_s), scheduled=sum(generator.sent()))

    def _doubts(self, plan: LoadPlan, generator: Generator) -> tuple[str, ...]:
        """Why it proves less than it should: what was planned, sent and answered has to be the same."""
        sent = generator.sent()
        planned = sum(sent) if generator.stopped else plan.scheduled
        if len(sent) == plan.processes and planned == sum(sent) == self._follower.answered:
            return ()
        return (
            f"of {planned} requests {sum(sent)} are said to be sent, by {len(sent)} of {plan.processes} processes, and"
            f" {self._follower.answered} are accounted for: the generator was interrupted, or a process of it has died"
            f" (see {self._folder}/locust-*.log)",
        )

    def _tell(self, observer: Observer, plan: LoadPlan) -> None:
        now = time.monotonic()
        if now - self._told < _TICK_S:
            return
        self._told = now
        follower, seen, now_ns = self._follower, observer.latest, time.time_ns()
        follower.read_on()
        since_s = (now_ns - plan.began_ns) / 1e9
        self._listen.tick(
            Progress(
                since_s=since_s, lasts_s=self._load.profile.lasts_s, planned_rate=planned_rate(plan.steps, since_s),
                rate=follower.rate(now_ns), scheduled=plan.scheduled, answered=follower.answered,
                failed=follower.failed, flows=follower.flows, flows_open=len(follower.open),
                e2e_p50_ms=follower.e2e_ms(0.5), e2e_p99_ms=follower.e2e_ms(0.99),
                depth=sum(seen.depths.values()) if seen else None, unsent=seen.unsent if seen else None,
                oldest_unsent_s=seen.oldest_unsent_s if seen else None,
                dead_letters=seen.dead_letters if seen else None, broken=self._disturbance.active,
            )
        )  # fmt: skip


def _waiting(seen: Observation | None) -> str:
    if seen is None:
        return "nobody has seen the outbox or a queue"
    queued = [f"{depth} in {queue}" for queue, depth in seen.depths.items() if depth]
    return ", ".join([f"{seen.unsent} in the outbox", *queued])
