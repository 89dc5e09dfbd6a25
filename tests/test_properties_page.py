"""The page of all properties says what tests and scenarios have seen, and a whole session without enough red is red."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from chaos.seeded_bugs.catalogue import CATALOGUE, load_catalogue
from harness.checks import ALL
from harness.checks.judge import ScenarioVerdict
from harness.checks.run_verdict import RunRecord
from harness.checks.stage_chain import PROPERTY as STAGES
from harness.checks.verdict import Property, Result
from harness.evidence.clean import CleanRecord, CleanRun
from harness.evidence.hunted import Hunted, KillMatrix
from harness.evidence.run_directory import EvidenceError, RunDirectory, read_json, write_json
from harness.target import DEFAULT_TARGET, PROJECT_ROOT
from reports.properties_page import (
    FLOORS,
    Tested,
    floor_text,
    properties_page,
    read_tested,
    too_rarely_red,
    write_tested,
)
from tests.builders import evidence, happy_evidence, happy_rows, moment
from tests.conftest import Gauntlet, answered_so_far

NAME = STAGES.name


def red_by(*tests: str, others: int = 0) -> Tested:
    """Tests in which one property was red, and ``others`` beside it."""
    beside: list[Any] = [(prop.name, "fail") for prop in ALL if prop.name != NAME][:others]
    return {f"tests/test_x.py::{test}": [(NAME, "fail"), *beside] for test in tests}


def green_in(**seen: int) -> list[ScenarioVerdict]:
    """Scenarios in which one property passed, by how much it has seen."""
    return [
        ScenarioVerdict(scenario=name, verdict="pass", results=(Result(property=NAME, status="pass", seen=n, floor=1),))
        for name, n in seen.items()
    ]


def section(page: str, name: str = NAME) -> str:
    return page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


# --- the page ---------------------------------------------------------------------------------------------------


def test_each_property_has_a_row_and_a_section_with_its_promise_evidence_and_floor() -> None:
    page = properties_page({}, [])
    for prop in ALL:
        assert f"| [{prop.name}](#{prop.name}) | {prop.statement} | 0 | 0 | 0 |" in page
        assert f"* reads: {', '.join(prop.reads)}\n* has to see at least: {floor_text(prop)}" in section(
            page, prop.name
        )


def test_a_row_counts_tests_that_saw_it_red_or_unknown_and_scenarios_that_saw_it_green() -> None:
    tested: Tested = red_by("test_a", "test_b") | {"tests/test_x.py::test_c": [(NAME, "unknown"), (NAME, "pass")]}
    page = properties_page(tested, green_in(one=1, two=2, three=3))
    assert f"| [{NAME}](#{NAME}) | {STAGES.statement} | 2 | 1 | 3 |" in page


def test_a_scenario_in_which_it_did_not_pass_is_none_that_saw_it_green() -> None:
    statuses: list[Any] = ["fail", "unknown", "idle"]
    verdicts = [
        ScenarioVerdict(scenario=s, verdict="fail", results=(Result(property=NAME, status=s, seen=1, floor=0),))
        for s in statuses
    ]
    assert "green" not in section(properties_page({}, verdicts))


def test_those_tests_are_shown_in_which_fewest_others_were_red_each_once_whatever_its_parameters() -> None:
    tested = red_by("test_all", others=9) | red_by("test_z[1]", "test_z[2]", "test_y") | red_by("test_two", others=1)
    told = section(properties_page(tested, []))
    assert "* red in `test_x.py::test_y`, `test_x.py::test_z`, `test_x.py::test_two` and 1 more\n" in told


def test_those_scenarios_are_shown_in_which_it_had_most_to_judge() -> None:
    told = section(properties_page({}, green_in(few=1, many=30, some=7)))
    assert "* green in `many` (saw 30), `some` (saw 7) and 1 more" in told


def test_the_same_records_in_another_order_make_the_same_page() -> None:
    tested, verdicts = red_by("test_b", "test_a"), green_in(b=1, a=1)
    again = properties_page(dict(reversed(tested.items())), verdicts[::-1])
    assert again == properties_page(tested, verdicts)


def test_a_floor_without_words_is_quoted_from_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("trace_complete", "one_deal_per_lead", "stage_chain"):
        monkeypatch.delitem(FLOORS, name)
    floors = {prop.name: floor_text(prop) for prop in ALL}
    assert floors["trace_complete"] == "`len(asked)`"
    assert floors["one_deal_per_lead"] == "`floor = 1 if promised or triggers else 0`"
    assert floors["stage_chain"].startswith("`changed = sum(")


def test_the_committed_page_lists_every_property_with_its_promise() -> None:
    """A new property, or another promise: make test, make gate, make docs."""
    page = (PROJECT_ROOT / "docs" / "properties.md").read_text(encoding="utf-8")
    for prop in ALL:
        assert f"| [{prop.name}](#{prop.name}) | {prop.statement} | " in page, f"{prop.name}: make docs"
    assert page.count("\n## ") == len(ALL)


# --- the record -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prop", ALL, ids=lambda prop: str(prop.name))
def test_every_property_is_listened_to_by_whichever_way_it_is_asked(prop: Property) -> None:
    module = importlib.import_module(f"harness.checks.{prop.name}")
    for ask in (prop.check, module.check, module.PROPERTY.check):
        answered_so_far().clear()
        assert answered_so_far() == set()
        assert (prop.name, ask(evidence()).status) in answered_so_far()
    answered_so_far().clear()  # what is asked here says nothing about the property


def test_what_is_red_is_recorded_as_red() -> None:
    STAGES.check(happy_evidence(rows=happy_rows(history=())))
    assert (NAME, "fail") in answered_so_far()
    answered_so_far().clear()


def test_a_property_that_too_few_tests_saw_red_is_named_with_their_number() -> None:
    told = too_rarely_red(red_by("test_a", "test_b"))
    assert f"{NAME} was seen red by 2 tests, expected 3" in told
    assert len(told) == len(ALL)
    assert len(too_rarely_red(red_by("test_a", "test_b", "test_c"))) == len(ALL) - 1


def test_a_property_that_only_doubts_is_red_when_it_is_unknown() -> None:
    unknown: Tested = {f"test_{n}": [("evidence_sufficient", "unknown"), (NAME, "unknown")] for n in range(3)}
    assert "evidence_sufficient" not in " ".join(too_rarely_red(unknown))
    assert NAME in " ".join(too_rarely_red(unknown))


def test_a_record_survives_its_file_and_a_missing_one_says_how_to_make_it(tmp_path: Path) -> None:
    write_tested(tmp_path / "runs" / "tested.json", red_by("test_a"))
    assert read_tested(tmp_path / "runs" / "tested.json") == red_by("test_a")
    with pytest.raises(EvidenceError, match="make test"):
        read_tested(tmp_path / "nowhere.json")


SESSION = """
from harness.checks.stage_chain import check
from tests.builders import happy_evidence, happy_rows

