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
from reports.properties_page import Tested, too_rarely_red, write_tested

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Some tests are run where they are asked for: make test-containers, make test-commands."""
    if config.getoption("markexpr"):
        return
    left_out = [item for item in items if item.get_closest_marker("containers") or item.get_closest_marker("commands")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


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


def answered_so_far() -> set[tuple[str, Status]]:
    """What properties have answered in the test that runs."""
    return _answered


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
    """After a whole session, and only then: every property has been red often enough.

    Failed tests are no reason to keep no record: one of them may say that the page which is made of it is out of date.
    """
    config = session.config
    ended = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if hasattr(config, "workerinput") or not ended or not _whole(config):
        return
    write_tested(config.rootpath / "runs" / "tested.json", _tested)
    config.stash[_TOO_FEW] = too_rarely_red(_tested)
    if config.stash[_TOO_FEW]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _whole(config: pytest.Config) -> bool:
    """All tests were asked for, none was left out by name, mark or file, and a failure does not end them."""
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS or config.args == ["tests"]
    less = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "collectonly", "maxfail", "lf", "stepwise")
    return everything and not any(config.getoption(option, default=None) for option in less)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for text in config.stash.get(_TOO_FEW, []):
        terminalreporter.write_line(f"property {text}", red=True)
