"""The door for people: ``gauntlet …``. Exit codes: 0 pass, 1 fail, 2 unknown, 3 wrong usage, 4 no environment."""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import msgspec

# What a command needs alone it imports itself: ``gauntlet --help`` is there at once, and an audit stays small.
from harness.environment.failures import EnvironmentFailed
from harness.evidence.run_directory import EvidenceError, RunDirectory, new_run_path
from harness.target import DEFAULT_TARGET, PROJECT_ROOT, TargetError, load_target

if TYPE_CHECKING:
    from harness.audit.engines import EngineName
    from harness.checks.verdict import Property
    from harness.contract.exported import Contract
    from reports.grid_live import Step
    from scenarios.trials import Trial, Trials

PASS, FAIL, UNKNOWN, USAGE, NO_ENVIRONMENT, INTERRUPTED = 0, 1, 2, 3, 4, 130
_BY_VERDICT = {"pass": PASS, "fail": FAIL, "unknown": UNKNOWN}

RUN = click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def gauntlet() -> None:
    """Prove that an event-driven CRM keeps its promises while things break.

    Exit codes: 0 pass, 1 fail, 2 unknown, 3 wrong usage, 4 the environment did not come up.
    """


@gauntlet.command()
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("-n", "--workers", default=2, show_default=True, help="Stacks to run scenarios on side by side.")
@click.option("-k", "only", metavar="EXPRESSION", help="Only scenarios whose names match (as in pytest).")
@click.option("-q", "--quiet", is_flag=True, help="One line a scenario file, and the verdict.")
@click.option("--nightly", is_flag=True, help="Also those scenarios that take long.")
@click.option("--seed", type=int, help="Seed of the run; drawn if not given.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the evidence goes (default: runs/TIME-SEED).")
@click.option("--target", type=click.Path(path_type=Path), default=DEFAULT_TARGET, help="The system, as a TOML file.")
@click.option("--source-root", type=click.Path(path_type=Path), default=PROJECT_ROOT, help="Folder with its code.")
def gate(
    pytest_arguments: tuple[str, ...],
    workers: int,
    only: str | None,
    quiet: bool,
    nightly: bool,
    seed: int | None,
    run_dir: Path | None,
    target: Path,
    source_root: Path,
) -> None:
    """Run all scenarios and judge them.

    Each worker boots a stack of its own. Every property judges every scenario. The evidence stays in the run directory.
    What follows a lone -- is passed on to pytest: gauntlet gate -- --outage-s 30
    """
    import pytest

    from harness.environment.servers import find_servers

    load_target(target)
    find_servers()
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    run_dir = run_dir or new_run_path(seed)
    if (run_dir / "run.json").exists():
        raise click.UsageError(f"{run_dir} holds a run already: give a new folder, or gauntlet check {run_dir}")
    arguments = [
        str(PROJECT_ROOT / "scenarios"), f"--rootdir={PROJECT_ROOT}", f"--run-dir={run_dir}", f"--target={target}",
        f"--source-root={source_root}", f"--seed={seed}", "-p", "no:cacheprovider",
        "-p", "no:hypothesispytest",  # no scenario needs it, and every process of pytest would wait a second for it
    ]  # fmt: skip
    arguments += ["-k", only] if only else ["--whole"]
    arguments += ["-q"] if quiet else []
    arguments += ["--nightly"] if nightly else []
    arguments += ["-n", str(workers), "--dist", "worksteal"] if workers > 1 else []
    arguments += pytest_arguments
    sys.exit(_exit_code(int(pytest.main(arguments)), RunDirectory(run_dir)))


def _exit_code(pytest_code: int, run: RunDirectory) -> int:
    """pytest knows whether tests failed; the run's verdict knows failed from unknown."""
    import pytest

    from harness.checks.run_verdict import summarise

    if pytest_code == pytest.ExitCode.INTERRUPTED:
        return INTERRUPTED
    if (run.root / "environment-failure.txt").exists():
        click.echo((run.root / "environment-failure.txt").read_text(encoding="utf-8"), err=True)
        return NO_ENVIRONMENT
    if pytest_code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        return USAGE
    if pytest_code == pytest.ExitCode.OK:
        return PASS
    verdict = summarise(run).verdict if run.run_file.exists() else "unknown"
    return _BY_VERDICT[verdict] or FAIL


