"""Load: load, load-worker, and what they cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cli.door import BY_VERDICT, FAIL, NO_ENVIRONMENT, PASS, gauntlet
from cli.options import RUN_DIR, SEED, SOURCE_ROOT, TARGET, Duration, drawn_seed, new_run, progress
from harness.evidence.run_directory import new_run_path
from harness.target import PROJECT_ROOT, load_target

if TYPE_CHECKING:
    from chaos.schedule.schedule import Schedule
    from harness.load.baseline import Baseline
    from scenarios.load.run import Judged

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PORT = 5557
"""Where masters and workers of Locust meet, if nobody says otherwise."""


@gauntlet.command()
@click.argument("profile")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Its highest rate, a second; all others with it."
)
@click.option("--for", "for_s", type=Duration(), help="How long it lasts: 90s, 10m, 1h.")
@SEED
@click.option("--chaos", type=FILE, help="Run this schedule of faults (as for gauntlet replay) beside it.")
@click.option("--ui", is_flag=True, help="With Locust's page, whose address is printed.")
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, help="So many send the requests.")
@click.option("--expect-workers", type=click.IntRange(1), help="So many workers are started by others, and awaited.")
@click.option("--bind", default="127.0.0.1", show_default=True, help="Where workers reach the master.")
@click.option("--port", type=int, default=PORT, show_default=True, help="The same, with --expect-workers.")
@click.option("--profiles", type=FILE, help="Profiles of your own, as TOML.")
@click.option("--gates", type=FILE, help="Gates of your own, as TOML.")
@click.option("--baseline", type=click.Path(exists=True, path_type=Path), help="A run, or a file of --save-baseline.")
@click.option("--save-baseline", type=click.Path(path_type=Path), help="Write what later runs can be compared with.")
@click.option("--evidence/--no-evidence", default=True, help="Without it, no property judges; and it costs less.")
@TARGET
@SOURCE_ROOT
@RUN_DIR
@click.option("--json", "as_json", is_flag=True, help="The whole result as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Only the end.")
def load(
    profile: str,
    rate: float | None,
    for_s: float | None,
    seed: int | None,
    chaos: Path | None,
    ui: bool,
    processes: int,
    expect_workers: int | None,
    bind: str,
    port: int,
    profiles: Path | None,
    gates: Path | None,
    baseline: Path | None,
    save_baseline: Path | None,
    evidence: bool,
    target: Path,
    source_root: Path,
    run_dir: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run a load profile and judge it.

    Boots a stack, sends what the PROFILE says (smoke, average, stress, spike, soak, breakpoint, backlog, drain,
    race_storm), waits until all is worked off, and judges: the gates, all properties, and an audit of the whole log.
    Latencies count from when a request was meant to begin. Exit code 2 if the generator was late: that proves nothing.
    """
    from rich.console import Console

    from harness.load.gate_language import GateError
    from harness.load.gates import load_gates
    from reports.load_live import LoadView
    from scenarios.load.drive import Load
    from scenarios.load.generator import Fleet, GeneratorFailed
    from scenarios.load.profiles import PROFILES, ProfileError, find_profile, load_profiles
    from scenarios.load.run import Plan, run_load

    try:
        known = load_profiles(profiles or PROFILES)
        chosen = find_profile(profile, rate=rate, for_s=for_s, path=profiles or PROFILES)
        asked = tuple(load_gates(gates or PROFILES.with_name("gates.toml"), profile, known))
        then = _baseline(baseline) if baseline else None
    except (ProfileError, GateError) as error:
        raise click.UsageError(str(error)) from None
    seed = drawn_seed(seed)
    workers, port = expect_workers or 0, port if expect_workers else 0
    wanted = Load(
        profile=chosen, seed=seed, chaos=_schedule(chaos, target) if chaos else None, evidence=evidence,
        fleet=Fleet(processes=processes, expect=workers, bind=bind, port=port, page=ui),
    )  # fmt: skip
    plan = Plan(load=wanted, gates=asked, baseline=then, target=target, source_root=source_root)
    directory = new_run(run_dir, f"load-{profile}-{seed}")
    console = Console(highlight=False, markup=False, stderr=True)
    if not quiet:
        console.print(f"{profile}: {chosen.says}\nseed {seed}; evidence: {directory}", soft_wrap=True)
    try:
        with LoadView(console, title=profile, quiet=quiet) as view:
            judged = run_load(plan, directory, view)
    except GeneratorFailed as failure:
        click.echo(f"gauntlet: {failure}", err=True)
        sys.exit(NO_ENVIRONMENT)
    if save_baseline:
        save_baseline.write_bytes((directory / "load" / "load.json").read_bytes())
    _write_reports(judged, directory)
    if as_json:
        click.echo(
            msgspec.json.format(msgspec.json.encode({"verdict": judged.verdict, "load": judged.result}), indent=2)
        )
    else:
        _say(judged, directory)
    sys.exit(BY_VERDICT[judged.verdict.verdict])


