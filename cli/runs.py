"""A run and its verdict: gate, check, show, coverage."""

from __future__ import annotations

import gc
import sys
import time
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cli.door import BY_VERDICT, FAIL, INTERRUPTED, NO_ENVIRONMENT, PASS, USAGE, gauntlet
from cli.options import (
    ENVIRONMENT,
    GATE_WORKERS,
    RUN,
    RUN_DIR,
    SEED,
    SOURCE_ROOT,
    TARGET,
    drawn_seed,
    new_run,
    newest_run,
    progress,
)

# What a command needs alone it imports itself: ``gauntlet --help`` is there at once, and an audit stays small.
from harness.evidence.run_directory import ENVIRONMENT_FAILURE, RunDirectory
from harness.target import PROJECT_ROOT, load_target

if TYPE_CHECKING:
    from harness.checks.verdict import Property


@gauntlet.command()
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
@GATE_WORKERS
@click.option("-k", "only", metavar="EXPRESSION", help="Only scenarios whose names match (as in pytest).")
@click.option("-q", "--quiet", is_flag=True, help="No line for what is green: only what is not, and the verdict.")
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON on stdout; all else goes to stderr.")
@click.option("--nightly", is_flag=True, help="Also those scenarios that take long.")
@click.option(
    "--allow-destructive", is_flag=True, help="An external system is ours alone: empty it, add rules, plant messages."
)
@ENVIRONMENT
@click.option("--schedules", type=click.IntRange(0), default=0, metavar="N", help="Also N drawn schedules of chaos.")
@SEED
@RUN_DIR
@TARGET
@SOURCE_ROOT
def gate(
    pytest_arguments: tuple[str, ...],
    workers: int,
    only: str | None,
    quiet: bool,
    as_json: bool,
    nightly: bool,
    allow_destructive: bool,
    schedules: int,
    seed: int | None,
    run_dir: Path | None,
    target: Path,
    source_root: Path,
) -> None:
    """Run all scenarios and judge them.

    Each worker boots a stack of its own. Every property judges every scenario. The evidence stays in the run directory.
    A system that somebody else runs (docs/external.md) is spoken to as its target file says, and never booted.
    On a terminal you see what each worker is at, and what is broken right now. For CI there are junit.xml and
    summary.md beside the evidence, and annotations where GITHUB_ACTIONS says so.

    What follows a lone -- is passed on to pytest: gauntlet gate -- --outage-s 30
    """
    import pytest

    from cli.gate_progress import GateProgress, past_pytest
    from harness.environment.choice import provide_for_a_run

    system = load_target(target)
    if system.external:
        workers = 1  # there is one system
    elif allow_destructive:
        raise click.UsageError(f"--allow-destructive is about external systems, and {target} is booted for this run")
    provide_for_a_run(progress, system)
    seed = drawn_seed(seed)
    run_dir = new_run(run_dir, seed)
    arguments = [
        str(PROJECT_ROOT / "scenarios"), f"--rootdir={PROJECT_ROOT}", f"--run-dir={run_dir}", f"--target={target}",
        f"--source-root={source_root}", f"--seed={seed}", "-p", "no:cacheprovider",
        # no scenario needs these, and every process of pytest would wait for them, for a second and for a tenth of it
        "-p", "no:hypothesispytest", "-p", "no:anyio",
        "--no-header", "--tb=short", "-rN", "-o", "console_output_style=classic",  # cli.gate_progress tells the rest
    ]  # fmt: skip
    arguments += ["-k", only] if only else ["--whole"]
    arguments += ["-q"] if quiet else []
    arguments += ["--nightly"] if nightly else []
    arguments += ["--allow-destructive"] if allow_destructive else []
    arguments += [f"--schedules={schedules}"]
    arguments += ["-n", str(workers), "--dist", "worksteal"] if workers > 1 else []
    arguments += pytest_arguments
    run = RunDirectory(run_dir)
    with past_pytest(to_stderr=as_json) as console:
        watcher = GateProgress(run, console, quiet=quiet)
        code = int(pytest.main(arguments, plugins=[watcher]))
        code = INTERRUPTED if watcher.ended_by_hand else _exit_code(code, run)
    if as_json:
        click.echo(_as_json(run, code))
    sys.exit(code)


def _as_json(run: RunDirectory, exit_code: int) -> bytes:
    """What check --json says, with the place of the run and the code with which the gate ends."""
    judged = run.verdict_file.exists()
    verdict = msgspec.json.decode(run.verdict_file.read_bytes()) if judged else {"verdict": "unknown"}
    return msgspec.json.format(msgspec.json.encode({"run": str(run.root), "exit_code": exit_code} | verdict), indent=2)


def _exit_code(pytest_code: int, run: RunDirectory) -> int:
    """pytest knows whether tests failed; the run's verdict knows failed from unknown."""
    import pytest

    from harness.checks.run_verdict import summarise

    if (run.root / ENVIRONMENT_FAILURE).exists():  # which interrupts pytest too
        click.echo((run.root / ENVIRONMENT_FAILURE).read_text(encoding="utf-8"), err=True)
        return NO_ENVIRONMENT
    if pytest_code == pytest.ExitCode.INTERRUPTED:
        return INTERRUPTED
    if pytest_code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        return USAGE
    if pytest_code == pytest.ExitCode.OK:
        return PASS
    verdict = summarise(run).verdict if run.run_file.exists() else "unknown"
    return BY_VERDICT[verdict] or FAIL


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

    directory = RunDirectory(run or newest_run())
    gc.disable()  # nothing that is read here becomes garbage before the end
    verdict = rejudge(directory, only=_property(name) if name else None, on_scenario=_Patience())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(verdict), indent=2))
    else:
        click.echo(run_text(verdict, directory.root))
    sys.exit(BY_VERDICT[verdict.verdict])


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
            progress(f"{done} of {of} scenarios judged")


@gauntlet.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("correlation_id")
@click.option("--svg", "file", is_flag=False, flag_value="-", metavar="[FILE]", help="Draw it instead (- is stdout).")
def show(run: Path, correlation_id: str, file: str | None) -> None:
    """Print one flow of a run as a tree, and what the other witnesses say of it.

    The beginning of a correlation id will do, if no other flow begins so. With --svg at the end, its waterfall: what
    was work and what was waiting, under which faults, and what is missing.
    """
    from harness.checks.one_flow import find_flow
    from reports.one_flow import flow_text

    flow = find_flow(RunDirectory(run), correlation_id)
    if file:
        from harness.trace.waterfall import waterfall
        from reports.page.picture import svg

        drawn = svg(waterfall(flow.evidence, flow.correlation_id, flow.judged), alone=True)
        with click.open_file(file, "w", encoding="utf-8") as out:
            out.write(f"{drawn}\n")
        return
    for text in flow_text(flow):
        click.echo(text)


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

    seen = coverage_of(RunDirectory(run or newest_run()))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(seen), indent=2))
        return
    console = Console(highlight=False, markup=False)
    for part in coverage_tables(seen):
        console.print(part)