WORKERS = click.option("-n", "--workers", type=click.IntRange(1), default=2, show_default=True, help="Stacks at work.")
SEED = click.option("--seed", type=int, help="Seed of the run; drawn if not given.")
RUN_DIR = click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Where the evidence goes (default: runs/TIME-SEED)."
)
SOURCE_ROOT = click.option(
    "--source-root", type=click.Path(path_type=Path), default=PROJECT_ROOT, help="Folder with the system's code."
)


@gauntlet.command()
@WORKERS
@click.option("--edge", "edges", multiple=True, metavar="EDGE", help="Only this one: crm→broker, or crm-to-broker.")
@click.option("--toxic", "toxics", multiple=True, metavar="TOXIC", help="Only this one: latency.")
@click.option("--pairwise", is_flag=True, help="The part of it that a gate runs: every two factors meet.")
@SEED
@RUN_DIR
@SOURCE_ROOT
def matrix(
    workers: int,
    edges: tuple[str, ...],
    toxics: tuple[str, ...],
    pairwise: bool,
    seed: int | None,
    run_dir: Path | None,
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
    target, seed = load_target(), _drawn(seed)
    wanted = [edge.replace("-to-", "→") for edge in edges]
    _all_known("edge", wanted, target.edges)
    _all_known("toxic", toxics, TOXICS)
    chosen = covering(target.edges, seed) if pairwise else cells(target)
    chosen = [c for c in chosen if (not wanted or c.edge in wanted) and (not toxics or c.toxic in toxics)]
    grid = Grid("matrix", "edge", key="first towards the far end (↑ upstream), then from it (↓ downstream)")
    for cell in chosen:
        grid.add(cell.name, row=cell.edge, column=cell.toxic, not_applicable=not_applicable(cell))
    todo = [Trial(cell.name, partial(run_cell, cell)) for cell in chosen if not not_applicable(cell)]
    run = _new_run(run_dir, seed)
    with trials(run, workers=workers, seed=seed, source_root=source_root) as at_work:
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
@SOURCE_ROOT
def crash_sweep(
    workers: int,
    services: tuple[str, ...],
    only: str,
    list_only: bool,
    times: int,
    seed: int | None,
    run_dir: Path | None,
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
    seed = _drawn(seed)
    _all_known("service", services, tuple(load_target().services))
    run = _new_run(run_dir, seed)
    grid = Grid("crash sweep", "killed at")
    with trials(run, workers=workers, seed=seed, source_root=source_root) as at_work:
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


def _drawn(seed: int | None) -> int:
    return random.SystemRandom().randrange(1_000_000) if seed is None else seed


def _new_run(run_dir: Path | None, seed: int) -> Path:
    run = (run_dir or new_run_path(seed)).resolve()
    if (run / "run.json").exists():
        raise click.UsageError(f"{run} holds a run already: give a new folder, or gauntlet check {run}")
    return run


def _all_known(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Raises UsageError for one that there is not."""
    for one in given:
        if one not in known:
            raise click.UsageError(f"no {what} {one!r}; there are: {', '.join(known)}")


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
    sys.exit(_BY_VERDICT[verdict.verdict])


@gauntlet.command()
@RUN
@click.option("--json", "as_json", is_flag=True, help="The whole verdict as JSON.")
@click.option("--property", "name", help="Ask this property alone; verdicts are not written then.")
def check(run: Path | None, as_json: bool, name: str | None) -> None:
    """Judge an old run again, without any system.

    Uses today's checks on the evidence in the run directory. Default: the newest run in runs/.
    """
    from harness.checks.run_verdict import rejudge
    from reports.terminal import run_text

    directory = RunDirectory(run or _newest_run())
    gc.disable()  # nothing that is read here becomes garbage before the end
    verdict = rejudge(directory, only=_property(name) if name else None, on_scenario=_Patience())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(verdict), indent=2))
    else:
        click.echo(run_text(verdict, directory.root))
    sys.exit(_BY_VERDICT[verdict.verdict])


def _property(name: str) -> Property:
    from harness.checks import ALL

    known = {prop.name: prop for prop in ALL}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        raise click.UsageError(f"no property {name!r}; {hint}")
    return known[name]


class _Patience:
    """Tells how far long work has come: after two seconds, and then once a second."""

    def __init__(self) -> None:
        self._told = time.monotonic() + 1

    def __call__(self, done: int, of: int) -> None:
        if time.monotonic() - self._told >= 1:
            self._told = time.monotonic()
            _progress(f"{done} of {of} scenarios judged")


@gauntlet.command()
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where figures and logs go (default: runs/…-bench).")
def bench(run_dir: Path | None) -> None:
    """Measure the speed of the reference CRM.

    PATCHes against pgbench, the relay against a bare publisher, PATCH → deal end to end. Takes less than three
    minutes. Exit code 1 if a target is missed.
    """
    from rich.console import Console

    from scenarios.bench.run import bench as run_bench
    from scenarios.bench.run import table

    directory = (run_dir or new_run_path("bench")).resolve()
    done = run_bench(directory, _progress)
    Console().print(table(done))
    click.echo(f"every sample: {directory / 'bench.json'}")
    sys.exit(PASS if done.met else FAIL)


@gauntlet.command("bench-audit")
@click.option("--lines", default=2_000_000, show_default=True, help="Lines of the log that all read.")
@click.option("--many", default=10_000_000, show_default=True, help="Lines of the log for memory alone; 0: none.")
def bench_audit(lines: int, many: int) -> None:
    """Measure the speed of an audit.

    Against those who only parse (msgspec, orjson, DuckDB), and whether it finds all that was planted, and nothing else.
    Takes some minutes, and room for the logs in TMPDIR: 550 bytes a line. Exit code 1 if a target is missed.
    """
    from rich.console import Console

    from scenarios.bench.audit import bench_audit as measure
    from scenarios.bench.audit import table

    done = measure(_progress, lines=lines, many_lines=many)
    Console().print(table(done))
    sys.exit(PASS if done.met else FAIL)


@gauntlet.command("bench-judge")
@click.option("--operations", default=100_000, show_default=True, help="So many, with ten log lines each.")
def bench_judge(operations: int) -> None:
    """Measure how long judging takes.

    Writes a run in which all is well, and checks it. Exit code 1 if that takes more than 15 s or 1 GB.
    """
    from scenarios.bench.judge import measure

    done = measure(_progress, operations=operations)
    click.echo(str(done))
    sys.exit(PASS if done.met else FAIL)


@gauntlet.command("bench-proxy")
def bench_proxy() -> None:
    """Measure what the fault proxy costs.

    Added round trips and the speed of one stream, beside a bare relay and toxiproxy-server; takes less than a minute.
    Exit code 1 if a target is missed.
    """
    from rich.console import Console

    from scenarios.bench.proxy import measure, table

    done = measure(_progress)
    Console().print(table(done))
    sys.exit(PASS if done.met else FAIL)


@gauntlet.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("correlation_id")
def show(run: Path, correlation_id: str) -> None:
    """Print one flow of a run as a tree, and what the other witnesses say of it.

    The beginning of a correlation id will do, if no other flow begins so.
    """
    from harness.checks.one_flow import find_flow
    from reports.one_flow import flow_text

    flow = find_flow(RunDirectory(run), correlation_id)
    for text in flow_text(flow):
        click.echo(text)


@gauntlet.command()
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where logs and credentials go (default: runs/…-up).")
@click.option("--target", type=click.Path(path_type=Path), default=DEFAULT_TARGET, help="The system, as a TOML file.")
def up(run_dir: Path | None, target: Path) -> None:
    """Boot a stack and keep it.

    Prints every address and credential. End it with: gauntlet down.
    """
    from harness.environment.native import up as boot_and_keep
    from reports.terminal import stack_text

    directory = (run_dir or new_run_path("up")).resolve()
    stack = boot_and_keep(load_target(target), run_dir=directory, name="up", on_step=_progress)
    click.echo(stack_text(stack))


@gauntlet.command()
@RUN
def down(run: Path | None) -> None:
    """End a stack that is kept up.

    The stacks of the run directory RUN, or else the newest one that is up. Nothing is left behind.
    """
    from harness.environment.native import down as end_stacks

    ended = end_stacks(run)
    for file in ended:
        click.echo(f"ended: {file}")
    if not ended:
        click.echo("no stack is up")


BUG = click.option("--bug", metavar="ID", help="Plant this bug of chaos/seeded_bugs/catalogue.toml into a copy.")
SOURCE_ROOT = click.option(
    "--source-root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the system's code.",
)
STACKS = click.option(
    "-n", "--workers", type=click.IntRange(1), default=2, show_default=True, help="Stacks side by side."
)


class _Duration(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """90s, 10m, 1h; a bare number is seconds."""

    name = "duration"

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> float:
        number, unit = (str(value)[:-1], str(value)[-1:]) if str(value)[-1:] in "smh" else (str(value), "s")
        try:
            seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < 1e6:
            self.fail(f"{value!r} is no duration: expected one such as 90s, 10m or 1h", parameter, context)
        return seconds


@gauntlet.command()
@click.option("--seed", type=int, help="Seed of the schedules; drawn if not given.")
@click.option("--for", "for_s", type=_Duration(), default="10m", show_default=True, help="How long: 90s, 10m, 1h.")
@STACKS
@click.option("--schedules", type=click.IntRange(1), metavar="K", help="Run so many, if the time allows.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the evidence goes (default: runs/…).")
@click.option("--shrink-for", "shrink_for_s", type=_Duration(), default="10m", show_default=True, help="At most.")
@click.option("--dry-run", is_flag=True, help="Print the schedules that would be run, and run none.")
@click.option("--target", type=click.Path(path_type=Path), default=DEFAULT_TARGET, help="The system, as a TOML file.")
@BUG
@SOURCE_ROOT
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
    source_root: Path | None,
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

    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    plan = Plan(
        seed=seed, for_s=for_s, schedules=schedules, target=load_target(target),
        on_the_wire=chosen_proxy_server() == "wire", shrink_for_s=shrink_for_s,
    )  # fmt: skip
    if dry_run:
        for text in drawn(plan):
            click.echo(text)
        return
    run_dir = _fresh(run_dir or new_run_path(f"explore-{seed}"))
    console = Console(highlight=False, markup=False)
    console.print(f"seed {seed}; evidence: {run_dir}")
    with (
        ExploreView(console, title="explore", for_s=for_s) as view,
        trials(
            run_dir, workers=workers, seed=seed, target=target, source_root=_code(run_dir, bug, source_root)
        ) as work,
    ):
        explored = Exploration(plan, work, view).run()
    for text in explored_text(explored):
        console.print(text, soft_wrap=True)
    if explored.interrupted:
        sys.exit(INTERRUPTED)
    sys.exit(FAIL if explored.found else UNKNOWN if explored.unknown else PASS)


@gauntlet.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--times", type=click.IntRange(1), default=1, show_default=True, help="Run it so often.")
@STACKS
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the evidence goes (default: runs/…-replay).")
@click.option("--target", type=click.Path(path_type=Path), default=DEFAULT_TARGET, help="The system, as a TOML file.")
@BUG
@SOURCE_ROOT
def replay(
    file: Path,
    times: int,
    workers: int,
    run_dir: Path | None,
    target: Path,
    bug: str | None,
    source_root: Path | None,
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
    directory = _fresh(run_dir or new_run_path("replay"))
    console = Console(highlight=False, markup=False)
    console.print(f"evidence: {directory}")
    code, workers = _code(directory, bug, source_root), min(workers, times)
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
    verdicts = {one.verdict for one in ran}
    sys.exit(FAIL if "fail" in verdicts else UNKNOWN if "unknown" in verdicts else PASS)


def _fresh(run_dir: Path) -> Path:
    if (run_dir / "run.json").exists():
        raise click.UsageError(f"{run_dir} holds a run already: give a new folder")
    return run_dir.resolve()


def _code(run_dir: Path, bug: str | None, source_root: Path | None) -> Path:
    """Where the system's code is: as it is, elsewhere, or a copy with a bug planted."""
    from chaos.seeded_bugs.catalogue import load_catalogue, plant

    if bug is None:
        return (source_root or PROJECT_ROOT).resolve()
    known = load_catalogue()
    if bug not in known:
        raise click.UsageError(f"no bug {bug!r} in the catalogue; there are: {', '.join(known)}")
    return plant(known[bug], (source_root or PROJECT_ROOT).resolve(), run_dir / "source")


@gauntlet.command()
@click.option("--seed", type=int, help="Seed of the requests; drawn if not given.")
@click.option("--requests", default=2_000, show_default=True, help="Send at least so many, over all operations.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the logs go (default: runs/TIME-SEED).")
@click.option("--target", type=click.Path(path_type=Path), default=DEFAULT_TARGET, help="The system, as a TOML file.")
def fuzz(seed: int | None, requests: int, run_dir: Path | None, target: Path) -> None:
    """Fuzz the services by their OpenAPI documents.

    Boots a stack and lets Schemathesis loose on it, with all checks on. Then the log has to keep its contract.
    """
    from reports.terminal import fuzz_text
    from scenarios.fuzz import fuzz as let_loose

    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    click.echo(f"seed {seed}")
    report = let_loose(
        load_target(target), run_dir=(run_dir or new_run_path(seed)).resolve(), seed=seed, requests=requests
    )
    mistakes = report.mistakes(requests_at_least=requests)
    click.echo(fuzz_text(report.requests, report.server_errors, report.log_lines, mistakes))
    sys.exit(FAIL if mistakes else PASS)


@gauntlet.command()
@click.option("--install", is_flag=True, help="Install what is missing: with apt-get where we may, and go install.")
def servers(install: bool) -> None:
    """Find (or install) the native servers.

    Says what the doctor says; with --install, after it has provided what is missing and can be.
    """
    from harness.environment.provide import provide

    if install:
        provide(on_step=_progress)
    sys.exit(_say_what_is_there())


@gauntlet.command()
def doctor() -> None:
    """Say what a stack would be made of here, and why.

    Each program with its version and place, which proxy server is in use, and what is missing with the command that
    mends it. Exit code 4 if no stack could be booted.
    """
    sys.exit(_say_what_is_there())


def _say_what_is_there() -> int:
    from harness.environment.servers import chosen_proxy_server, look_around
    from reports.terminal import programs_text

    programs = list(look_around().values())
    click.echo(programs_text(programs, chosen_proxy_server()))
    return PASS if all(one.usable or not one.needed for one in programs) else NO_ENVIRONMENT


@gauntlet.command()
@RUN
@click.option("--json", "as_json", is_flag=True, help="Every count as JSON.")
def coverage(run: Path | None, as_json: bool) -> None:
    """Say how much of the contract a run exercised.

    Kinds, statuses, fields that may be null, causal edges, faults by edge. What was never seen is reported, not failed.
    Default: the newest run in runs/.
    """
    from rich.console import Console

    from harness.checks.coverage import coverage_of
    from reports.coverage_text import coverage_tables

    seen = coverage_of(RunDirectory(run or _newest_run()))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(seen), indent=2))
        return
    console = Console(highlight=False, markup=False)
    for part in coverage_tables(seen):
        console.print(part)


@gauntlet.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("-j", "--processes", type=click.IntRange(1), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--engine",
    "engine_name",
    type=click.Choice(["processes", "ray"]),
    default="processes",
    show_default=True,
    help="Where they run. ray: on the cluster that RAY_ADDRESS names, or one of this machine.",
)
@click.option("--mapping", type=click.Path(path_type=Path), help="For logs of another system: its fields, as TOML.")
@click.option(
    "--grace",
    "grace_s",
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="An open flow this young at the end of the log is in flight, not broken.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Where the findings go (default: stdout).")
def audit(
    files: tuple[str, ...],
    processes: int,
    engine_name: EngineName,
    mapping: Path | None,
    grace_s: float,
    out: Path | None,
) -> None:
    """Check logs of any size, without the system.

    Every line against the contract, every process's seq for lost, repeated and moved lines, every flow for a missing
    step. Several FILEs are merged by time; a .gz, a .zst and - (standard input) are unpacked into TMPDIR first.
    Findings go to stdout, one JSON object a line; progress and summary to stderr.

    Exit codes: 0 pass, 1 findings, 2 unknown (lines were lost, or interrupted), 3 wrong usage.
    """
    from harness.audit.engines import EngineError
    from harness.audit.mapping import MappingError, load_mapping
    from harness.audit.sources import SourceError
    from reports.audit_terminal import run_audit

    try:
        table = load_mapping(mapping) if mapping else None
        with out.open("wb") if out else nullcontext(sys.stdout.buffer) as file:
            report, whole = run_audit(
                files, file, processes=processes, engine_name=engine_name, mapping=table, grace_s=grace_s
            )  # fmt: skip
    except (EngineError, MappingError, SourceError) as error:
        raise click.UsageError(str(error)) from error
    sys.exit(_BY_VERDICT[report.verdict] if whole else UNKNOWN)


@gauntlet.group()
def contract() -> None:
    """The contract as files: export it, compare versions."""


SCHEMA = click.Path(exists=True, dir_okay=False, path_type=Path)


@contract.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=PROJECT_ROOT / "docs" / "contract",
    help="Folder for the files (default: docs/contract).",
)  # fmt: skip
def export(out: Path) -> None:
    """Write JSON Schema and Markdown.

    Both are made from the structs in harness/contract, the same bytes each time.
    """
    _write_contract(out)


