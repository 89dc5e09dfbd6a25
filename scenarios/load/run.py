"""One load run: a stack, the generator beside it, somebody who watches, and in the end a judgement by everybody.

The run directory that comes of it is a gate's, with one scenario in it, and the folder ``load`` (harness.load.records):
``gauntlet check``, ``show`` and ``coverage`` read it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from harness.audit.audit import Audit, AuditReport
from harness.audit.engines import engine
from harness.audit.sources import gather
from harness.checks.run_verdict import RunRecord, RunVerdict, summarise
from harness.environment.boot import sweep
from harness.evidence.clock import wall_now
from harness.evidence.evidence import killed_instances, process_starts
from harness.evidence.run_directory import RunDirectory, write_json, write_records
from harness.load.baseline import Baseline
from harness.load.gates import Gate
from harness.load.measure import measure
from harness.load.result import LoadResult
from harness.load.verdict import LoadVerdict
from harness.target import TargetError, load_target
from scenarios.load.drive import Listener, Load, drive
from scenarios.stacks import Stacks
from scenarios.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run, on what, and by what to judge it."""

    load: Load
    gates: tuple[Gate, ...]
    baseline: Baseline | None = None
    target: Path
    source_root: Path


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
    scenario = f"load-{plan.load.profile.name}"
    try:
        breaks = plan.load.chaos is not None
        with Stacks(target, run, worker="load", source_root=plan.source_root, breaks_broker=breaks) as stacks:
            listen.phase("booting a stack")
            stack, since = stacks.current()
            world = World(stack, target, run, name=scenario, seed=plan.load.seed, since=since)
            if not plan.load.evidence:
                world.broker.shut_tap()
            world.again = " ".join(["gauntlet", *sys.argv[1:]])
            doubts: tuple[str, ...] = ("the load did not come to its end",)
            error: str | None = None
            try:
                doubts = drive(plan.load, world, run.root / "load", listen)
            except AssertionError as failure:  # what the system did not do is a finding
                error = str(failure)
            listen.phase("all properties judge" if plan.load.evidence else "ending the stack")
            if plan.load.evidence:
                stacks.conclude(world, error)
            else:
                world.write_down(error)
    finally:
        sweep(run.root)
    listen.phase("measuring")
    return _judged(plan, run, scenario, stack.name, doubts)


def _record(plan: Plan) -> RunRecord:
    return RunRecord(
        seed=plan.load.seed, target_file=str(plan.target.resolve()), source_root=str(plan.source_root.resolve()),
        began_at=wall_now(), command=tuple(sys.argv),
    )  # fmt: skip


# --- the end ----------------------------------------------------------------------------------------------------


def _judged(plan: Plan, run: RunDirectory, scenario: str, stack: str, doubts: tuple[str, ...]) -> Judged:
    result = measure(run.scenario(scenario), load_target(plan.target), plan.gates, plan.baseline)
    write_json(run.root / "load" / "load.json", result)
    properties = summarise(run) if plan.load.evidence else None
    if properties is not None:
        write_json(run.verdict_file, properties)
    audited = None if killed_instances(run, stack) else _audit(run, stack)
    verdict = LoadVerdict(
        gates=result.verdict, properties=properties.verdict if properties else None,
        audit=audited.verdict if audited else None, doubts=doubts,
    )  # fmt: skip
    write_json(run.root / "load" / "verdict.json", verdict)
    return Judged(verdict, result, properties)


def _audit(run: RunDirectory, stack: str) -> AuditReport:
    """What ``gauntlet audit`` says of all logs of the run; its findings are written beside."""
    logs = [run.logs(stack) / start.file for start in process_starts(run, stack)]
    with engine("processes", 1) as workers:
        sources = gather([str(log) for log in logs if log.exists()], run.root, lambda size: None)
        report = Audit(sources).run(workers)
    write_records(run.root / "load" / "audit.ndjson", report.findings)
    return report
