"""One load run: a stack, the generator beside it, somebody who watches, and in the end a judgement by everybody.

The run directory that comes of it is a gate's, with one scenario in it, and the folder ``load`` (harness.load.records):
``gauntlet check``, ``show`` and ``coverage`` read it.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from msgspec import Struct, structs

from chaos.schedule.schedule import Schedule, as_toml
from harness.audit.audit import Audit, AuditReport
from harness.audit.engines import engine
from harness.audit.sources import gather
from harness.checks.judge import Verdict, worst
from harness.checks.run_verdict import RunRecord, RunVerdict, summarise
from harness.environment.native import sweep
from harness.evidence.clock import wall_now
from harness.evidence.evidence import killed_instances, process_starts
from harness.evidence.run_directory import RunDirectory, write_json, write_records
from harness.load.baseline import Baseline
from harness.load.gates import Gate, Status
from harness.load.measure import measure
from harness.load.progress import Progress
from harness.load.records import LoadPlan
from harness.load.result import LoadResult
from harness.target import TargetError, load_target
from scenarios.load.disturb import Disturbance
from scenarios.load.follow import Follower, planned_rate
from scenarios.load.generator import Fleet, Generator, generating
from scenarios.load.observer import Observer
from scenarios.load.order import order_for
from scenarios.load.profiles import Profile
from scenarios.load.schedule import requests_in
from scenarios.stacks import Stacks
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run, and by what to judge it. ``evidence``: write operations and the tap down, for all properties."""

    profile: Profile
    seed: int
    gates: tuple[Gate, ...]
    baseline: Baseline | None = None
    chaos: Schedule | None = None
    fleet: Fleet = field(default_factory=Fleet)
    evidence: bool = True
    target: Path
    source_root: Path


class LoadVerdict(Struct, frozen=True, kw_only=True):
    """``RUN/load/verdict.json``: what everybody says, and the worst of it. ``audit`` is None where processes were
    killed, which an audit knows nothing of; ``properties`` where no evidence was written down. ``doubts``: why the run
    itself proves less than it should."""

    verdict: Verdict
    gates: Status
    properties: Verdict | None
    audit: Verdict | None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """A load run at its end."""

    verdict: LoadVerdict
    result: LoadResult
    properties: RunVerdict | None


def run_load(plan: Plan, run_dir: Path, listen: Listener) -> Judged:
    """Boot, load, wait for the drain, judge, write everything down.

    Raises EnvironmentFailed, GeneratorFailed, TargetError. Whatever happens, nothing stays behind.
    """
    target = load_target(plan.target)
    if not target.database.backlog:
        raise TargetError(f"{plan.target}: database.backlog is missing: a load run watches the outbox by this query")
    run = RunDirectory(run_dir)
    write_json(run.run_file, _record(plan))
    scenario = f"load-{plan.profile.name}"
    try:
        with Stacks(target, run, worker="load", source_root=plan.source_root) as stacks:
            listen.phase("booting a stack")
            stack, since = stacks.current()
            world = World(stack, target, run, name=scenario, seed=plan.seed, since=since)
            if not plan.evidence:
                world.broker.shut_tap()
            world.again = " ".join(["gauntlet", *sys.argv[1:]])
            loaded = _Loaded(plan, world, run.root / "load", listen)
            error: str | None = None
            try:
                loaded.run()
            except AssertionError as failure:  # what the system did not do is a finding
                error = str(failure)
            listen.phase("all properties judge" if plan.evidence else "ending the stack")
            if plan.evidence:
                stacks.conclude(world, error)
            else:
                world.write_down(error)
    finally:
        sweep(run.root)
    listen.phase("measuring")
    return _judged(plan, run, scenario, stack.name, loaded.doubts)


def _record(plan: Plan) -> RunRecord:
    return RunRecord(
        seed=plan.seed, target_file=str(plan.target.resolve()), source_root=str(plan.source_root.resolve()),
        began_at=wall_now(), command=tuple(sys.argv),
    )  # fmt: skip