@contract.command()
@click.argument("old", type=SCHEMA)
@click.argument("new", type=SCHEMA, required=False)
def diff(old: Path, new: Path | None) -> None:
    """Compare two exported schemas.

    Says of each change whether it is additive or breaking. Exit code 1 if the step of the version does not allow them:
    what breaks needs a new major version, what adds a new minor one. Default for NEW: the contract as it is today.
    """
    from rich.console import Console

    from harness.contract.diff import diff as compare
    from harness.contract.exported import NoContract, todays
    from reports.contract_text import diff_table, diff_verdict

    before = _contract_in(old)
    try:
        compared = compare(before, _contract_in(new) if new else todays(before.name))
    except NoContract as problem:
        raise click.UsageError(f"{old}: {problem}") from None
    if compared.changes:
        Console(highlight=False, markup=False).print(diff_table(compared))
    click.echo(diff_verdict(compared))
    sys.exit(PASS if compared.compatible else FAIL)


@gauntlet.command()
@RUN
@click.option(
    "--tested", type=click.Path(path_type=Path), default=PROJECT_ROOT / "runs" / "tested.json",
    help="What a whole make test has left (default: runs/tested.json).",
)  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=PROJECT_ROOT / "docs", help="Folder.")
def docs(run: Path | None, tested: Path, out: Path) -> None:
    """Write the generated pages anew.

    docs/properties.md, from what properties answered in the tests and in the newest whole run (or in RUN), and the
    contract's files in docs/contract.
    """
    from reports.properties_page import properties_page, read_tested, read_verdicts

    page = properties_page(read_tested(tested), read_verdicts(RunDirectory(run or _newest_run(whole=True))))
    out.mkdir(parents=True, exist_ok=True)
    (out / "properties.md").write_text(page, encoding="utf-8")
    click.echo(f"written: {out / 'properties.md'}")
    _write_contract(out / "contract")


