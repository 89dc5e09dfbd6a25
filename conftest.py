"""The door for pytest: options, one stack a worker, one world a scenario, and the judgement after every scenario."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.checks.coverage import coverage_of
from harness.checks.run_verdict import RunRecord, RunVerdict, summarise
from harness.environment.failures import EnvironmentFailed
from harness.environment.native import sweep
from harness.evidence.clock import wall_now
from harness.evidence.records import ScenarioRecord
from harness.evidence.run_directory import ENVIRONMENT_FAILURE, RunDirectory, new_run_path, read_json, write_json
from harness.target import DEFAULT_TARGET, PROJECT_ROOT, load_target
from reports.coverage_text import coverage_line
from reports.terminal import run_text, scenario_text
from scenarios.selection import NOT_APPLICABLE_TO, canaries_apart, choose, likely_first
from scenarios.stacks import Stacks
from scenarios.world import World

_RUN = pytest.StashKey[RunDirectory]()
_VERDICT = pytest.StashKey[RunVerdict]()
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
        "--allow-destructive", action="store_true", help="an external system is ours alone: empty it, plant"
    )
    group.addoption("--outage-s", type=float, metavar="SECONDS", default=3.0, help="how long an outage lasts (3)")
    group.addoption("--nightly", action="store_true", help="also those scenarios that take long")
    group.addoption("--first", action="append", default=[], metavar="SCENARIO", help="run this one before the others")
    group.addoption("--whole", action="store_true", help="a full gate: every property has to be put to the test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under xdist each worker collects for itself, and only the controller has a terminal: it is told by them."""
    config.stash[_LEFT_OUT] = choose(config, items)
    canaries_apart(items)
    likely_first(config, items)
    if (output := getattr(config, "workeroutput", None)) is not None:
        output["gauntlet_left_out"] = config.stash[_LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """xdist: a worker is done; all of them have left out the same."""
    node.config.stash[_LEFT_OUT] = getattr(node, "workeroutput", {}).get("gauntlet_left_out", {})


# --- the run directory, one for all workers ---------------------------------------------------------------------


def run_of(config: pytest.Config) -> RunDirectory:
    """The run's directory, made when it is first needed; a worker is told of it by its controller."""
    if _RUN not in config.stash:
        told = getattr(config, "workerinput", {}).get("gauntlet_run")
        config.stash[_RUN] = RunDirectory(Path(told)) if told else _new_run(config)
    return config.stash[_RUN]


def _new_run(config: pytest.Config) -> RunDirectory:
    given = config.getoption("--seed")
    seed = random.SystemRandom().randrange(1_000_000) if given is None else int(given)
    run = RunDirectory(Path(config.getoption("--run-dir") or new_run_path(seed)).resolve())
    target_file = Path(config.getoption("--target")).resolve()
    record = RunRecord(
        seed=seed,
        target_file=str(target_file),
        source_root=str(Path(config.getoption("--source-root")).resolve()),
        began_at=wall_now(),
        command=tuple(sys.argv),
        whole=bool(config.getoption("--whole")) and load_target(target_file).external is None,
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
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    target = load_target(Path(record.target_file))
    destructive = bool(request.config.getoption("--allow-destructive"))
    source_root = Path(record.source_root)
    with Stacks(target, run, worker=worker, source_root=source_root, destructive=destructive) as stacks:
        yield stacks


@pytest.fixture
def world(request: pytest.FixtureRequest, stacks: Stacks) -> World:
    """A clean slate and the hand to act on it. What becomes of it is judged when the scenario's body has ended."""
    run = run_of(request.config)
    try:
        stack, since = stacks.current()
    except EnvironmentFailed as failure:
        _note_environment_failure(run, str(failure))
        raise
    record = read_json(run.run_file, RunRecord)
    name = request.node.nodeid.removeprefix("scenarios/")
    return World(stack, stacks.target, run, name=name, seed=record.seed, since=since)


@pytest.fixture
def outage_s(request: pytest.FixtureRequest) -> float:
    """How long an outage of a whole server lasts."""
    return float(request.config.getoption("--outage-s"))


def _note_environment_failure(run: RunDirectory, text: str) -> None:
    (run.root / ENVIRONMENT_FAILURE).write_text(text, encoding="utf-8")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Judge every scenario when its body has ended, whether the body was content or not."""
    world = getattr(item, "funcargs", {}).get("world")
    if not isinstance(world, World):
        return (yield)
    stacks: Stacks = item.funcargs["stacks"]  # type: ignore[attr-defined]
    try:
        outcome = yield
    except Exception as error:
        verdict = stacks.conclude(world, f"{type(error).__name__}: {error}")
        item.add_report_section("call", "verdict", scenario_text(verdict, run_of(item.config).root))
        raise
    verdict = stacks.conclude(world, None)
    if verdict.verdict != "pass":
        pytest.fail(scenario_text(verdict, run_of(item.config).root), pytrace=False)
    return outcome


# --- the end ----------------------------------------------------------------------------------------------------


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The controller ends what a crashed worker has left behind, and gives the verdict of the whole run.

    A run can be red although each of its scenarios was green: what stacks log while they end is judged too.
    """
    config = session.config
    if _RUN not in config.stash or hasattr(config, "workerinput"):
        return
    run = run_of(config)
    sweep(run.root)
    if not run.scenarios():
        return
    terminal: pytest.TerminalReporter = config.pluginmanager.getplugin("terminalreporter")
    verdict = summarise(run, failures=_failures_without_verdict(terminal, run), beyond=_beyond(config))
    write_json(run.verdict_file, verdict)
    config.stash[_VERDICT] = verdict
    if session.exitstatus == pytest.ExitCode.OK and verdict.verdict != "pass":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if _VERDICT in config.stash:
        terminalreporter.section("gauntlet")
        terminalreporter.write_line(run_text(config.stash[_VERDICT], run_of(config).root))
        terminalreporter.write_line(coverage_line(coverage_of(run_of(config))))
    for why, count in config.stash.get(_LEFT_OUT, {}).items():
        terminalreporter.write_line(f"left out: {count} scenarios, {why}")


def _beyond(config: pytest.Config) -> int:
    """How many scenarios are not applicable to this system."""
    return sum(count for why, count in config.stash.get(_LEFT_OUT, {}).items() if why.startswith(NOT_APPLICABLE_TO))


def _failures_without_verdict(terminalreporter: pytest.TerminalReporter, run: RunDirectory) -> list[str]:
    """Tests that failed without evidence to judge: a canary that lived, a stack that did not boot."""
    judged = {read_json(directory.scenario_file, ScenarioRecord).name for directory in run.scenarios()}
    failed = [*terminalreporter.stats.get("failed", []), *terminalreporter.stats.get("error", [])]
    names = (report.nodeid.removeprefix("scenarios/") for report in failed)
    return sorted({name for name in names if name not in judged})
