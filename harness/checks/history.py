"""The runs that lie in a folder, and the scenarios that were not always the same in runs of the same code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from msgspec import Struct

from harness.checks.run_verdict import RunRecord, RunVerdict
from harness.evidence.clean import CleanRecord
from harness.evidence.clock import seconds_between
from harness.evidence.explored import Explored
from harness.evidence.hunted import KillMatrix
from harness.evidence.records import ScenarioRecord
from harness.evidence.run_directory import EvidenceError, RunDirectory, read_json

Ended = Literal["pass", "fail", "unknown", "not judged"]
"""``not judged``: it was interrupted, or it goes on, or it is no run that is judged."""
DRAWN = "test_random_chaos.py::"
"""So begin the scenarios of a gate that are other ones with each seed, whatever their names."""


class PastRun(Struct, frozen=True, kw_only=True):
    """One run. ``hunted`` and ``killed``: planted bugs, where it was a hunt for them."""

    run: str
    verdict: Ended
    began_at: str
    seed: int
    took_s: float
    scenarios: int
    code: str = ""
    hunted: int | None = None
    killed: int | None = None


class Flip(Struct, frozen=True, kw_only=True):
    """A scenario with more than one verdict among runs of the same code. ``runs``: verdict → those that gave it."""

    scenario: str
    code: str
    runs: dict[str, list[str]]


class History(Struct, frozen=True, kw_only=True):
    """The oldest run first. ``unreadable``: folders that hold something that no run would write."""

    runs: tuple[PastRun, ...]
    flips: tuple[Flip, ...]
    unreadable: tuple[str, ...] = ()


def history(folder: Path) -> History:
    """All runs of a folder, whatever made them."""
    runs, unreadable = [], []
    verdicts: dict[tuple[str, str, int | None], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for root in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            run = _past_run(RunDirectory(root))
            found = list(_scenario_verdicts(RunDirectory(root)))
        except (EvidenceError, ValueError) as error:
            unreadable.append(f"{root.name}: {error}")
            continue
        if run is None:
            continue
        runs.append(run)
        for scenario, verdict in found if run.code else ():
            seed = run.seed if scenario.startswith(DRAWN) else None
            verdicts[run.code, scenario, seed][verdict].append(run.run)
    flips = (Flip(scenario=name, code=code, runs=dict(seen)) for (code, name, _), seen in verdicts.items())
    return History(
        runs=tuple(sorted(runs, key=lambda run: run.began_at)),
        flips=tuple(flip for flip in flips if len(flip.runs) > 1),
        unreadable=tuple(unreadable),
    )


def _past_run(run: RunDirectory) -> PastRun | None:
    if (file := run.root / "kill-matrix.json").exists():
        return _hunt(run.root.name, read_json(file, KillMatrix))
    if (file := run.root / "clean.json").exists():
        return _count(run.root.name, read_json(file, CleanRecord))
    if not run.run_file.exists():
        return None
    record, folders = read_json(run.run_file, RunRecord), run.scenarios()
    until = max((read_json(folder.scenario_file, ScenarioRecord).until for folder in folders), default=record.began_at)
    return PastRun(
        run=run.root.name, verdict=_verdict(run), began_at=record.began_at, seed=record.seed,
        took_s=max(0.0, seconds_between(record.began_at, until)), scenarios=len(folders), code=record.code,
    )  # fmt: skip


def _verdict(run: RunDirectory) -> Ended:
    if run.verdict_file.exists():
        return read_json(run.verdict_file, RunVerdict).verdict
    if (file := run.root / "explore.json").exists():
        explored = read_json(file, Explored)
        return "fail" if explored.found else "unknown" if explored.unknown else "pass"
    return "not judged"


def _hunt(name: str, matrix: KillMatrix) -> PastRun:
    verdict: Ended = "not judged" if matrix.interrupted else "fail" if matrix.alive else "pass"
    return PastRun(
        run=name, verdict=verdict, began_at=matrix.began_at, seed=matrix.seed, took_s=matrix.took_s,
        scenarios=sum(len(one.judged) for one in matrix.hunted), hunted=len(matrix.hunted),
        killed=len(matrix.hunted) - len(matrix.alive),
    )  # fmt: skip


def _count(name: str, record: CleanRecord) -> PastRun:
    return PastRun(
        run=name, verdict="fail" if record.alarms else "pass", began_at=record.began_at, seed=record.seed,
        took_s=sum(run.took_s for run in record.runs), scenarios=sum(run.scenarios for run in record.runs),
    )  # fmt: skip


def _scenario_verdicts(run: RunDirectory) -> Iterator[tuple[str, str]]:
    """Of the scenarios of a gate: what was drawn is another thing in each run, whatever its name."""
    judged: Iterable[tuple[str, str]] = ()
    if run.verdict_file.exists():
        judged = ((one.scenario, one.verdict) for one in read_json(run.verdict_file, RunVerdict).scenarios)
    return ((name, verdict) for name, verdict in judged if "::" in name)
