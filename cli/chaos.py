"""Faults that are aimed: matrix, crash-sweep, explore, replay, fuzz."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from cli.door import BY_VERDICT, FAIL, INTERRUPTED, PASS, UNKNOWN, gauntlet
from cli.options import (
    BUG,
    ENVIRONMENT,
    RUN_DIR,
    SEED,
    SOURCE_ROOT,
    TARGET,
    WORKERS,
    Duration,
    all_known,
    drawn_seed,
    new_run,
    tell_page,
)

# What a command needs alone it imports itself: ``gauntlet --help`` is there at once, and an audit stays small.
from harness.evidence.run_directory import RunDirectory, new_run_path
from harness.target import PROJECT_ROOT, load_target

if TYPE_CHECKING:
    from reports.grid_live import Step
    from scenarios.trials import Trial, Trials


@gauntlet.command()
@WORKERS
@click.option("--edge", "edges", multiple=True, metavar="EDGE", help="Only this one: crm→broker, or crm-to-broker.")
@click.option("--toxic", "toxics", multiple=True, metavar="TOXIC", help="Only this one: latency.")
@click.option("--pairwise", is_flag=True, help="The part of it that a gate runs: every two factors meet.")
@SEED
@RUN_DIR
@TARGET
@SOURCE_ROOT
@ENVIRONMENT
def matrix(
    workers: int,
    edges: tuple[str, ...],
    toxics: tuple[str, ...],
    pairwise: bool,
    seed: int | None,
    run_dir: Path | None,
    target: Path,
    source_root: Path,
) -> None:
    """Run every toxic on every edge, in both directions.

    In each cell the standard workload meets the toxic, which has to have acted on something; then all properties judge.
    The table, what is not green, and why some cells cannot be are in matrix.json and matrix.md of the run directory.
    """
    from reports.grid import Grid
    from reports.grid_live import fill, tell
    from scenarios.matrix.cells import TOXICS, cells, not_applicable
    from scenarios.matrix.pairwise import covering
    from scenarios.matrix.run_cell import run_cell
    from scenarios.trials import Trial, trials

    _needs_wire_aware_proxy()
    system, seed = load_target(target), drawn_seed(seed)
    wanted = [edge.replace("-to-", "→") for edge in edges]
    all_known("edge", wanted, system.edges)
    all_known("toxic", toxics, TOXICS)
    chosen = covering(system.edges, seed) if pairwise else cells(system)
    chosen = [c for c in chosen if (not wanted or c.edge in wanted) and (not toxics or c.toxic in toxics)]
    grid = Grid("matrix", "edge", key="first towards the far end (↑ upstream), then from it (↓ downstream)")
    for cell in chosen:
        grid.add(cell.name, row=cell.edge, column=cell.toxic, not_applicable=not_applicable(cell))
    todo = [Trial(cell.name, partial(run_cell, cell)) for cell in chosen if not not_applicable(cell)]
    run = new_run(run_dir, seed)
    with trials(run, workers=workers, seed=seed, target=target, source_root=source_root) as at_work:
        took_s = fill(grid, _grid_steps(at_work, todo), Grid.live)
    tell(grid, run, file="matrix", seed=seed, took_s=took_s)
    _exit_with_trials(run)


@gauntlet.command("crash-sweep")
@WORKERS
@click.option("--service", "services", multiple=True, metavar="SERVICE", help="Kill only this one.")
@click.option("-k", "only", metavar="TEXT", default="", help="Only points whose names hold this text.")
@click.option("--list", "list_only", is_flag=True, help="Only say which points there are.")
@click.option("--times", type=click.IntRange(1), default=2, show_default=True, help="Record the points so often.")
@SEED
@RUN_DIR
@TARGET
@SOURCE_ROOT
@ENVIRONMENT
def crash_sweep(
    workers: int,
    services: tuple[str, ...],
    only: str,
    list_only: bool,
    times: int,
    seed: int | None,
    run_dir: Path | None,
    target: Path,
    source_root: Path,
) -> None:
    """Kill a service right before and right after all that it says or is told.

    Runs the chain of one lead undisturbed and records every commit, publish, confirm, delivery, ack, request and
    response; then runs it once for each of them and each side of it, with a SIGKILL at that very point. The points have
    to be the same each time they are recorded: exit code 1 if they are not.
    """
    from reports.grid import Grid
    from reports.grid_live import fill, tell
    from scenarios.crash_sweep.strike import NotTheSame, recorded, strike
    from scenarios.trials import Trial, trials

    _needs_wire_aware_proxy()
    seed = drawn_seed(seed)
    all_known("service", services, tuple(load_target(target).services))
    run = new_run(run_dir, seed)
    grid = Grid("crash sweep", "killed at")
    with trials(run, workers=workers, seed=seed, target=target, source_root=source_root) as at_work:
        try:
            points = recorded(at_work, times)
        except NotTheSame as differences:
            click.echo(f"gauntlet: {differences}", err=True)
            sys.exit(FAIL)
        points = [p for p in points if only in p.name and (not services or p.service in services)]
        if list_only:
            click.echo("\n".join([*(point.name for point in points), f"{len(points)} points, the same {times} times"]))
            sys.exit(PASS)
        for point in points:
            grid.add(point.name, row=point.place, column=point.when)
        todo = [Trial(point.name, partial(strike, point)) for point in points]
        took_s = fill(grid, _grid_steps(at_work, todo), Grid.progress)
    tell(grid, run, file="crash-sweep", seed=seed, took_s=took_s)
    _exit_with_trials(run)


def _needs_wire_aware_proxy() -> None:
    from harness.environment.servers import PROXY, chosen_proxy_server

    if chosen_proxy_server() != "wire":
        raise click.UsageError(f"this needs the proxy that reads the wire, and {PROXY} names another: {PROXY}=wire")


def _grid_steps(at_work: Trials, todo: Sequence[Trial]) -> Iterator[Step]:
    """Trials as they begin and end, as a grid takes them. What a trial says is the proof that its fault hit."""
    from scenarios.in_turn import in_turn

    for trial, result in in_turn(at_work, todo):
        if result is None:
            yield trial.name, None, "", 0.0
        else:
            yield trial.name, result.verdict, str(result.said or ""), result.took_s


def _exit_with_trials(run: Path) -> NoReturn:
    from scenarios.trials import conclude

    verdict = conclude(RunDirectory(run))
    if verdict.verdict != "pass":
        from reports.terminal import run_text

        click.echo(run_text(verdict, run))
    tell_page(run, verdict)
    sys.exit(BY_VERDICT[verdict.verdict])


@gauntlet.command()
@SEED
@click.option("--for", "for_s", type=Duration(), default="10m", show_default=True, help="How long: 90s, 10m, 1h.")
@WORKERS
@click.option("--schedules", type=click.IntRange(1), metavar="K", help="Run so many, if the time allows.")
@RUN_DIR
@click.option("--shrink-for", "shrink_for_s", type=Duration(), default="10m", show_default=True, help="At most.")
@click.option("--dry-run", is_flag=True, help="Print the schedules that would be run, and run none.")
@TARGET
@BUG
@SOURCE_ROOT
@ENVIRONMENT
def explore(
    seed: int | None,
    for_s: float,
    workers: int,
    schedules: int | None,
    run_dir: Path | None,
    shrink_for_s: float,
    dry_run: bool,
    target: Path,
    bug: str | None,
    source_root: Path,
) -> None:
    """Break it at random, by a seed.

    Draws schedules of faults and client steps and runs them, one after the other, until the time is over or one is red.
    That one is run again to see how often it is, shrunk, and written to findings/ as a file for gauntlet replay.
    """
    from rich.console import Console

    from harness.environment.servers import chosen_proxy_server
    from reports.explore_terminal import ExploreView, explored_text
    from scenarios.explore.explore import Exploration, Plan, drawn
    from scenarios.trials import trials

    seed = drawn_seed(seed)
    plan = Plan(
        seed=seed, for_s=for_s, schedules=schedules, target=load_target(target),
        on_the_wire=chosen_proxy_server() == "wire", shrink_for_s=shrink_for_s,
    )  # fmt: skip
    if dry_run:
        for text in drawn(plan):
            click.echo(text)
        return
    run_dir = new_run(run_dir, f"explore-{seed}")
    console = Console(highlight=False, markup=False)
    console.print(f"seed {seed}; evidence: {run_dir}")
    with (
        ExploreView(console, title="explore", for_s=for_s) as view,
        trials(
            run_dir, workers=workers, seed=seed, target=target, source_root=_code(run_dir, bug, target, source_root)
        ) as work,
    ):
        explored = Exploration(plan, work, view).run()
    for text in explored_text(explored):
        console.print(text, soft_wrap=True)
    tell_page(run_dir)
    if explored.interrupted:
        sys.exit(INTERRUPTED)
    sys.exit(FAIL if explored.found else UNKNOWN if explored.unknown else PASS)


@gauntlet.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--times", type=click.IntRange(1), default=1, show_default=True, help="Run it so often.")
@WORKERS
@RUN_DIR
@TARGET
@BUG
@SOURCE_ROOT
@ENVIRONMENT
def replay(
    file: Path,
    times: int,
    workers: int,
    run_dir: Path | None,
    target: Path,
    bug: str | None,
    source_root: Path,
) -> None:
    """Run one schedule from its file.

    As exploring found it, or as somebody wrote it. Says how often each property failed; exit code 1 if any run was red.
    """
    from rich.console import Console

    from chaos.schedule.checking import check as check_schedule
    from chaos.schedule.schedule import ScheduleError, read_schedule
    from reports.explore_terminal import ExploreView, replayed_table
    from reports.terminal import scenario_text
    from scenarios.explore.explore import replay as run_again
    from scenarios.trials import trials

    try:
        schedule = read_schedule(file)
        check_schedule(schedule, load_target(target))
    except ScheduleError as error:
        raise click.UsageError(str(error)) from None
    directory = new_run(run_dir, "replay")
    console = Console(highlight=False, markup=False)
    console.print(f"evidence: {directory}")
    code, workers = _code(directory, bug, target, source_root), min(workers, times)
    with (
        ExploreView(console, title=file.name) as view,
        trials(directory, workers=workers, seed=schedule.seed, target=target, source_root=code) as work,
    ):
        ran = run_again(schedule, times, work, view)
    red = next((one for one in ran if one.verdict == "fail"), None)
    if red is not None:
        from harness.checks.judge import ScenarioVerdict
        from harness.evidence.run_directory import read_json

        verdict = read_json(RunDirectory(directory).scenario(red.name).verdict_file, ScenarioVerdict)
        console.print(scenario_text(verdict, directory), soft_wrap=True)
    console.print(replayed_table(ran))
    tell_page(directory)
    verdicts = {one.verdict for one in ran}
    sys.exit(FAIL if "fail" in verdicts else UNKNOWN if "unknown" in verdicts else PASS)


def _code(run_dir: Path, bug: str | None, target: Path, source_root: Path) -> Path:
    """Where the system's code is: as it is, elsewhere, or a copy with a bug planted."""
    from chaos.seeded_bugs.catalogue import load_catalogue, plant

    if bug is None:
        return source_root.resolve()
    system = load_target(target)
    known = load_catalogue(PROJECT_ROOT / system.bugs)
    if bug not in known:
        raise click.UsageError(f"no bug {bug!r} in the catalogue; there are: {', '.join(known)}")
    return plant(known[bug], source_root.resolve(), run_dir / "source", system.source)


@gauntlet.command()
@SEED
@click.option("--requests", default=2_000, show_default=True, help="Send at least so many, over all operations.")
@RUN_DIR
@TARGET
@ENVIRONMENT
def fuzz(seed: int | None, requests: int, run_dir: Path | None, target: Path) -> None:
    """Fuzz the services by their OpenAPI documents.

    Boots a stack and lets Schemathesis loose on it, with all checks on. Then the log has to keep its contract.
    """
    from reports.terminal import fuzz_text
    from scenarios.fuzz import fuzz as let_loose

    seed = drawn_seed(seed)
    click.echo(f"seed {seed}")
    report = let_loose(
        load_target(target), run_dir=(run_dir or new_run_path(seed)).resolve(), seed=seed, requests=requests
    )
    mistakes = report.mistakes(requests_at_least=requests)
    click.echo(fuzz_text(report.requests, report.server_errors, report.log_lines, mistakes))
    sys.exit(FAIL if mistakes else PASS)
