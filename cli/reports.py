"""Pages and files for other programs: report, export."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from cli.door import gauntlet
from cli.options import RUN, newest_run
from harness.evidence.run_directory import RunDirectory


@gauntlet.command()
@RUN
@click.option("--allure", is_flag=True, help="Draw Allure's pages too, where Node.js is.")
@click.option("--open", "open_it", is_flag=True, help="Show the page in a browser.")
def report(run: Path | None, allure: bool, open_it: bool) -> None:
    """Write what other programs read of a run anew, and draw its pages.

    Default: the newest run in runs/.
    """
    from harness.checks.run_verdict import RunVerdict
    from harness.evidence.run_directory import read_json
    from reports.after import write_reports
    from reports.allure.html import draw_allure_report

    directory = RunDirectory(run or newest_run())
    judged = directory.verdict_file.exists()
    for line in write_reports(directory, read_json(directory.verdict_file, RunVerdict) if judged else None):
        click.echo(line)
    page = draw_allure_report(directory) if allure else None
    if page is not None:
        click.echo(page)
        if open_it:
            click.launch(str(page))


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
