"""Hunting one bug: plant it into a copy of the system, run stage after stage, stop when it is red for a right reason.

A red for a wrong reason is no end: a gate that it turns red goes on as well, and may say the right thing elsewhere.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from chaos.seeded_bugs.catalogue import Bug, CatalogueError, plant
from harness.checks.judge import ScenarioVerdict
from harness.checks.run_verdict import RunVerdict
from harness.evidence.clock import seconds_between
from harness.evidence.hunted import Hunted, Judged, Outcome
from harness.evidence.records import ScenarioRecord
from harness.evidence.run_directory import ENVIRONMENT_FAILURE, RunDirectory, read_json
from harness.target import DEFAULT_TARGET, PROJECT_ROOT, load_target
from scenarios.kill_matrix.child import OUTPUT, child
from scenarios.kill_matrix.stages import Stage, each_in_its_own

_LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Hunting:
    """What holds for every bug of a hunt. ``within_s``: for one bug; ``exhaustive``: go on after a red one."""

    seed: int
    within_s: float
    exhaustive: bool = False
    source_root: Path = PROJECT_ROOT
    target_file: Path = DEFAULT_TARGET
    interrupted: threading.Event = field(default_factory=threading.Event)
    """Once it is set, every bug of this hunt ends where it is."""


def hunt(
    name: str, bug: Bug, folder: Path, stages: Iterable[Stage], hunting: Hunting, tell: Callable[[str, str], object]
) -> Hunted:
    """What becomes of a bug. All evidence goes to ``folder``; ``tell`` hears which bug meets which stage.

    Nothing that it starts outlives it. Never raises for what the bug does.
    """
    began = time.monotonic()
    try:
        source = plant(bug, hunting.source_root, folder / "source", load_target(hunting.target_file).source)
    except CatalogueError as stale:
        return Hunted(bug=name, name=bug.name, outcome="stale", expect=bug.expect, says=str(stale))
    chase = _Chase(name, bug, hunting, began + hunting.within_s)
    for number, stage in enumerate(stages, start=1):
        tell(name, stage.name)
        run = RunDirectory(folder / f"{number}-{stage.name}")
        command = stage.command(run_dir=run.root, source_root=source, seed=hunting.seed, target=hunting.target_file)
        chase.run(command, run)
        if chase.over or (chase.red and not stage.narrow and not hunting.exhaustive):
            break
    return chase.told(time.monotonic() - began)


def hunt_together(bugs: Mapping[str, Bug], folder: Path, hunting: Hunting) -> list[Hunted]:
    """What becomes of some bugs, each of which meets the scenario that it names and nothing else, one after the other
    on the same servers. No two may name the same one; the rest as for ``hunt``."""
    began = time.monotonic()
    copied = load_target(hunting.target_file).source
    sources = {name: plant(bug, hunting.source_root, folder / name, copied) for name, bug in bugs.items()}
    run = RunDirectory(folder / "run")
    stage = each_in_its_own({bug.scenario: sources[name] for name, bug in bugs.items()})
    patient = replace(hunting, exhaustive=True)
    chases = [_Chase(name, bug, patient, began + hunting.within_s) for name, bug in bugs.items()]
    command = stage.command(
        run_dir=run.root, source_root=hunting.source_root, seed=hunting.seed, target=hunting.target_file
    )
    chases[0].run(command, run)
    return [chase.told_of(run, time.monotonic() - began, ended=chases[0].ended) for chase in chases]


class _Chase:
    """One bug, and what has been seen of it so far."""

    def __init__(self, name: str, bug: Bug, hunting: Hunting, deadline: float) -> None:
        self.name, self.bug, self.hunting, self.deadline = name, bug, hunting, deadline
        self.judged: list[Judged] = []
        self._run = ""
        self.ended: tuple[Outcome, str] | None = None

    @property
    def over(self) -> bool:
        return self.ended is not None or (self._right(self.red) and not self.hunting.exhaustive)

    @property
    def red(self) -> Judged | None:
        """The first scenario that was red for a right reason, or else the first that was red at all."""
        reds = [one for one in self.judged if one.verdict == "fail"]
        return next(filter(self._right, reds), reds[0] if reds else None)

    def _right(self, one: Judged | None) -> bool:
        return one is not None and bool(set(one.failed) & set(self.bug.expect))

    def run(self, command: list[str], run: RunDirectory) -> None:
        """Run one stage until it ends, something is red, the time is over or somebody has had enough."""
        self._run = str(run.root)
        before = len(self.judged)
        with child(command, run) as process:
            self._watch(process, run)
        if not self.over and process.returncode != 0 and len(self.judged) == before:
            self.ended = ("no stack", _last_words(run.root / OUTPUT))

    def _watch(self, process: subprocess.Popen[bytes], run: RunDirectory) -> None:
        seen: set[Path] = set()
        alive = True
        while alive:
            try:
                process.wait(_LOOK_EVERY_S)
                alive = False
            except subprocess.TimeoutExpired:
                pass
            self.judged += self._newly_judged(run, seen)
            if no_stack := _no_stack(run):
                self.ended = ("no stack", no_stack)
            elif self.hunting.interrupted.is_set():
                self.ended = ("not run", "interrupted")
            elif time.monotonic() > self.deadline:
                self.ended = ("timeout", f"nothing was red within {self.hunting.within_s:.0f} s")
            if self.over:
                return
        self.judged += self._between_scenarios(run)

    def _newly_judged(self, run: RunDirectory, seen: set[Path]) -> Iterator[Judged]:
        """Scenarios that have got their verdict since the last look, in the order in which they got it."""
        new = [one for one in run.scenarios() if one.root not in seen and one.verdict_file.exists()]
        for directory in sorted(new, key=lambda one: one.verdict_file.stat().st_mtime):
            seen.add(directory.root)
            record = read_json(directory.scenario_file, ScenarioRecord)
            after_s = seconds_between(_first_began(run, record.stack), record.until)
            yield self._told(read_json(directory.verdict_file, ScenarioVerdict), after_s)

    def _between_scenarios(self, run: RunDirectory) -> list[Judged]:
        """What is red although every scenario was green: what was logged outside of them, as at a stack's end."""
        if not run.verdict_file.exists():
            return []
        whole = read_json(run.verdict_file, RunVerdict)
        known = {read_json(one.scenario_file, ScenarioRecord).name for one in run.scenarios()}
        return [self._told(one, 0.0) for one in whole.scenarios if one.scenario not in known and one.verdict == "fail"]

    def _told(self, verdict: ScenarioVerdict, after_s: float) -> Judged:
        """The finding that convicts the bug speaks first."""
        findings = sorted(verdict.findings, key=lambda finding: finding.property not in self.bug.expect)
        says = findings[0].says if findings else (verdict.error or "").partition("\n")[0]
        return Judged(
            scenario=verdict.scenario,
            verdict=verdict.verdict,
            failed=tuple(verdict.failed),
            says=says,
            after_s=round(after_s, 1),
        )

    def told_of(self, run: RunDirectory, took_s: float, *, ended: tuple[Outcome, str] | None) -> Hunted:
        """Everything about it, in a run of others as well."""
        own = self.bug.scenario
        self.judged = [
            one for one in self._newly_judged(run, set()) if own in (one.scenario, one.scenario.partition("[")[0])
        ]
        self._run, self.ended = str(run.root), ended
        return self.told(took_s)

    def told(self, took_s: float) -> Hunted:
        """Everything about it. A red outweighs how the hunt ended."""
        red = self.red
        by = tuple(prop for prop in self.bug.expect if red is not None and prop in red.failed)
        outcome, says = self.ended or ("survived", f"{len(self.judged)} scenarios were green")
        if red is not None:
            outcome, says = ("killed", red.says) if by else ("wrong reason", _wrong(red))
        return Hunted(
            bug=self.name,
            name=self.bug.name,
            outcome=outcome,
            expect=self.bug.expect,
            by=by,
            scenario=red.scenario if red else "",
            kill_s=red.after_s if red else None,
            says=says,
            took_s=round(took_s, 1),
            judged=tuple(self.judged),
            run=self._run,
        )


def _first_began(run: RunDirectory, stack: str) -> str:
    """When the first scenario on a stack could begin: its stack was up."""
    records = (read_json(one.scenario_file, ScenarioRecord) for one in run.scenarios())
    return min(record.began for record in records if record.stack == stack)


def _no_stack(run: RunDirectory) -> str:
    """Why no stack came up, if none did."""
    note = run.root / ENVIRONMENT_FAILURE
    return note.read_text(encoding="utf-8") if note.exists() else ""


def _wrong(red: Judged) -> str:
    return f"failed: {', '.join(red.failed) or 'no property, only the scenario itself'}: {red.says}"


def _last_words(output: Path) -> str:
    lines = [line for line in output.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:]) or f"no word; see {output}"