class _Loaded:
    """The run itself, on a stack that is up."""

    def __init__(self, plan: Plan, world: World, folder: Path, listen: Listener) -> None:
        self._plan, self._world, self._folder, self._listen = plan, world, folder, listen
        self._follower = Follower(folder, world.stack.log_dir)
        self._disturbance = Disturbance(world, outage=plan.profile.outage, schedule=plan.chaos)
        self._told = 0.0
        self.doubts: tuple[str, ...] = ()
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Until all is answered and worked off. Raises AssertionError if the system does not come to rest."""
        plan, world = self._plan, self._world
        stack, profile = world.stack, plan.profile
        order = order_for(
            profile, crm=stack.edge_url("client→crm"), pipeline=stack.edge_url("client→pipeline"),
            token=stack.tokens["alice"], seed=plan.seed, out=self._folder, operations=plan.evidence,
        )  # fmt: skip
        scheduled = requests_in(order)
        loaded = LoadPlan(
            profile=profile.name, seed=plan.seed, arrivals=profile.arrivals, steps=profile.steps,
            warm_up_s=profile.warm_up_s, processes=max(1, plan.fleet.workers), scheduled=scheduled,
        )  # fmt: skip
        write_json(self._folder / "plan.json", loaded)
        if plan.chaos is not None:
            file = world.run.scenario(world.name).root / SCHEDULE_FILE
            file.write_text(as_toml(plan.chaos), encoding="utf-8")
        with ExitStack() as beside:
            if plan.evidence:
                beside.enter_context(world.tap_written_down())
            with generating(stack, order, self._folder, plan.fleet) as generator:
                observer = beside.enter_context(
                    Observer(world, self._folder / "observed.ndjson", generator=generator.pids)
                )
                began_ns = self._begin(generator)
                self._go_on(generator, observer, loaded, began_ns)
            ended_ns = max(self._follower.ended_ns, began_ns)
            self._drain(observer, ended_ns)
            drained_ns = observer.empty_for_good_since(ended_ns)
        self._note_doubts(scheduled)
        world.recording.elsewhere += sorted(self._folder.glob("operations-*.ndjson"))
        write_json(
            self._folder / "plan.json",
            structs.replace(loaded, began_ns=began_ns, ended_ns=ended_ns, drained_ns=drained_ns),
        )

    def _begin(self, generator: Generator) -> int:
        fleet = self._plan.fleet
        waits = f" and waiting for {fleet.expect} workers at {fleet.bind}:{fleet.port}" if fleet.expect else ""
        page = f"; its page: {generator.page}" if generator.page else ""
        self._listen.phase(f"starting Locust{waits}{page}")
        return generator.await_begun(within_s=_WORKERS_COME_WITHIN_S if fleet.expect else _BEGINS_WITHIN_S)

    def _go_on(self, generator: Generator, observer: Observer, loaded: LoadPlan, began_ns: int) -> None:
        self._listen.phase(f"{self._plan.profile.name}: {loaded.scheduled} requests")
        warm_s = (began_ns - time.time_ns()) / 1e9 + self._plan.profile.warm_up_s
        with self._disturbance.at_work(begin_s=max(0.0, warm_s)):
            while not generator.ended(within_s=_LOOK_S):
                self._tell(observer, loaded, began_ns)
        self._follower.read_on()

    def _drain(self, observer: Observer, ended_ns: int) -> None:
        """Empty by what is seen from outside; then by the log, which knows of every flow whether it is closed."""
        self._listen.phase("answered; waiting until all is worked off")
        within_s = self._plan.profile.drain_s
        assert observer.await_empty(since_ns=ended_ns, within_s=within_s), (
            f"{within_s:g} s after the last answer there was still something unsent or queued: {observer.latest}"
        )
        self._world.settled(within_s=within_s + _READ_WITHIN_S)
        self._disturbance.expect_deaths()

    def _note_doubts(self, scheduled: int) -> None:
        missing = scheduled - self._follower.answered
        if missing:
            self.doubts = (
                f"of {scheduled} scheduled requests {missing} are not accounted for: the generator was interrupted, or"
                f" a process of it has died (see {self._folder}/locust-*.log)",
            )

    def _tell(self, observer: Observer, loaded: LoadPlan, began_ns: int) -> None:
        now = time.monotonic()
        if now - self._told < _TICK_S:
            return
        self._told = now
        follower, seen, now_ns = self._follower, observer.latest, time.time_ns()
        follower.read_on()
        since_s = (now_ns - began_ns) / 1e9
        self._listen.tick(
            Progress(
                since_s=since_s, lasts_s=self._plan.profile.lasts_s, planned_rate=planned_rate(loaded.steps, since_s),
                rate=follower.rate(now_ns), scheduled=loaded.scheduled, answered=follower.answered,
                failed=follower.failed, flows=follower.flows, flows_open=len(follower.open),
                e2e_p50_ms=follower.e2e_ms(0.5), e2e_p99_ms=follower.e2e_ms(0.99),
                depth=sum(seen.depths.values()) if seen else None, unsent=seen.unsent if seen else None,
                oldest_unsent_s=seen.oldest_unsent_s if seen else None,
                dead_letters=seen.dead_letters if seen else None, broken=self._disturbance.active,
            )
        )  # fmt: skip


# --- the end ----------------------------------------------------------------------------------------------------


def _judged(plan: Plan, run: RunDirectory, scenario: str, stack: str, doubts: tuple[str, ...]) -> Judged:
    result = measure(run.scenario(scenario), load_target(plan.target), plan.gates, plan.baseline)
    write_json(run.root / "load" / "load.json", result)
    properties = summarise(run) if plan.evidence else None
    if properties is not None:
        write_json(run.verdict_file, properties)
    audited = None if killed_instances(run, stack) else _audit(run, stack)
    said: list[Verdict] = [_AS_VERDICT[result.verdict]]
    said += [properties.verdict] if properties else []
    said += [audited.verdict] if audited else []
    said += ["unknown"] if doubts else []
    verdict = LoadVerdict(
        verdict=worst(said), gates=result.verdict, properties=properties.verdict if properties else None,
        audit=audited.verdict if audited else None, doubts=doubts,
    )  # fmt: skip
    write_json(run.root / "load" / "verdict.json", verdict)
    return Judged(verdict, result, properties)


_AS_VERDICT: dict[Status, Verdict] = {"pass": "pass", "fail": "fail", "inconclusive": "unknown"}


def _audit(run: RunDirectory, stack: str) -> AuditReport:
    """What ``gauntlet audit`` says of all logs of the run; its findings are written beside."""
    logs = [run.logs(stack) / start.file for start in process_starts(run, stack)]
    with engine("processes", 1) as workers:
        sources = gather([str(log) for log in logs if log.exists()], run.root, lambda size: None)
        report = Audit(sources).run(workers)
    write_records(run.root / "load" / "audit.ndjson", report.findings)
    return report
