"""Runs of the past: what is listed of each, and which scenarios had two verdicts although the code was the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.checks.history import History, history
from harness.checks.judge import ScenarioVerdict, Verdict, worst
from harness.checks.run_verdict import RunRecord, RunVerdict
from harness.evidence.clean import CleanRecord, CleanRun
from harness.evidence.code_digest import code_digest
from harness.evidence.explored import Explored, Ran
from harness.evidence.hunted import Hunted, KillMatrix, Outcome
from harness.evidence.run_directory import RunDirectory, read_json, write_json
from harness.target import DEFAULT_TARGET, PROJECT_ROOT
from tests.builders import moment, scenario
from tests.conftest import Gauntlet
from tests.runs import green_run


def a_run(folder: Path, name: str, *, code: str = "abc", at: int = 0, **verdicts: Verdict) -> RunDirectory:
    """A run with a verdict for each of these scenarios of ``a.py``; none, and it was never judged."""
    run = RunDirectory(folder / name)
    record = RunRecord(seed=7, target_file=str(DEFAULT_TARGET), source_root=".", began_at=moment(at), code=code)
    write_json(run.run_file, record)
    for one in verdicts:
        write_json(run.scenario(one).scenario_file, scenario(name=f"a.py::{one}", until=moment(at + 90)))
    if verdicts:
        judged = tuple(ScenarioVerdict(scenario=f"a.py::{one}", verdict=v, results=()) for one, v in verdicts.items())
        write_json(run.verdict_file, RunVerdict(verdict=worst(verdicts.values()), scenarios=judged))
    return run


def listed(past: History) -> list[tuple[Any, ...]]:
    return [(run.run, run.verdict, run.scenarios) for run in past.runs]


def test_runs_are_listed_by_their_beginning_with_verdict_seed_and_how_long_they_took(tmp_path: Path) -> None:
    a_run(tmp_path, "b", at=0, one="pass", two="unknown")
    a_run(tmp_path, "a", at=100, one="fail")
    past = history(tmp_path)
    assert listed(past) == [("b", "unknown", 2), ("a", "fail", 1)]
    assert [(run.began_at, run.seed, run.took_s) for run in past.runs] == [(moment(0), 7, 90.0), (moment(100), 7, 90.0)]


def test_a_run_without_a_verdict_is_listed_as_such_and_what_is_no_run_is_not_listed(tmp_path: Path) -> None:
    a_run(tmp_path, "interrupted")
    (tmp_path / "something else").mkdir()
    (tmp_path / "a file").write_text("x", encoding="utf-8")
    past = history(tmp_path)
    assert listed(past) == [("interrupted", "not judged", 0)]
    assert past.unreadable == ()


def test_a_broken_file_hides_its_own_run_and_no_other(tmp_path: Path) -> None:
    a_run(tmp_path, "good", one="pass")
    a_run(tmp_path, "bad", one="pass").verdict_file.write_text("{", encoding="utf-8")
    past = history(tmp_path)
    assert listed(past) == [("good", "pass", 1)]
    assert [text.split(":")[0] for text in past.unreadable] == ["bad"]


def test_a_real_run_is_listed(tmp_path: Path) -> None:
    green_run(tmp_path)
    assert listed(history(tmp_path)) == [("run", "pass", 1)]


# --- what is no gate --------------------------------------------------------------------------------------------


def test_a_hunt_tells_how_many_bugs_it_has_killed(tmp_path: Path, gauntlet: Gauntlet) -> None:
    outcomes: tuple[Outcome, ...] = ("killed", "killed", "survived")
    hunted = tuple(Hunted(bug=f"A{n}", name="n", outcome=outcome) for n, outcome in enumerate(outcomes))
    matrix = KillMatrix(catalogue="c", seed=3, began_at=moment(0), machine="m", workers=2, hunted=hunted, took_s=60.0)
    write_json(tmp_path / "hunt" / "kill-matrix.json", matrix)
    (run,) = history(tmp_path).runs
    assert (run.verdict, run.killed, run.hunted, run.took_s) == ("fail", 2, 3, 60.0)
    assert "2 of 3 (67%)" in gauntlet("history", tmp_path)[1]
    dead = msgspec.structs.replace(matrix, hunted=hunted[:2])
    write_json(tmp_path / "hunt" / "kill-matrix.json", dead)
    assert history(tmp_path).runs[0].verdict == "pass"
    write_json(tmp_path / "hunt" / "kill-matrix.json", msgspec.structs.replace(dead, interrupted=True))
    assert history(tmp_path).runs[0].verdict == "not judged"


def test_an_exploration_is_as_good_as_what_it_found(tmp_path: Path) -> None:
    run = a_run(tmp_path, "explored")
    for verdict in ("pass", "unknown"):
        ran = Ran(name="schedule-1", schedule="s", verdict=verdict)
        write_json(run.root / "explore.json", Explored(seed=1, ran=(ran,)))
        assert listed(history(tmp_path)) == [("explored", verdict, 0)]


def test_a_count_of_false_alarms_sums_up_its_runs(tmp_path: Path) -> None:
    runs = tuple(CleanRun(number=n, seed=n, scenarios=10, schedules=2, alarms=(), took_s=30.0) for n in (1, 2))
    record = CleanRecord(seed=1, code="c", began_at=moment(0), machine="m", workers=2, schedules=2, runs=runs)
    write_json(tmp_path / "clean" / "clean.json", record)
    (run,) = history(tmp_path).runs
    assert (run.verdict, run.scenarios, run.took_s) == ("pass", 20, 60.0)


# --- who cannot make up their mind ------------------------------------------------------------------------------


def test_a_scenario_with_two_verdicts_for_the_same_code_flips_and_names_the_runs(tmp_path: Path) -> None:
    a_run(tmp_path, "1", one="pass", two="pass")
    a_run(tmp_path, "2", one="fail", two="pass")
    a_run(tmp_path, "3", one="pass")
    (flip,) = history(tmp_path).flips
    assert (flip.scenario, flip.code, flip.runs) == ("a.py::one", "abc", {"pass": ["1", "3"], "fail": ["2"]})


@pytest.mark.parametrize("codes", [("abc", "def"), ("", "")], ids=["other code", "nobody knows which code"])
def test_with_other_code_another_verdict_is_no_flip(tmp_path: Path, codes: tuple[str, str]) -> None:
    a_run(tmp_path, "1", code=codes[0], one="pass")
    a_run(tmp_path, "2", code=codes[1], one="fail")
    assert history(tmp_path).flips == ()


def test_what_was_drawn_is_another_thing_in_each_run_whatever_its_name(tmp_path: Path) -> None:
    for name, verdict in (("1", "pass"), ("2", "fail")):
        run = a_run(tmp_path, name, one="pass")
        drawn = ScenarioVerdict(scenario="schedule-1", verdict=verdict, results=())  # type: ignore[arg-type]
        write_json(run.verdict_file, RunVerdict(verdict="pass", scenarios=(drawn,)))
    assert history(tmp_path).flips == ()


@pytest.mark.parametrize(("seeds", "flips"), [((7, 8), 0), ((7, 7), 1)], ids=["another seed", "the same seed"])
def test_random_chaos_of_a_gate_is_the_same_with_the_same_seed_alone(
    tmp_path: Path, seeds: tuple[int, int], flips: int
) -> None:
    verdicts: tuple[Verdict, Verdict] = ("pass", "fail")
    for name, seed, verdict in zip("12", seeds, verdicts, strict=True):
        run = a_run(tmp_path, name, one="pass")
        write_json(run.run_file, msgspec.structs.replace(read_json(run.run_file, RunRecord), seed=seed))
        drawn = ScenarioVerdict(scenario="test_random_chaos.py::test_x[0]", verdict=verdict, results=())
        write_json(run.verdict_file, RunVerdict(verdict="pass", scenarios=(drawn,)))
    assert len(history(tmp_path).flips) == flips


def test_the_same_code_has_the_same_digest_and_a_system_with_a_bug_in_it_another(tmp_path: Path) -> None:
    assert code_digest() == code_digest(PROJECT_ROOT)
    (tmp_path / "system_under_test").mkdir()
    assert code_digest(tmp_path) == code_digest(tmp_path) != code_digest()


# --- through the door -------------------------------------------------------------------------------------------


def test_history_prints_a_table_and_the_flips_or_json(tmp_path: Path, gauntlet: Gauntlet) -> None:
    a_run(tmp_path, "1", one="pass")
    a_run(tmp_path, "2", one="fail")
    code, told = gauntlet("history", tmp_path)
    assert code == 0
    assert "flips: a.py::one: fail in 2; pass in 1 (the same code, abc)" in " ".join(told.split())
    code, told = gauntlet("history", tmp_path, "--json")
    assert [run["verdict"] for run in json.loads(told)["runs"]] == ["pass", "fail"]


def test_without_a_folder_of_runs_it_says_how_to_come_by_one(
    tmp_path: Path, gauntlet: Gauntlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, told = gauntlet("history")
    assert (code, "gauntlet gate" in told) == (3, True)


def test_a_record_tells_the_code_that_ran(tmp_path: Path) -> None:
    """Older records do not, and are read all the same."""
    run = a_run(tmp_path, "1")
    assert read_json(run.run_file, RunRecord).code == "abc"
    old = json.loads(run.run_file.read_bytes())
    del old["code"]
    run.run_file.write_text(json.dumps(old), encoding="utf-8")
    assert read_json(run.run_file, RunRecord).code == ""
