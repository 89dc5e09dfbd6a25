"""False alarms: the gate and random chaos on a clean system, again and again. Every red is a bug, in it or in us."""

from __future__ import annotations

import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.checks.judge import ScenarioVerdict
from harness.checks.run_verdict import RunVerdict
from harness.environment.failures import EnvironmentFailed
from harness.evidence.clean import Alarm, CleanRecord, CleanRun, Part
from harness.evidence.records import ScenarioRecord
from harness.evidence.run_directory import ENVIRONMENT_FAILURE, RunDirectory, read_json
from scenarios.kill_matrix.child import OUTPUT, child
from scenarios.kill_matrix.stages import CANARIES
from scenarios.selection import CHAOS

_GREEN_OR_RED = (0, 1, 2)


def clean_runs(
    record: CleanRecord, runs: int, folder: Path, tell: Callable[[int], object], *, keep: bool = False
) -> Iterator[CleanRun]:
    """The runs that the record still lacks, each as soon as it has ended. The evidence of green ones is deleted.

    Raises EnvironmentFailed if one judged nothing, as where no stack comes up.
    """
    for number in range(len(record.runs) + 1, runs + 1):
        tell(number)
        seed = random.Random(f"{record.seed}/{number}").randrange(1_000_000)
        began = time.monotonic()
        run = RunDirectory(folder / f"{number:03}")
        _run([*_gate(record), f"--seed={seed}", f"--run-dir={run.root}", *_NO_CANARIES], run)
        alarms = tuple(_alarms(run))
        judged = [read_json(one.scenario_file, ScenarioRecord).name for one in run.scenarios()]
        if not alarms and not keep:
            shutil.rmtree(run.root)
        chaos = sum(map(_is_chaos, judged))
        yield CleanRun(
            number=number,
            seed=seed,
            scenarios=len(judged) - chaos,
            schedules=chaos,
            alarms=alarms,
            took_s=round(time.monotonic() - began, 1),
        )


_NO_CANARIES = ("--", "--deselect", CANARIES)
"""Planted bugs have no place among runs that have none."""


def _gate(record: CleanRecord) -> list[str]:
    return ["gate", "-q", "-n", str(record.workers), "--schedules", str(record.schedules)]


def _is_chaos(scenario: str) -> bool:
    return scenario.startswith(CHAOS)


def _run(words: list[str], run: RunDirectory) -> None:
    with child([sys.executable, "-m", "cli", *words], run) as gate:
        code = gate.wait()
    if code not in _GREEN_OR_RED or (run.root / ENVIRONMENT_FAILURE).exists():
        raise EnvironmentFailed(f"gauntlet {' '.join(words)} ended with exit code {code}; see {run.root / OUTPUT}")


def _alarms(run: RunDirectory) -> Iterator[Alarm]:
    """What was not green, between scenarios as well."""
    whole = read_json(run.verdict_file, RunVerdict)
    for verdict in whole.scenarios:
        if verdict.verdict != "pass":
            yield _alarm(run, verdict.scenario, _says(verdict))
    for failure in (*whole.failures, *whole.idle):
        yield _alarm(run, failure, "failed without a verdict, or never ran")


def _alarm(run: RunDirectory, scenario: str, says: str) -> Alarm:
    part: Part = "chaos" if _is_chaos(scenario) else "gate"
    return Alarm(part=part, scenario=scenario, says=says, run=str(run.root))


def _says(verdict: ScenarioVerdict) -> str:
    doubts = [f"{result.property}: {doubt}" for result in verdict.results for doubt in result.doubts]
    findings = [f"{finding.property}: {finding.says}" for finding in verdict.findings]
    return next(iter([*findings, *([verdict.error] if verdict.error else []), *doubts]), verdict.verdict)
