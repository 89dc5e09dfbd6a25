"""What every gate leaves behind for other programs: JUnit's XML, a summary in Markdown, results for
Allure, annotations for GitHub."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from harness.checks.one_flow import target_of
from harness.checks.run_verdict import RunRecord, RunVerdict
from harness.evidence.run_directory import RunDirectory, read_json
from reports.allure import write_allure_results
from reports.allure.write import RESULTS
from reports.ci.annotations import error_annotations
from reports.ci.junit import junit_xml
from reports.ci.summary import summary_markdown
from reports.results import results_of

JUNIT, SUMMARY = "junit.xml", "summary.md"


def write_reports(
    run: RunDirectory, verdict: RunVerdict | None, *, environment: Mapping[str, str] = os.environ
) -> list[str]:
    """Write all of it into the run's folder; what is to be said on stdout.

    ``verdict``: None where nothing could be judged. What cannot be written is said, and takes nothing else with it:
    the verdict of a run does not depend on who tells of it.
    """
    record = read_json(run.run_file, RunRecord)
    results = results_of(run, verdict)

    def junit() -> None:
        (run.root / JUNIT).write_bytes(junit_xml(results, began_at=record.began_at))

    def summary() -> None:
        text = summary_markdown(run, verdict, results, target_of(run))
        (run.root / SUMMARY).write_text(text, encoding="utf-8")
        if job := environment.get("GITHUB_STEP_SUMMARY"):
            with Path(job).open("a", encoding="utf-8") as file:
                file.write(text)

    def allure() -> None:
        write_allure_results(run, results)

    writers = {JUNIT: junit, SUMMARY: summary, RESULTS: allure}
    said = [line for name, write in writers.items() for line in attempt(name, write)]
    return [*said, *(error_annotations(results) if environment.get("GITHUB_ACTIONS") == "true" else ())]


def attempt(name: str, write: Callable[[], None]) -> Iterator[str]:
    """Write it, or say why not."""
    try:
        write()
    except Exception as error:  # whatever it is: the gate goes on
        yield f"{name} could not be written: {type(error).__name__}: {error}"
