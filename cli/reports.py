"""A finished run to look at, here or elsewhere; past runs; runs for show: report, export, history, demo-reports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
import msgspec

from cli.door import FAIL, NO_ENVIRONMENT, PASS, gauntlet
from cli.options import RUN, newest_run, progress

# What a command needs alone it imports itself: ``gauntlet --help`` is there at once, and an audit stays small.
from harness.evidence.run_directory import RunDirectory, new_run_path
from harness.target import PROJECT_ROOT

if TYPE_CHECKING:
    from harness.checks.run_verdict import RunVerdict

DEMO_BUG = "A14"
_DEMO_SECONDS = 300.0
_GREEN = "test_a_qualified_lead_gets_one_deal_by_one_execution or (test_a_broker_edge_is_cut and pipeline-to-broker)"
_RED = "test_a_broker_edge_is_cut_with_publishes_in_flight and pipeline-to-broker"


@gauntlet.command()
@RUN
@click.option(
    "--flow", "flows", multiple=True, metavar="CORRELATION_ID", help="Draw this flow as well (its beginning)."
)
@click.option("--allure", is_flag=True, help="Draw Allure's pages too, where Node.js is.")
@click.option("--open", "open_it", is_flag=True, help="Show the page in a browser.")
def report(run: Path | None, flows: tuple[str, ...], allure: bool, open_it: bool) -> None:
    """Write the page of a run: RUN/report.html.

    One file that needs no network: what broke and why, with pictures of the flows in which it did, and all the tables.
    Every run that is judged ends with it. With --allure, RUN/allure-report as well. junit.xml, summary.md and
    allure-results are written anew. Default: the newest run in runs/.
    """
    from reports.after import write_reports
    from reports.allure.html import draw_allure_report
    from reports.page import write_page

    directory = RunDirectory(run or newest_run())
    page = write_page(directory, flows=flows)
    click.echo(page)
    for line in write_reports(directory, _verdict(directory), environment={}):
        click.echo(line)
    if allure:
        page = draw_allure_report(directory)
        click.echo(page)
    if open_it:
        click.launch(str(page))


def _verdict(run: RunDirectory) -> RunVerdict | None:
    from harness.checks.run_verdict import RunVerdict
    from harness.evidence.run_directory import read_json

    return read_json(run.verdict_file, RunVerdict) if run.verdict_file.exists() else None


@gauntlet.command()
@RUN
@click.option("--otlp", type=click.File("wb", lazy=True), help="Traces as OTLP/JSON: for Jaeger, Tempo, collectors.")
@click.option("--perfetto", type=click.File("wb", lazy=True), help="Chrome's trace format: for ui.perfetto.dev.")
@click.option("--flow", metavar="ID", help="One flow alone: its correlation id, or how that begins.")
def export(run: Path | None, otlp: BinaryIO | None, perfetto: BinaryIO | None, flow: str | None) -> None:
    """Write a run's traces for other people's viewers.

    Each correlation id is a trace; what a client asked and each span of the log are its spans. - as a file is stdout.
    Default: the newest run in runs/.
    """
    from reports.export.otlp import otlp_traces
    from reports.export.perfetto import perfetto_trace
    from reports.export.source import exported

    if otlp is None and perfetto is None:
        raise click.UsageError("nothing to write: name a file with --otlp FILE, with --perfetto FILE, or with both")
    found = exported(RunDirectory(run or newest_run()), flow)
    if otlp is not None:
        otlp.write(msgspec.json.encode(otlp_traces(found.spans, found.findings, namespace=found.target)))
    if perfetto is not None:
        perfetto.write(msgspec.json.encode(perfetto_trace(found.spans, found.faults)))


@gauntlet.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="All of it as JSON.")
def history(folder: Path | None, as_json: bool) -> None:
    """List the runs in a folder, and scenarios that flip.

    Verdict, when, seed, how long, how many scenarios, how many planted bugs a hunt has killed. A scenario flips that
    had more than one verdict in runs of the same code. Default for FOLDER: runs/ of the working directory.
    """
    from rich.console import Console

    from harness.checks.history import history as look_back
    from reports.history_text import history_parts

    past = look_back(folder or _runs())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(past), indent=2))
        return
    console = Console(highlight=False, markup=False)
    for part in history_parts(past):
        console.print(part, soft_wrap=True)


def _runs() -> Path:
    folder = Path.cwd() / "runs"
    if not folder.is_dir():
        raise click.UsageError(f"there is no {folder}: name a folder of runs, or make a run with gauntlet gate")
    return folder


@gauntlet.command("demo-reports")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where both runs go (default: runs/TIME-demo).")
@click.option(
    "--screenshots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Put pictures of both pages into this folder.",
)
def demo_reports(run_dir: Path | None, screenshots: Path | None) -> None:
    """Make one green and one red run, with their pages.

    The same few scenarios, once as the system is and once with a bug of the catalogue planted: a relay that marks an
    event as sent before the broker has confirmed it. Takes less than a minute. Exit code 1 if either is not as meant.
    """
    from chaos.seeded_bugs.catalogue import load_catalogue, plant

    folder = (run_dir or new_run_path("demo")).resolve()
    if folder.exists():
        raise click.UsageError(f"{folder} is there already: give a new folder")
    progress(f"a green run: {folder / 'green'}")
    green = _gate(folder / "green", _GREEN)
    progress(f"a red run, with bug {DEMO_BUG} planted: {folder / 'red'}")
    source = plant(load_catalogue()[DEMO_BUG], PROJECT_ROOT, folder / "source")
    red = _gate(folder / "red", _RED, f"--source-root={source}")
    for name, code in (("green", green), ("red", red)):
        page = folder / name / "report.html"
        if code == NO_ENVIRONMENT or not page.exists():
            raise click.ClickException(f"the {name} run left no page; what it said: {folder / name}.txt")
        click.echo(f"{name}: {page}")
        if screenshots is not None:
            _picture(page, screenshots, f"report-{name}")
    sys.exit(PASS if (green, red) == (PASS, FAIL) else FAIL)


def _gate(run_dir: Path, only: str, *more: str) -> int:
    """A small gate in a process of its own: its exit code. What it says is in a file beside its folder."""
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "cli",
        "gate",
        "-n",
        "1",
        "--seed",
        "7",
        "-k",
        only,
        "--run-dir",
        str(run_dir),
        *more,
    ]
    with run_dir.with_suffix(".txt").open("wb") as told:
        return subprocess.run(
            command, cwd=PROJECT_ROOT, stdout=told, stderr=subprocess.STDOUT, timeout=_DEMO_SECONDS, check=False
        ).returncode


def _picture(page: Path, folder: Path, name: str) -> None:
    from reports.screenshots import browser, screenshots

    with browser() as opened:
        for file in screenshots(opened, page, folder, name):
            click.echo(f"written: {file}")
