"""The door for pytest: options, one stack a worker, one world a scenario, and the judgement after every scenario."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.checks.coverage import coverage_of
from harness.checks.judge import ScenarioVerdict
from harness.checks.run_verdict import RunRecord, RunVerdict, summarise
from harness.environment.boot import sweep
from harness.environment.choice import NAMES, VARIABLE, choose_environment
from harness.environment.failures import EnvironmentFailed
from harness.evidence.clock import wall_now
from harness.evidence.code_digest import code_digest
from harness.evidence.outcomes import read_outcomes
from harness.evidence.present import Present, forget_presents, write_present
from harness.evidence.records import ScenarioRecord
from harness.evidence.run_directory import ENVIRONMENT_FAILURE, RunDirectory, new_run_path, read_json, write_json
from harness.target import DEFAULT_TARGET, PROJECT_ROOT, load_target
from reports.coverage_text import coverage_line
from reports.terminal import run_text, scenario_text
from scenarios.boot_turns import take_turns
from scenarios.outcomes import FOLDER, OutcomeWriter
from scenarios.selection import CHAOS, NOT_APPLICABLE_TO, canaries_first, choose, likely_first
from scenarios.stacks import Stacks
from scenarios.world import World

_RUN = pytest.StashKey[RunDirectory]()
_VERDICT = pytest.StashKey[RunVerdict]()
_REPORTS = pytest.StashKey[list[str]]()
_LEFT_OUT = pytest.StashKey[dict[str, int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gauntlet", "the stack that scenarios run on, and the evidence they leave")
    group.addoption("--run-dir", metavar="DIR", help="where the run's evidence goes (default: runs/TIME-SEED)")
    group.addoption("--seed", type=int, metavar="N", help="the run's seed (default: drawn, and printed)")
    group.addoption("--target", metavar="FILE", default=str(DEFAULT_TARGET), help="the system, as a TOML file")
    group.addoption(
        "--source-root", metavar="DIR", default=str(PROJECT_ROOT), help="folder that holds the system's code"
    )
    group.addoption(
        "--environment", choices=("auto", *NAMES), help="how stacks come up (default: native, if its servers are here)"
    )
    group.addoption(
        "--allow-destructive", action="store_true", help="an external system is ours alone: empty it, plant"
    )
    group.addoption("--outage-s", type=float, metavar="SECONDS", default=3.0, help="how long an outage lasts (3)")
    group.addoption("--nightly", action="store_true", help="also those scenarios that take long")
    group.addoption("--schedules", type=int, metavar="N", default=0, help="also so many drawn schedules of chaos (0)")
    group.addoption("--first", action="append", default=[], metavar="SCENARIO", help="run this one before the others")
    group.addoption(
        "--planted", action="append", default=[], metavar="SCENARIO=DIR", help="this one meets the code in that folder"
    )
    group.addoption("--whole", action="store_true", help="a full gate: every property has to be put to the test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under xdist each worker collects for itself, and only the controller has a terminal: it is told by them."""
    config.stash[_LEFT_OUT] = choose(config, items)
    canaries_first(items)
    likely_first(config, items)
    if (output := getattr(config, "workeroutput", None)) is not None:
        output["gauntlet_left_out"] = config.stash[_LEFT_OUT]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Nobody misses random chaos that was not asked for."""
    return True if collection_path.name == CHAOS and not config.getoption("--schedules") else None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """xdist: a worker is done; all of them have left out the same."""
    node.config.stash[_LEFT_OUT] = getattr(node, "workeroutput", {}).get("gauntlet_left_out", {})


def pytest_sessionstart() -> None:
    """What has been imported stays: the collector of garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Workers inherit the variable, and so does whatever a scenario starts."""
    if named := config.getoption("--environment"):
        os.environ[VARIABLE] = named
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(OutcomeWriter(partial(run_of, config)))


# --- the run directory, one for all workers ---------------------------------------------------------------------


def run_of(config: pytest.Config) -> RunDirectory:
    """The run's directory, made when it is first needed; a worker is told of it by its controller."""
    if _RUN not in config.stash:
        told = getattr(config, "workerinput", {}).get("gauntlet_run")
        config.stash[_RUN] = RunDirectory(Path(told)) if told else _new_run(config)
        take_turns(config.stash[_RUN].root)
    return config.stash[_RUN]


