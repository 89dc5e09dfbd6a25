"""Bugs in those who judge: each is planted into a copy of the project, and only a test that fails kills it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chaos.seeded_bugs.catalogue import PROJECT, Bug, Edit
from harness.target import PROJECT_ROOT
from scenarios.kill_matrix.checkers import Outcome, killers_of, red_without_a_bug, try_checkers

PARTS = ("judge", "tests", "pyproject.toml")
CHECK = """
def is_late(seconds: float) -> bool:
    return seconds > 2
"""
TESTS = """
from judge.check import is_late

def test_what_comes_in_time_is_not_late():
    assert not is_late(1)

def test_what_comes_after_its_time_is_late():
    assert is_late(3)
"""
OPTIONS = '[tool.pytest.ini_options]\naddopts = "-p no:locust -p no:schemathesis -p no:allure_pytest"\n'


def bug(new: str, old: str = "seconds > 2", tests: str = "tests/test_check.py") -> Bug:
    edit = Edit(file="judge/check.py", old=old, new=new)
    return Bug(name="a bug", story="", source="", expect=(), scenario=tests, edit=(edit,))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "judge").mkdir()
    (root / "tests").mkdir()
    (root / "judge" / "check.py").write_text(CHECK, encoding="utf-8")
    (root / "tests" / "test_check.py").write_text(TESTS, encoding="utf-8")
    (root / "tests" / "test_red.py").write_text("def test_red():\n    assert False\n", encoding="utf-8")
    (root / "pyproject.toml").write_text(OPTIONS, encoding="utf-8")
    return root


BUGS = {
    "early": bug("seconds > 0"),
    "at the limit": bug("seconds >= 2"),
    "does not parse": bug("seconds >"),
    "unknown name": bug("minutes > 2"),
    "breaks the test's module": bug("is_early", old="is_late"),
    "stale": bug("seconds > 0", old="seconds > 3"),
    "endless": bug("any(iter(int, 1))"),
}


@pytest.fixture(scope="module")
def outcomes(project: Path) -> dict[str, Outcome]:
    bugs = {name: planted for name, planted in BUGS.items() if name != "endless"}
    return {one.id: one for one in try_checkers(bugs, workers=2, source_root=project, parts=PARTS)}


def test_every_bug_has_one_outcome_and_the_project_stays_as_it_is(outcomes: dict[str, Outcome], project: Path) -> None:
    assert outcomes.keys() == BUGS.keys() - {"endless"}
    assert (project / "judge" / "check.py").read_text(encoding="utf-8") == CHECK


def test_a_bug_at_which_a_test_fails_is_killed_by_that_test(outcomes: dict[str, Outcome]) -> None:
    early = outcomes["early"]
    assert (early.state, early.killed_by) == ("killed", "test_check.py::test_what_comes_in_time_is_not_late")
    assert "assert not" in early.says


def test_a_bug_that_no_test_notices_survives(outcomes: dict[str, Outcome]) -> None:
    assert (outcomes["at the limit"].state, outcomes["at the limit"].killed_by) == ("survived", None)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("does not parse", "SyntaxError"),
        ("unknown name", "NameError"),
        ("breaks the test's module", "ImportError"),
    ],
)
def test_what_is_no_program_is_no_kill(outcomes: dict[str, Outcome], name: str, says: str) -> None:
    assert (outcomes[name].state, outcomes[name].killed_by) == ("broken", None)
    assert says in outcomes[name].says


def test_a_stale_bug_says_so(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["stale"].state == "stale"
    assert "judge/check.py holds 0 times" in outcomes["stale"].says


def test_tests_that_come_to_no_end_are_no_kill(project: Path) -> None:
    bugs = {"endless": BUGS["endless"]}
    [endless] = try_checkers(bugs, workers=1, source_root=project, parts=PARTS, within_s=3)
    assert (endless.state, endless.killed_by) == ("timeout", None)


def test_whoever_stops_listening_ends_what_runs(project: Path) -> None:
    listening = try_checkers(
        {"stale": BUGS["stale"], "endless": BUGS["endless"]}, workers=2, source_root=project, parts=PARTS
    )
    assert next(listening).id == "stale"
    began = time.monotonic()
    listening.close()  # type: ignore[attr-defined]  # it is a generator
    assert time.monotonic() - began < 20


def test_tests_that_are_green_without_a_bug_can_kill(project: Path) -> None:
    assert red_without_a_bug(BUGS.values(), source_root=project, parts=PARTS) is None


def test_tests_that_are_red_without_a_bug_can_kill_nothing(project: Path) -> None:
    red = red_without_a_bug([bug("", tests="tests/test_check.py tests/test_red.py")], source_root=project, parts=PARTS)
    assert red is not None
    assert "test_red.py::test_red" in red


def test_a_bug_may_name_several_files_of_tests() -> None:
    assert killers_of(bug("", tests="tests/test_a.py tests/test_b.py")) == ("tests/test_a.py", "tests/test_b.py")


def test_the_project_is_copied_with_all_that_its_tests_import() -> None:
    assert all((PROJECT_ROOT / part).exists() for part in PROJECT)
