"""Pages and files for other programs: report, export."""

from __future__ import annotations

from pathlib import Path

import click

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