def _new_run(config: pytest.Config) -> RunDirectory:
    given = config.getoption("--seed")
    seed = random.SystemRandom().randrange(1_000_000) if given is None else int(given)
    run = RunDirectory(Path(config.getoption("--run-dir") or new_run_path(seed)).resolve())
    target_file = Path(config.getoption("--target")).resolve()
    target = load_target(target_file)
    try:
        environment = choose_environment(target)
    except EnvironmentFailed as failure:
        pytest.exit(str(failure), returncode=4)
    if environment.name != "external":
        os.environ[VARIABLE] = environment.name
    record = RunRecord(
        seed=seed,
        target_file=str(target_file),
        source_root=str(Path(config.getoption("--source-root")).resolve()),
        began_at=wall_now(),
        command=tuple(sys.argv),
        whole=bool(config.getoption("--whole")) and target.external is None,
        environment=environment.name,
        code=code_digest(Path(config.getoption("--source-root"))),
    )
    write_json(run.run_file, record)
    return run


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist: tell a worker where the run's evidence goes."""
    node.workerinput["gauntlet_run"] = str(run_of(node.config).root)


# --- stacks and worlds ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def run_directory(request: pytest.FixtureRequest) -> RunDirectory:
    """Where this run's evidence goes."""
    return run_of(request.config)


@pytest.fixture(scope="session")
def stacks(request: pytest.FixtureRequest) -> Iterator[Stacks]:
    """This worker's stack, booted when a scenario first needs it and again when one has left it unfit."""
    run = run_of(request.config)
    record = read_json(run.run_file, RunRecord)
    target = load_target(Path(record.target_file))
    destructive = bool(request.config.getoption("--allow-destructive"))
    source_root = Path(record.source_root)
    named = (one.rpartition("=") for one in request.config.getoption("--planted"))
    planted = {name: Path(folder) for name, _, folder in named}
    with Stacks(
        target, run, worker=_worker(), source_root=source_root, destructive=destructive, planted=planted
    ) as stacks:
        yield stacks


@pytest.fixture
def world(request: pytest.FixtureRequest, stacks: Stacks) -> World:
    """A clean slate and the hand to act on it. What becomes of it is judged when the scenario's body has ended."""
    run = run_of(request.config)
    name = request.node.nodeid.removeprefix(FOLDER)
    with _noted(request.session):
        stack, since = stacks.current(name)
    record = read_json(run.run_file, RunRecord)
    world = World(stack, stacks.target, run, name=name, seed=record.seed, since=since)
    world.recording.on_broken = partial(_tell_present, run, name)
    return world


def _worker() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


def _tell_present(run: RunDirectory, scenario: str, broken: tuple[str, ...] = ()) -> None:
    """Whoever watches the run sees what goes on."""
    write_present(run, Present(worker=_worker(), scenario=scenario, since=wall_now(), broken=broken))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.nodeid.startswith(FOLDER):
        _tell_present(run_of(item.config), item.nodeid.removeprefix(FOLDER))


@pytest.fixture
def outage_s(request: pytest.FixtureRequest) -> float:
    """How long an outage of a whole server lasts."""
    return float(request.config.getoption("--outage-s"))