def _write_contract(folder: Path) -> None:
    from harness.contract.markdown import artifacts

    folder.mkdir(parents=True, exist_ok=True)
    for name, content in artifacts().items():
        (folder / name).write_bytes(content)
        click.echo(f"written: {folder / name}")


def _contract_in(file: Path) -> Contract:
    from harness.contract.exported import NoContract, read_contract

    try:
        return read_contract(file.read_bytes())
    except NoContract as problem:
        raise click.UsageError(f"{file} is no exported contract: {problem}") from None


def _progress(step: str) -> None:
    click.echo(f"… {step}", err=True)


def _newest_run(*, whole: bool = False) -> Path:
    """The run begun last; with ``whole``, the last full gate."""
    from harness.checks.run_verdict import RunRecord
    from harness.evidence.run_directory import read_json

    runs = sorted((Path.cwd() / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    if whole:
        runs = [path for path in runs if read_json(path, RunRecord).whole]
    if not runs:
        what, how = ("whole run", "make gate") if whole else ("run", "gauntlet gate")
        raise click.UsageError(f"no {what} in {Path.cwd() / 'runs'}: name one, or make one with {how}")
    return runs[-1].parent


def main() -> None:
    """Entry point: turns what went wrong into one clear message and the right exit code."""
    try:
        gauntlet.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except (TargetError, EvidenceError) as error:
        click.echo(f"gauntlet: {error}", err=True)
        sys.exit(USAGE)
    except EnvironmentFailed as error:
        click.echo(f"gauntlet: {error}", err=True)
        sys.exit(NO_ENVIRONMENT)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
