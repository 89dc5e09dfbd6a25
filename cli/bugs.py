"""Who tests the tests: bugs, clean."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cli.door import FAIL, INTERRUPTED, PASS, gauntlet
from cli.options import (
    ENVIRONMENT,
    GATE_WORKERS,
    RUN_DIR,
    SEED,
    SOURCE_ROOT,
    TARGET,
    WORKERS,
    Duration,
    all_known,
    drawn_seed,
    new_run,
    progress,
)
from harness.evidence.run_directory import new_run_path, read_json, write_json
from harness.target import PROJECT_ROOT, load_target

if TYPE_CHECKING:
    from chaos.seeded_bugs.catalogue import Bug
    from harness.evidence.clean import CleanRecord


@gauntlet.command()
@click.argument("ids", nargs=-1, metavar="[ID…]")
@click.option(
    "--catalogue",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Bugs from this file, which may lie anywhere (default: the target's own).",
)
@click.option("--checkers", is_flag=True, help="Instead: bugs in those who judge, each met by the project's own tests.")
@click.option("--all-scenarios", is_flag=True, help="Each bug meets the whole gate, also after it has been killed.")
@click.option("--within", "within_s", type=Duration(), default="15m", show_default=True, help="For one bug, at most.")
@WORKERS
@ENVIRONMENT
@SEED
@RUN_DIR
@TARGET
@SOURCE_ROOT
def bugs(
    ids: tuple[str, ...],
    file: Path | None,
    checkers: bool,
    all_scenarios: bool,
    within_s: float,
    workers: int,
    seed: int | None,
    run_dir: Path | None,
    target: Path,
    source_root: Path,
) -> None:
    """Plant bugs into the system: each has to turn a run red, and for the right reason.

    Each bug goes into a copy of the system, on a stack of its own. The scenarios that are likely to find it come first;
    one that survives the gate also meets a crash sweep, the nightly scenarios and chaos at random. A bug is killed as
    soon as a property fails that it is expected to break; what is red for others alone is red for the wrong reason.
    Exit code 1 unless all are killed. kill-matrix.json and kill-matrix.md of the run directory hold everything.
    """
    from rich.console import Console

    from chaos.seeded_bugs.catalogue import CHECKERS
    from harness.environment.choice import provide_for_a_run
    from harness.environment.machine import machine
    from harness.evidence.clock import wall_now
    from harness.evidence.hunted import KillMatrix
    from reports.kill_matrix import HuntView, final_text, markdown
    from scenarios.kill_matrix.bugs import hunt_all
    from scenarios.kill_matrix.hunt import Hunting

    if checkers:
        sys.exit(_checkers(_chosen(file or CHECKERS, ids), workers))
    system = load_target(target)
    own = PROJECT_ROOT / system.bugs
    known, chosen = _chosen(own, ()), _chosen(file or own, ids)
    provide_for_a_run(progress)
    seed = drawn_seed(seed)
    run = new_run(run_dir, "bugs")
    console = Console(highlight=False, markup=False)
    console.print(f"{len(chosen)} bugs, seed {seed}; evidence: {run}", soft_wrap=True)
    hunting = Hunting(
        seed=seed, within_s=within_s, exhaustive=all_scenarios, source_root=source_root.resolve(),
        target_file=target.resolve(),
    )  # fmt: skip
    began_at, began = wall_now(), time.monotonic()
    with HuntView(console, of=len(chosen)) as view:
        hunted = hunt_all(chosen, known, system, run, hunting, workers=workers, listener=view)
    matrix = KillMatrix(
        catalogue=str(file or own.name), seed=seed, began_at=began_at, machine=machine(), workers=workers,
        hunted=tuple(hunted), took_s=round(time.monotonic() - began, 1), interrupted=hunting.interrupted.is_set(),
    )  # fmt: skip
    write_json(run / "kill-matrix.json", matrix)
    (run / "kill-matrix.md").write_text(markdown(matrix), encoding="utf-8")
    for text in final_text(matrix, all_of_it=console.is_terminal):
        console.print(text, soft_wrap=True)
    console.print(f"all of it: {run / 'kill-matrix'}.json, .md", soft_wrap=True)
    sys.exit(INTERRUPTED if matrix.interrupted else FAIL if matrix.alive else PASS)


def _checkers(chosen: Mapping[str, Bug], workers: int) -> int:
    """Bugs in checks and trace: the exit code, when each has met the tests that should notice it."""
    from scenarios.kill_matrix.checkers import red_without_a_bug, try_checkers

    began = time.monotonic()
    progress("the same tests without any bug")
    if red := red_without_a_bug(chosen.values()):
        raise click.UsageError(f"no kill would prove anything, for without any bug the tests are {red}")
    alive = 0
    for outcome in try_checkers(chosen, workers=workers):
        alive += outcome.state != "killed"
        told = f"by {outcome.killed_by}" if outcome.state == "killed" else outcome.says
        click.echo(f"{outcome.id:<32} {outcome.state} {told} · {outcome.bug.name} ({outcome.took_s:.1f} s)")
    click.echo(f"{len(chosen) - alive} of {len(chosen)} killed; {time.monotonic() - began:.0f} s")
    return FAIL if alive else PASS


def _chosen(file: Path, ids: Sequence[str]) -> dict[str, Bug]:
    """The bugs of a catalogue, or these of them. Raises UsageError for what is not there or cannot be convicted."""
    from chaos.seeded_bugs.catalogue import CatalogueError, load_catalogue

    try:
        catalogue = load_catalogue(file)
    except CatalogueError as error:
        raise click.UsageError(str(error)) from None
    all_known("bug", ids, list(catalogue))
    _properties_exist(catalogue)
    return {name: bug for name, bug in catalogue.items() if not ids or name in ids}


def _properties_exist(catalogue: Mapping[str, Bug]) -> None:
    """Raises UsageError for a bug that nothing could convict."""
    from harness.checks import ALL

    names = [prop.name for prop in ALL]
    for bug_id, bug in catalogue.items():
        for name in bug.expect:
            if name not in names:
                near = get_close_matches(name, names, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
                raise click.UsageError(f"{bug_id} expects {name!r} to fail, and there is no such property: {hint}")
        if not bug.expect:
            raise click.UsageError(f"{bug_id} expects nothing: name the properties of which one has to fail")


@gauntlet.command()
@click.option(
    "--runs", type=click.IntRange(1), default=10, show_default=True, help="So many, those of before included."
)
@click.option(
    "--schedules", type=click.IntRange(0), default=10, show_default=True, help="Of random chaos, in each run."
)
@click.option("--keep", is_flag=True, help="Keep the evidence of green runs as well.")
@GATE_WORKERS
@ENVIRONMENT
@SEED
@click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Where the record goes; one that is there is continued."
)
def clean(runs: int, schedules: int, keep: bool, workers: int, seed: int | None, run_dir: Path | None) -> None:
    """Count false alarms: run the gate and random chaos on the clean system again and again.

    Nothing is planted, so whatever is not green is a bug of the system or of the gauntlet; its run is kept. Interrupted
    (or with more --runs), it goes on where it was, as long as the code is the same. Exit code 1 if there is an alarm.
    clean.json and clean.md hold the record.
    """
    from reports.clean import markdown, run_line, summary
    from scenarios.kill_matrix.clean import clean_runs

    folder = (run_dir or new_run_path("clean")).resolve()
    record = _record(folder, seed, workers, schedules)
    click.echo(f"seed {record.seed}; evidence: {folder}")
    try:
        for run in clean_runs(record, runs, folder, lambda number: progress(f"run {number}"), keep=keep):
            record = msgspec.structs.replace(record, runs=(*record.runs, run))
            write_json(folder / "clean.json", record)
            (folder / "clean.md").write_text(markdown(record, record_file="clean.json"), encoding="utf-8")
            click.echo(run_line(run, runs))
    finally:
        for line in summary(record):
            click.echo(line)
    sys.exit(FAIL if record.alarms else PASS)


def _record(folder: Path, seed: int | None, workers: int, schedules: int) -> CleanRecord:
    """The record in a folder, to be continued, or a new one. Raises UsageError where it cannot be continued."""
    from harness.environment.machine import machine
    from harness.evidence.clean import CleanRecord
    from harness.evidence.clock import wall_now
    from harness.evidence.code_digest import code_digest

    code = code_digest()
    if not (folder / "clean.json").exists():
        return CleanRecord(
            seed=drawn_seed(seed), code=code, began_at=wall_now(), machine=machine(), workers=workers,
            schedules=schedules,
        )  # fmt: skip
    record = read_json(folder / "clean.json", CleanRecord)
    if record.code != code:
        raise click.UsageError(
            f"{folder} is the record of other code ({record.code}, now {code}): give a new --run-dir"
        )
    context = click.get_current_context()
    for name, wanted in (("seed", seed), ("workers", workers), ("schedules", schedules)):
        given = context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        if given and wanted != (before := getattr(record, name)):
            raise click.UsageError(f"{folder} was begun with --{name} {before}: go on without, or give a new --run-dir")
    return record