def _write_reports(judged: Judged, directory: Path) -> None:
    """What CI systems and people look at, beside the figures: JUnit XML, a chart for each question, and the page."""
    from harness.evidence.run_directory import RunDirectory
    from reports.charts import charts_of
    from reports.load_junit import junit_xml
    from reports.page import write_page

    (directory / "load" / "junit.xml").write_text(junit_xml(judged.result), encoding="utf-8")
    for name, chart in charts_of(judged.result).items():
        (directory / "load" / f"{name}.svg").write_text(chart, encoding="utf-8")
    if judged.properties is not None:
        write_page(RunDirectory(directory), verdict=judged.properties)


def _say(judged: Judged, directory: Path) -> None:
    from reports.load_terminal import load_text, verdict_text
    from reports.terminal import run_text

    click.echo(load_text(judged.result))
    if judged.properties is not None and judged.properties.verdict != "pass":
        click.echo(run_text(judged.properties, directory))
    click.echo(verdict_text(judged.verdict, directory))
    if judged.properties is not None:
        click.echo(f"to look at: {directory / 'report.html'}")


def _baseline(path: Path) -> Baseline:
    """Of a file, or of the run that a folder is."""
    from harness.evidence.run_directory import read_json
    from harness.load.baseline import Baseline

    return read_json(path / "load" / "load.json" if path.is_dir() else path, Baseline)


def _schedule(file: Path, target: Path) -> Schedule:
    from chaos.schedule.checking import check as check_schedule
    from chaos.schedule.schedule import ScheduleError, read_schedule

    try:
        schedule = read_schedule(file)
        check_schedule(schedule, load_target(target))
    except ScheduleError as error:
        raise click.UsageError(str(error)) from None
    return schedule


@gauntlet.command("load-worker")
@click.option(
    "--master", "host", default="127.0.0.1", show_default=True, help="Where gauntlet load --expect-workers runs."
)
@click.option("--port", type=int, default=PORT, show_default=True, help="Its port.")
def load_worker(host: str, port: int) -> None:
    """Send requests for a load run on another machine.

    Gets all that it has to know from the master, sends back what it has measured, and ends with it.
    """
    from scenarios.load.generator import locust_command

    arguments = ["--worker", "--master-host", host, "--master-port", str(port)]
    sys.exit(subprocess.run(locust_command(arguments), cwd=PROJECT_ROOT, check=False).returncode)


@gauntlet.command("bench-load")
@click.argument("what", type=click.Choice(["cost", "latency"]))
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where figures and logs go (default: runs/…).")
def bench_load(what: str, run_dir: Path | None) -> None:
    """Measure the load generator itself.

    cost: what it costs to write the evidence down, as throughput with it and without it; exit code 1 if that is more
    than 5 %. latency: what our generator, a client like wrk2 and Locust itself say of one rate on one stack.
    """
    from rich.console import Console

    from scenarios.bench import load_cost, load_latency

    directory = (run_dir or new_run_path(f"bench-load-{what}")).resolve()
    if what == "latency":
        Console().print(load_latency.table(load_latency.measure(directory, progress)))
        return
    done = load_cost.measure(directory, progress)
    click.echo(str(done))
    sys.exit(PASS if done.met else FAIL)