def test_red():
    assert check(happy_evidence(rows=happy_rows(history=()))).status == "fail"

def test_other():
    assert {other}
"""


def a_session(folder: Path, *words: str, other: str = "True") -> subprocess.CompletedProcess[str]:
    """A session of pytest with the same ear, in a folder of its own."""
    (folder / "tests").mkdir()
    (folder / "tests" / "test_some.py").write_text(SESSION.format(other=other), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n", encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "tests.conftest", "-p", "no:locust",
         "-p", "no:schemathesis", "-p", "no:cacheprovider", *words],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("words", [("tests",), ("-n", "1")], ids=["alone", "with a worker"])
def test_a_whole_session_keeps_its_record_and_is_red_without_enough_red(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = a_session(tmp_path, *words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"property {NAME} was seen red by 1 tests, expected 3" in done.stdout
    assert read_tested(tmp_path / "runs" / "tested.json") == {"tests/test_some.py::test_red": [(NAME, "fail")]}


def test_a_test_that_failed_has_seen_nothing_but_the_others_have(tmp_path: Path) -> None:
    done = a_session(tmp_path, other="check(happy_evidence()).status == 'fail'")
    assert done.returncode == 1, done.stdout + done.stderr
    assert list(read_tested(tmp_path / "runs" / "tested.json")) == ["tests/test_some.py::test_red"]


@pytest.mark.parametrize(
    "words", [("-k", "red"), ("-x",), ("tests/test_some.py",)], ids=["by name", "ends early", "by file"]
)
def test_a_session_that_was_not_whole_leaves_no_record_and_asks_for_nothing(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = a_session(tmp_path, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "was seen red" not in done.stdout
    assert not (tmp_path / "runs").exists()


# --- the command ------------------------------------------------------------------------------------------------


def a_run(folder: Path, name: str, *, whole: bool) -> RunDirectory:
    run = RunDirectory(folder / "runs" / name)
    record = RunRecord(seed=1, target_file=str(DEFAULT_TARGET), source_root=".", began_at=moment(0), whole=whole)
    write_json(run.run_file, record)
    (verdict,) = green_in(**{f"seen in {name}": 4})
    write_json(run.scenario(name).scenario_file, {})
    write_json(run.scenario(name).verdict_file, verdict)
    return run


def test_the_pages_are_made_from_the_newest_whole_run(
    gauntlet: Gauntlet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age, (name, whole) in enumerate([("part", False), ("new", True), ("old", True)]):
        run = a_run(tmp_path, name, whole=whole)
        os.utime(run.run_file, (1_000_000 - age, 1_000_000 - age))
    write_tested(tmp_path / "tested.json", red_by("test_a"))
    monkeypatch.chdir(tmp_path)
    code, told = gauntlet("docs", "--tested", tmp_path / "tested.json", "--out", tmp_path / "pages")
    assert code == 0, told
    page = (tmp_path / "pages" / "properties.md").read_text(encoding="utf-8")
    assert "green in `seen in new` (saw 4)" in page
    assert "red in `test_x.py::test_a`" in page
    assert (tmp_path / "pages" / "contract" / "crm.log-1.0.md").exists()


def test_the_newest_hunt_of_all_bugs_and_count_of_false_alarms_have_pages(
    gauntlet: Gauntlet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_run(tmp_path, "whole", whole=True)
    write_tested(tmp_path / "tested.json", red_by("test_a"))
    all_of_them = tuple(Hunted(bug=name, name=bug.name, outcome="killed") for name, bug in load_catalogue().items())
    matrix = KillMatrix(catalogue=CATALOGUE.name, seed=7, began_at="2026-01-01", machine="m", workers=2, hunted=())
    for name, hunted in (("all", all_of_them), ("some", all_of_them[:3])):
        write_json(tmp_path / "runs" / name / "kill-matrix.json", replace(matrix, hunted=hunted))
    record = CleanRecord(seed=1, code="c", began_at="2026-01-01", machine="m", workers=2, schedules=3)
    counted = replace(record, runs=(CleanRun(number=1, seed=1),) * 4)
    write_json(tmp_path / "runs" / "clean" / "clean.json", counted)
    monkeypatch.chdir(tmp_path)
    code, told = gauntlet("docs", "--tested", tmp_path / "tested.json", "--out", tmp_path / "pages")
    assert code == 0, told
    killed = f"{len(all_of_them)} of {len(all_of_them)} killed"
    assert killed in (tmp_path / "pages" / "kill-matrix.md").read_text(encoding="utf-8")
    assert "0 of 4 runs raised an alarm" in (tmp_path / "pages" / "false-alarms.md").read_text(encoding="utf-8")
    assert read_json(tmp_path / "pages" / "false-alarms.json", CleanRecord) == counted


@pytest.mark.parametrize("missing", ["run", "record"])
def test_what_is_missing_is_named_with_how_to_make_it(
    gauntlet: Gauntlet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if missing == "run":
        write_tested(tmp_path / "tested.json", red_by("test_a"))
        a_run(tmp_path, "part", whole=False)
    else:
        a_run(tmp_path, "whole", whole=True)
    code, told = gauntlet("docs", "--tested", tmp_path / "tested.json", "--out", tmp_path / "pages")
    assert code == 3
    assert {"run": "make gate", "record": "make test"}[missing] in told
    assert not (tmp_path / "pages").exists()
