"""Counting false alarms: what counts as one, what is kept, how a record goes on. Without stacks."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import msgspec
import pytest

from harness.checks.judge import ScenarioVerdict
from harness.checks.run_verdict import RunVerdict
from harness.checks.verdict import Finding, Result
from harness.environment.failures import EnvironmentFailed
from harness.environment.waiting import eventually
from harness.evidence.clean import CleanRecord, CleanRun
from harness.evidence.code_digest import code_digest
from harness.evidence.records import ScenarioRecord
from harness.evidence.run_directory import RunDirectory, write_json
from harness.target import PROJECT_ROOT
from reports.clean import bound, markdown, run_line
from scenarios.kill_matrix import clean
from scenarios.kill_matrix.child import child
from scenarios.kill_matrix.clean import clean_runs
from tests.conftest import Gauntlet

RECORD = CleanRecord(seed=1, code="abc", began_at="2026-01-01", machine="m", workers=2, schedules=3)
GREEN = ScenarioVerdict(scenario="a", verdict="pass", results=())
FINDING = Finding(property="schema", says="a column is odd")
RED = ScenarioVerdict(
    scenario="b", verdict="fail",
    results=(Result(property="schema", status="fail", seen=1, floor=0, findings=(FINDING,)),),
)  # fmt: skip


CHAOS = msgspec.structs.replace(RED, scenario="test_random_chaos.py::test_a_drawn_schedule_breaks_no_promise[1]")


class Ended:
    """Stands for the commands of a run: what they leave behind."""

    def __init__(self, *scenarios: ScenarioVerdict) -> None:
        self.scenarios = scenarios
        self.commands: list[list[str]] = []

    def __call__(self, words: list[str], run: RunDirectory) -> None:
        self.commands.append(words)
        write_json(run.verdict_file, RunVerdict(verdict=self.scenarios[-1].verdict, scenarios=self.scenarios))
        for one in self.scenarios:
            record = ScenarioRecord(name=one.scenario, stack="s", target="t", seed=1, since="", until="")
            write_json(run.scenario(one.scenario).scenario_file, record)


def ran(monkeypatch: pytest.MonkeyPatch, folder: Path, ended: Ended, *, runs: int = 1, keep: bool = False) -> CleanRun:
    monkeypatch.setattr(clean, "_run", ended)
    return list(clean_runs(RECORD, runs, folder, lambda number: None, keep=keep))[-1]


def test_green_runs_raise_no_alarm_and_leave_no_evidence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert ran(monkeypatch, tmp_path, Ended(GREEN)).alarms == ()
    assert list(tmp_path.iterdir()) == []
    ran(monkeypatch, tmp_path, Ended(GREEN), keep=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["001"]


def test_whatever_is_not_green_is_an_alarm_and_its_run_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    doubtful = ScenarioVerdict(scenario="c", verdict="unknown", results=())
    run = ran(monkeypatch, tmp_path, Ended(GREEN, doubtful, RED, CHAOS))
    assert [(alarm.part, alarm.scenario, alarm.says) for alarm in run.alarms] == [
        ("gate", "c", "unknown"),
        ("gate", "b", "schema: a column is odd"),
        ("chaos", CHAOS.scenario, "schema: a column is odd"),
    ]
    assert (run.scenarios, run.schedules) == (3, 1)
    assert {Path(alarm.run) for alarm in run.alarms} == set(tmp_path.iterdir())


def test_each_run_has_a_seed_of_its_own_and_no_bug_is_planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = Ended(GREEN)
    ran(monkeypatch, tmp_path, ended, runs=3)
    seeds = [word for words in ended.commands for word in words if word.startswith("--seed")]
    assert (len(seeds), len(set(seeds))) == (3, 3)
    assert ended.commands[0][:6] == ["gate", "-q", "-n", "2", "--schedules", "3"]
    assert ended.commands[0][-3:] == ["--", "--deselect", "scenarios/test_canary.py"]


def test_a_run_that_judged_nothing_is_no_green_one(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="exit code 3"):
        clean._run(["gate", "--no-such-option"], RunDirectory(tmp_path / "x"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_run_at_work_ends_with_the_command(tmp_path: Path, how: signal.Signals) -> None:
    words = [sys.executable, "-m", "cli", "clean", "--runs", "1", "--run-dir", str(tmp_path)]
    with subprocess.Popen(words, cwd=PROJECT_ROOT, stdout=PIPE, stderr=PIPE, text=True) as command:
        try:
            eventually(lambda: _at_work(tmp_path / "001"), within_s=20, describe="the gate of the first run")
            command.send_signal(how)
            said, complaint = command.communicate(timeout=30)
        finally:
            command.kill()
    assert command.returncode == 130
    assert "0 scenarios and 0 random schedules were judged" in said
    assert "Traceback" not in complaint
    assert not _at_work(tmp_path / "001")


def test_a_gate_that_is_born_while_its_command_is_interrupted_is_ended_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    born: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *words: Any, **more: Any) -> None:
            super().__init__(*words, **more)
            born.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt), child(["sleep", "60"], RunDirectory(tmp_path / "x")):
        pass
    assert born[0].returncode is not None


def _at_work(run: Path) -> list[str]:
    """The command lines of processes that work for a run."""
    found = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in found if f"--run-dir={run}" in line]


def test_the_bound_is_three_of_n_and_alarms_are_counted_by_run() -> None:
    run = CleanRun(number=1, seed=1, scenarios=2)
    quiet = msgspec.structs.replace(RECORD, runs=(run,) * 100)
    assert bound(quiet) == "0 of 100 runs raised an alarm: fewer than 3.0% do (95 %, 3 of N)"
    assert "A run is a whole gate and 3 schedules" in markdown(quiet, record_file="clean.json")
    assert run_line(run, 5) == "run 1 of 5: no alarm in 2 scenarios, seed 1, 0 s"


def test_a_record_of_other_code_is_not_continued(gauntlet: Gauntlet, tmp_path: Path) -> None:
    write_json(tmp_path / "clean.json", RECORD)
    code, told = gauntlet("clean", "--run-dir", tmp_path)
    assert code == 3
    assert f"abc, now {code_digest()}" in " ".join(told.split())


@pytest.mark.parametrize(
    ("option", "before"), [("--seed=2", "--seed 1"), ("-n3", "--workers 2"), ("--schedules=4", "--schedules 3")]
)
def test_a_record_is_not_continued_otherwise_than_it_was_begun(
    gauntlet: Gauntlet, tmp_path: Path, option: str, before: str
) -> None:
    whole = (CleanRun(number=1, seed=1),)
    write_json(tmp_path / "clean.json", msgspec.structs.replace(RECORD, code=code_digest(), runs=whole))
    code, told = gauntlet("clean", "--runs", "1", "--run-dir", tmp_path, option)
    assert (code, f"begun with {before}" in " ".join(told.split())) == (3, True), told
    assert gauntlet("clean", "--runs", "1", "--run-dir", tmp_path)[0] == 0


CATALOGUE = """
[B1]
name = "a bug"
story = "It breaks."
source = "common"
expect = ["{expect}"]
scenario = "explore"
[[B1.edit]]
file = "system_under_test/crm/app.py"
old = "nowhere to be found"
new = "x"
"""


@pytest.mark.parametrize(
    ("expect", "words", "says"),
    [
        ("stage_chains", [], "did you mean stage_chain?"),
        ("zzz", [], "there are: one_deal_per_lead"),
        ("schema", ["B2"], "no bug 'B2'; there are: B1"),
    ],
)
def test_a_catalogue_from_elsewhere_is_checked_first(
    gauntlet: Gauntlet, tmp_path: Path, expect: str, words: list[str], says: str
) -> None:
    file = tmp_path / "bugs.toml"
    file.write_text(CATALOGUE.format(expect=expect))
    code, told = gauntlet("bugs", *words, "--catalogue", file, "--run-dir", tmp_path / "run")
    assert (code, says in told) == (3, True), told


def test_a_stale_bug_is_told_and_is_not_killed(gauntlet: Gauntlet, tmp_path: Path) -> None:
    file = tmp_path / "bugs.toml"
    file.write_text(CATALOGUE.format(expect="schema"))
    code, told = gauntlet("bugs", "--catalogue", file, "--run-dir", tmp_path / "run")
    assert code == 1
    assert "0 of 1 killed, 1 stale" in told
    assert "1 stale" in (tmp_path / "run" / "kill-matrix.md").read_text()
