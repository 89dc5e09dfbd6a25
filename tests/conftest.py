"""What the tests of the gauntlet share, and the record of what every property answered in them.

A property that no test has ever seen red may be unable to fail. So each ``check`` is listened to, whoever calls it, and
a whole session in which some property was red too rarely is a failure. The record goes into docs/properties.md.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Generator
from typing import Any

import pytest

import cli
from harness.checks import ALL
from harness.checks.verdict import Property, Result, Status
from harness.evidence.evidence import Evidence
from harness.target import PROJECT_ROOT
from reports.properties_page import Tested, too_rarely_red, write_tested

TESTED = PROJECT_ROOT / "runs" / "tested.json"
_ANSWERS = "properties"
_answered: set[tuple[str, Status]] = set()
_tested: Tested = {}
_TOO_FEW = pytest.StashKey[list[str]]()

Gauntlet = Callable[..., tuple[int, str]]


@pytest.fixture
def gauntlet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gauntlet:
    """A command as its users call it, in this process: its exit code, and what it wrote."""

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["gauntlet", *map(str, words)])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        told = capsys.readouterr()
        return code, told.out + told.err

    return call


# --- what properties answer in tests ----------------------------------------------------------------------------


def pytest_configure() -> None:
    for prop in ALL:
        _listen_to(prop)


def _listen_to(prop: Property) -> None:
    """Before any test module has imported it: a name that is imported earlier would lead past us."""
    module = importlib.import_module(f"harness.checks.{prop.name}")
    check = prop.check

    @functools.wraps(check)
    def heard(evidence: Evidence) -> Result:
        result = check(evidence)
        _answered.add((prop.name, result.status))
        return result

    object.__setattr__(prop, "check", heard)
    module.check = heard  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """``user_properties`` come to the controller with the report, whichever process the test ran in."""
    _answered.clear()
    try:
        return (yield)
    finally:
        item.user_properties.append((_ANSWERS, sorted(_answered)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    answers = dict(report.user_properties).get(_ANSWERS)
    if report.when == "call" and report.passed and answers:
        _tested[report.nodeid] = [(name, status) for name, status in answers]  # type: ignore[attr-defined]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """After a whole session, and only then: every property has been red often enough."""
    config = session.config
    if hasattr(config, "workerinput") or session.exitstatus != pytest.ExitCode.OK or not _whole(config):
        return
    write_tested(TESTED, _tested)
    config.stash[_TOO_FEW] = too_rarely_red(_tested)
    if config.stash[_TOO_FEW]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _whole(config: pytest.Config) -> bool:
    """All tests were asked for, none was left out by name, mark or file."""
    options = config.option
    left_out = (options.keyword, options.markexpr, options.deselect, options.ignore, options.ignore_glob)
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS or config.args == ["tests"]
    return everything and not any(left_out) and not options.collectonly and not options.lf


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for text in config.stash.get(_TOO_FEW, []):
        terminalreporter.write_line(f"property {text}", red=True)