@contextmanager
def _noted(session: pytest.Session) -> Iterator[None]:
    """A failure of the environment inside is that of the run, which begins nothing more: it would prove nothing."""
    try:
        yield
    except EnvironmentFailed as failure:
        if _RUN not in session.config.stash:  # a test of the gauntlet itself, which belongs to no run
            raise
        (run_of(session.config).root / ENVIRONMENT_FAILURE).write_text(str(failure), encoding="utf-8")
        session.shouldstop = "the environment has failed"
        raise pytest.fail.Exception(str(failure), pytrace=False) from None  # it says itself what lies behind it


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Judge every scenario when its body has ended, whether the body was content or not."""
    world = getattr(item, "funcargs", {}).get("world")
    if not isinstance(world, World):
        with _noted(item.session):
            return (yield)
    stacks: Stacks = item.funcargs["stacks"]  # type: ignore[attr-defined]
    try:
        outcome = yield
    except Exception as error:
        with _noted(item.session):
            verdict = stacks.conclude(world, f"{type(error).__name__}: {error}")
        item.add_report_section("call", "verdict", scenario_text(verdict, run_of(item.config).root))
        _attach_for_allure(item.config, verdict)
        raise
    with _noted(item.session):
        verdict = stacks.conclude(world, None)
    _attach_for_allure(item.config, verdict)
    if verdict.verdict != "pass":
        pytest.fail(scenario_text(verdict, run_of(item.config).root), pytrace=False)
    return outcome


def _attach_for_allure(config: pytest.Config, verdict: ScenarioVerdict) -> None:
    """For those who run pytest with --alluredir; what a gate leaves for Allure is made of its run directory."""
    if config.getoption("allure_report_dir", None):
        import allure

        from harness.checks.causes import causes_of

        allure.attach(scenario_text(verdict, run_of(config).root), "verdict", allure.attachment_type.TEXT)
        for cause in causes_of(verdict.findings):
            allure.attach("\n".join(cause.example.trace), f"trace: {cause.title}", allure.attachment_type.TEXT)


# --- the end ----------------------------------------------------------------------------------------------------


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The controller ends what a crashed worker has left behind, and gives the verdict of the whole run.

    A run can be red although each of its scenarios was green: what stacks log while they end is judged too.
    """
    config = session.config
    if _RUN not in config.stash or hasattr(config, "workerinput"):
        return
    run = run_of(config)
    forget_presents(run)
    try:
        with _noted(session):
            sweep(run.root)
    except pytest.fail.Exception:  # what is left is ended by its keepers, when the engine is back
        return
    if not run.scenarios():
        _write_reports(config, None)
        return
    verdict = summarise(run, failures=_failures_without_verdict(run), beyond=_beyond(config))
    write_json(run.verdict_file, verdict)
    config.stash[_VERDICT] = verdict
    _write_reports(config, verdict)
    if session.exitstatus == pytest.ExitCode.OK and verdict.verdict != "pass":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _write_reports(config: pytest.Config, verdict: RunVerdict | None) -> None:
    from reports.after import write_reports  # what it needs is of no use to the workers

    run = run_of(config)
    if run.scenarios() or read_outcomes(run):
        config.stash[_REPORTS] = write_reports(run, verdict)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if _VERDICT in config.stash:
        run = run_of(config)
        said = {outcome.scenario: outcome.says for outcome in read_outcomes(run) if outcome.says}
        terminalreporter.section("gauntlet")
        terminalreporter.write_line(run_text(config.stash[_VERDICT], run.root, said=said))
        _write_page(terminalreporter, run, config.stash[_VERDICT])
    for line in config.stash.get(_REPORTS, []):
        terminalreporter.write_line(line)
    for why, count in config.stash.get(_LEFT_OUT, {}).items():
        terminalreporter.write_line(f"left out: {count} scenarios, {why}")


def _beyond(config: pytest.Config) -> int:
    """How many scenarios are not applicable to this system."""
    return sum(count for why, count in config.stash.get(_LEFT_OUT, {}).items() if why.startswith(NOT_APPLICABLE_TO))


def _write_page(terminalreporter: pytest.TerminalReporter, run: RunDirectory, verdict: RunVerdict) -> None:
    from reports.after import attempt
    from reports.page import FILE, write_page

    coverage = coverage_of(run)
    terminalreporter.write_line(coverage_line(coverage))

    def page() -> None:
        terminalreporter.write_line(f"to look at: {write_page(run, verdict=verdict, coverage=coverage)}")

    for line in attempt(FILE, page):
        terminalreporter.write_line(line)


def _failures_without_verdict(run: RunDirectory) -> list[str]:
    """Tests that failed without evidence to judge: a canary that lived, a stack that did not boot."""
    judged = {read_json(directory.scenario_file, ScenarioRecord).name for directory in run.scenarios()}
    return sorted({one.scenario for one in read_outcomes(run) if one.how != "passed"} - judged)
