"""Writes down what becomes of each scenario the moment it is known: a run that is cut short tells of those before."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable

import msgspec
import pytest

from harness.evidence.clock import wall_at
from harness.evidence.outcomes import How, Outcome
from harness.evidence.run_directory import RunDirectory

FOLDER = "scenarios/"
_MOST_CHARACTERS = 20_000
_WHERE = re.compile(r"^\[gw\d+\] .*\n", re.MULTILINE)
"""xdist's heading of what a worker has to say."""


class OutcomeWriter:
    """A plugin of the process that hears of all scenarios: the controller, where there are workers."""

    def __init__(self, run: Callable[[], RunDirectory]) -> None:
        self._run = run
        self._reports: dict[str, list[pytest.TestReport]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.nodeid.startswith(FOLDER):
            return
        self._reports[report.nodeid].append(report)
        if report.when not in ("setup", "call"):  # its last one, or the only one that there will be after a crash
            outcome = outcome_of(self._reports.pop(report.nodeid))
            with self._run().outcomes_file.open("ab") as file:
                file.write(msgspec.json.encode(outcome) + b"\n")


_Reports = list[pytest.TestReport]


def outcome_of(reports: _Reports) -> Outcome:
    """Of one scenario, from all that was reported of it."""
    first = reports[0]
    red = [report for report in reports if report.failed]
    file, line, _name = first.location
    return Outcome(
        scenario=first.nodeid.removeprefix(FOLDER),
        file=file,
        line=None if line is None else line + 1,
        how=_how(red),
        worker=_worker(first),
        began_at=wall_at(getattr(first, "start", 0.0)),
        took_s=sum(report.duration for report in reports),
        says=_WHERE.sub("", "\n".join(report.longreprtext for report in red))[:_MOST_CHARACTERS],
        told={name: str(value) for report in reports for name, value in report.user_properties},
    )


def _how(red: _Reports) -> How:
    """xdist reports a scenario whose worker crashed as one that failed in no phase that there is."""
    phases: dict[str | None, How] = {"setup": "not set up", "call": "failed", "teardown": "failed"}
    return phases.get(red[0].when, "crashed") if red else "passed"


def _worker(report: pytest.TestReport) -> str:
    """xdist's report of a crash knows its worker, and no id of it."""
    gateway = getattr(getattr(report, "node", None), "gateway", None)
    return str(getattr(report, "worker_id", getattr(gateway, "id", "main")))
