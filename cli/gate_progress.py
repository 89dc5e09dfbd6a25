"""What pytest tells while a gate goes on, passed to the view; pytest's own dots and tracebacks are left out."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console

from harness.evidence.present import read_presents
from harness.evidence.run_directory import RunDirectory
from reports.gate_view import GateView
from reports.results import result_so_far


class GateProgress:
    """A plugin for the process that hears of all scenarios. With ``pytest -v`` pytest tells all by itself as well."""

    def __init__(self, run: RunDirectory, console: Console, *, quiet: bool) -> None:
        self._run, self._console = run, console
        self._view = GateView(console, presents=lambda: read_presents(run), quiet=quiet)
        self._total = 0
        self.ended_by_hand = False
        """Ctrl-C, which reaches servers that are on their way up as well: what these say of it is no failure."""

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """It is told of other ends too, as of a run whose environment has failed."""
        self.ended_by_hand = excinfo.type is KeyboardInterrupt

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        terminal = session.config.pluginmanager.getplugin("terminalreporter")
        terminal.showfspath = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._total = len(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._total = len(ids)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_testnodedown(self, error: object) -> None:
        """xdist is going to say that a worker has crashed, and that it replaces it."""
        if error:
            self._view.pause()

    def pytest_runtest_logstart(self) -> None:
        """Only now has everybody else said what they have to say."""
        self._view.expects(self._total)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._console.print(report.longreprtext, soft_wrap=True, markup=False, highlight=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        with self._view.ticking():
            return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Its outcome has been written down by then."""
        if report.when not in ("setup", "call"):
            self._view.ended(result_so_far(self._run, report.nodeid.removeprefix("scenarios/")))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Its tracebacks are kept with the outcomes; the summary tells what they lead to."""
        if session.config.get_verbosity() <= 0:
            session.config.option.tbstyle = "no"

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
        if config.get_verbosity() > 0:
            return None
        if report.failed:
            return "error" if report.when in ("setup", "teardown") else "failed", "", ""
        return "passed" if report.when == "call" else "", "", ""


@contextmanager
def past_pytest(*, to_stderr: bool) -> Iterator[Console]:
    """A console on what is stdout now, whatever pytest captures later. ``to_stderr``: it, and all that pytest says, go
    to stderr, so that stdout has room for a result."""
    sys.stdout.flush()
    if not to_stderr:
        with os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace") as terminal:
            yield Console(file=terminal, highlight=False, markup=False)
        return
    before = os.dup(1)
    os.dup2(2, 1)
    try:
        with past_pytest(to_stderr=False) as console:
            yield console
    finally:
        sys.stdout.flush()
        os.dup2(before, 1)
        os.close(before)
