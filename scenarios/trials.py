"""Trials: one thing done to a world again and again, with some variation, on several stacks side by side.

A matrix of faults, a sweep of crash points and drawn schedules are made of them. Each worker is a process with stacks
of its own, as a worker of a gate is, and the run directory that comes of it is a gate's: ``gauntlet check``, ``show``
and ``coverage`` read it.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path
from types import FrameType
from typing import Any

from harness.checks.judge import ScenarioVerdict
from harness.checks.run_verdict import RunRecord, RunVerdict, summarise
from harness.environment.boot import sweep
from harness.environment.choice import provide_for_a_run
from harness.environment.failures import EnvironmentFailed
from harness.evidence.clock import wall_now
from harness.evidence.code_digest import code_digest
from harness.evidence.run_directory import RunDirectory, read_json, write_json
from harness.target import DEFAULT_TARGET, PROJECT_ROOT, load_target
from scenarios.stacks import Stacks
from scenarios.world import World


@dataclass(frozen=True, slots=True)
class Trial:
    """``name`` is its scenario's, and so has to be its own within the run. ``body`` has to be picklable: a function of
    a module, a ``functools.partial`` of one, or a method of a dataclass. What it returns comes back with the result."""

    name: str
    body: Callable[[World], Any]


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What became of a trial: ``said`` is what its body returned, None if it failed."""

    name: str
    verdict: ScenarioVerdict
    said: Any
    took_s: float

    @property
    def green(self) -> bool:
        return self.verdict.verdict == "pass"


class Trials:
    """The workers of one run. ``start`` gives a future for each trial; several wait their turn."""

    def __init__(self, run: RunDirectory, workers: int) -> None:
        self.run, self.workers = run, workers
        self._pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), _become_a_worker, (str(run.root),)
        )

    def start(self, trial: Trial) -> Future[TrialResult]:
        """Have it run as soon as a worker is free. The future raises EnvironmentFailed where no stack comes up."""
        return self._pool.submit(_run, trial)

    def end(self) -> None:
        """Start nothing more, wait for what runs, end all stacks."""
        self._pool.shutdown(cancel_futures=True)
        sweep(self.run.root)


@contextmanager
def trials(
    run_dir: Path, *, workers: int, seed: int, target: Path = DEFAULT_TARGET, source_root: Path = PROJECT_ROOT
) -> Iterator[Trials]:
    """Workers for the duration of the block. Whatever happens, none of their stacks stays.

    Raises EnvironmentFailed if a worker died, TargetError for a bad target file.
    """
    load_target(target)
    record = RunRecord(
        seed=seed,
        target_file=str(target.resolve()),
        source_root=str(source_root.resolve()),
        began_at=wall_now(),
        command=tuple(sys.argv),
        environment=provide_for_a_run(lambda step: None).name,
        code=code_digest(source_root),
    )
    run = RunDirectory(run_dir.resolve())
    write_json(run.run_file, record)
    at_work = Trials(run, workers)
    try:
        yield at_work
    except BrokenProcessPool as broken:
        raise EnvironmentFailed(f"a worker ended in the middle of a trial; its evidence is in {run.root}") from broken
    finally:
        at_work.end()


def conclude(run: RunDirectory) -> RunVerdict:
    """The verdict of all trials together, when their stacks have ended: what those logged last is judged too."""
    verdict = summarise(run)
    write_json(run.verdict_file, verdict)
    return verdict


# --- in a worker ------------------------------------------------------------------------------------------------

_stacks: Stacks
_run_directory: RunDirectory
_seed: int
_busy = False


def _become_a_worker(root: str) -> None:
    global _stacks, _run_directory, _seed
    signal.signal(signal.SIGINT, _interrupt)
    _run_directory = RunDirectory(Path(root))
    record = read_json(_run_directory.run_file, RunRecord)
    _seed = record.seed
    worker = multiprocessing.current_process().name.replace("SpawnProcess-", "w")
    target = load_target(Path(record.target_file))
    _stacks = Stacks(target, _run_directory, worker=worker, source_root=Path(record.source_root))
    util.Finalize(_stacks, _stacks.retire, exitpriority=100)


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    """Ctrl-C reaches every process of the terminal: a trial undoes its faults, a worker at rest waits for its end."""
    if _busy:
        raise KeyboardInterrupt


def _run(trial: Trial) -> TrialResult:
    global _busy
    began = time.monotonic()
    _busy = True
    try:
        stack, since = _stacks.current()
        world = World(stack, _stacks.target, _run_directory, name=trial.name, seed=_seed, since=since)
        said, error = None, None
        try:
            said = trial.body(world)
        except Exception as failure:  # what a scenario stumbles over is a finding, as in a gate
            error = f"{type(failure).__name__}: {failure}"
        verdict = _stacks.conclude(world, error)
    finally:
        _busy = False
    return TrialResult(trial.name, verdict, said, time.monotonic() - began)
