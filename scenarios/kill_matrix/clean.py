"""False alarms: the gate and random chaos on a clean system, again and again. Every red is a bug, in it or in us."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.checks.judge import ScenarioVerdict
from harness.checks.run_verdict import RunVerdict
from harness.environment.boot import sweep
from harness.environment.failures import EnvironmentFailed
from harness.evidence.clean import Alarm, CleanRecord, CleanRun, Part
from harness.evidence.explored import Explored
from harness.evidence.run_directory import ENVIRONMENT_FAILURE, RunDirectory, read_json
from harness.target import PROJECT_ROOT
from scenarios.kill_matrix.stages import CANARIES

_PACKAGES = ("chaos", "harness", "scenarios", "system_under_test", "targets")
_GREEN_OR_RED = (0, 1, 2)
_EXPLORE_FOR, _SHRINK_FOR = "20m", "1s"
"""More than the schedules of one run take; an alarm is kept as it is, and shrunk later by whoever looks at it."""


def clean_runs(
    record: CleanRecord, runs: int, folder: Path, tell: Callable[[int, Part], object], *, keep: bool = False
) -> Iterator[CleanRun]:
    """The runs that the record still lacks, each as soon as it has ended. The evidence of green ones is deleted.

    Raises EnvironmentFailed if a part judged nothing, as where no stack comes up.
    """
    for number in range(len(record.runs) + 1, runs + 1):
        seed = random.Random(f"{record.seed}/{number}").randrange(1_000_000)
        began = time.monotonic()
        alarms: list[Alarm] = []
        counts: dict[Part, int] = {}
        for part, (words, more) in _parts(record).items():
            tell(number, part)
            run = RunDirectory(folder / f"{number:03}-{part}")
            _run([*words, f"--seed={seed}", f"--run-dir={run.root}", *more], run)
            found = list(_ALARMS[part](run))
            counts[part] = len(run.scenarios())
            if not found and not keep:
                shutil.rmtree(run.root)
            alarms += found
        yield CleanRun(
            number=number,
            seed=seed,
            scenarios=counts["gate"],
            schedules=counts.get("chaos", 0),
            alarms=tuple(alarms),
            took_s=round(time.monotonic() - began, 1),
        )


def code_digest() -> str:
    """A digest of all that takes part in a run. Two runs with the same one ran the same code."""
    digest = hashlib.sha256()
    files = [path for package in _PACKAGES for path in (PROJECT_ROOT / package).rglob("*") if path.is_file()]
    for path in sorted([*files, PROJECT_ROOT / "conftest.py"]):
        if path.suffix in (".py", ".sql", ".toml"):
            digest.update(str(path.relative_to(PROJECT_ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _parts(record: CleanRecord) -> dict[Part, tuple[list[str], list[str]]]:
    """Part → its command, and what pytest is told besides: planted bugs have no place among runs that have none."""
    workers = ["-n", str(record.workers)]
    parts: dict[Part, tuple[list[str], list[str]]] = {
        "gate": (["gate", "-q", *workers], ["--", "--deselect", CANARIES]),
    }
    if record.schedules:
        bounds = ["--schedules", str(record.schedules), "--for", _EXPLORE_FOR, "--shrink-for", _SHRINK_FOR]
        parts["chaos"] = (["explore", *workers, *bounds], [])
    return parts


def _run(words: list[str], run: RunDirectory) -> None:
    run.root.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
    output = run.root / "output.txt"
    with output.open("wb") as file:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "cli", *words],
                cwd=PROJECT_ROOT, env=environment, stdout=file, stderr=file, check=False,
            )  # fmt: skip
        finally:
            sweep(run.root)
    if done.returncode not in _GREEN_OR_RED or (run.root / ENVIRONMENT_FAILURE).exists():
        raise EnvironmentFailed(f"gauntlet {' '.join(words)} ended with exit code {done.returncode}; see {output}")


def _alarms_of_gate(run: RunDirectory) -> Iterator[Alarm]:
    """What was not green, between scenarios as well."""
    whole = read_json(run.verdict_file, RunVerdict)
    for verdict in whole.scenarios:
        if verdict.verdict != "pass":
            yield Alarm(part="gate", scenario=verdict.scenario, says=_says(verdict), run=str(run.root))
    for failure in (*whole.failures, *whole.idle):
        yield Alarm(part="gate", scenario=failure, says="failed without a verdict, or never ran", run=str(run.root))


def _alarms_of_chaos(run: RunDirectory) -> Iterator[Alarm]:
    for one in read_json(run.root / "explore.json", Explored).ran:
        if one.verdict != "pass":
            says = ", ".join(one.failed) or one.error or one.says
            yield Alarm(part="chaos", scenario=one.name, says=f"{says}: {one.schedule}", run=str(run.root))


_ALARMS: dict[Part, Callable[[RunDirectory], Iterator[Alarm]]] = {"gate": _alarms_of_gate, "chaos": _alarms_of_chaos}


def _says(verdict: ScenarioVerdict) -> str:
    doubts = [f"{result.property}: {doubt}" for result in verdict.results for doubt in result.doubts]
    findings = [f"{finding.property}: {finding.says}" for finding in verdict.findings]
    return next(iter([*findings, *([verdict.error] if verdict.error else []), *doubts]), verdict.verdict)
