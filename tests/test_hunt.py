"""Hunting a planted bug: what counts as killed and what does not, what is run in which order. Without stacks."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaos.seeded_bugs.catalogue import Bug, Edit, load_catalogue
from harness.environment.waiting import eventually
from harness.evidence.hunted import Hunted, Judged, KillMatrix
from harness.evidence.run_directory import RunDirectory
from harness.target import DEFAULT_TARGET, load_target
from reports.kill_matrix import hunted_text, markdown, summary
from scenarios.kill_matrix import hunt as hunt_module
from scenarios.kill_matrix.bugs import hunt_all
from scenarios.kill_matrix.hunt import Hunting, hunt, hunt_together
from scenarios.kill_matrix.stages import Stage, is_scenario, likely, stages, whole_gate

WITHIN_S = 30.0
RACES = "test_races.py::test_ten_leads_qualify_at_once_and_each_gets_its_deal"
CRASHES = "test_crashes.py::test_automation_is_killed_while_its_action_waits_for_crm"

JUDGED = """
import sys, time
from pathlib import Path
from harness.checks.judge import ScenarioVerdict
from harness.checks.verdict import Finding, Result
from harness.evidence.records import ScenarioRecord
from harness.evidence.run_directory import RunDirectory, write_json

run = RunDirectory(Path(sys.argv[1].removeprefix("--run-dir=")))

def judged(name, *failed, error=None, verdict=None):
    record = ScenarioRecord(
        name=name, stack="main-1", target="x", seed=1, since="", error=error,
        began="2026-01-01T00:00:00.000000Z", until="2026-01-01T00:00:07.500000Z",
    )
    results = tuple(
        Result(property=one, status="fail", seen=1, floor=0, findings=(Finding(property=one, says=f"{one} is broken"),))
        for one in failed
    )
    directory = run.scenario(name)
    write_json(directory.scenario_file, record)
    word = verdict or ("fail" if failed or error else "pass")
    write_json(directory.verdict_file, ScenarioVerdict(scenario=name, verdict=word, results=results, error=error))
"""


@dataclass(frozen=True, slots=True)
class Scripted(Stage):
    """A stage whose verdicts a script writes."""

    script: str = ""

    def command(self, *, run_dir: Path, source_root: Path, seed: int, target: Path = DEFAULT_TARGET) -> list[str]:
        return [sys.executable, "-c", JUDGED + self.script, f"--run-dir={run_dir}", str(source_root)]


def bug(scenario: str = RACES, file: str = "system_under_test/crm/leads.py", old: str = "from __future__") -> Bug:
    edit = Edit(file=file, old=old, new=f"#\n{old}")
    return Bug(name="a bug", story="", source="", expect=("stage_chain",), scenario=scenario, edit=(edit,))


SOME = bug()


def hunted(
    tmp_path: Path, *scripts: str, bug: Bug = SOME, within_s: float = WITHIN_S, exhaustive: bool = False
) -> Hunted:
    found = [Scripted(f"stage{number}", (), script=script) for number, script in enumerate(scripts)]
    hunting = Hunting(seed=1, within_s=within_s, exhaustive=exhaustive)
    return hunt("B1", bug, tmp_path, found, hunting, lambda bug, stage: None)


def test_a_bug_is_killed_by_a_property_that_it_is_expected_to_break(tmp_path: Path) -> None:
    one = hunted(tmp_path, "judged('a'); judged('b', 'trace_complete', 'stage_chain')")
    assert (one.outcome, one.by, one.scenario, one.kill_s) == ("killed", ("stage_chain",), "b", 7.5)
    assert one.says == "stage_chain is broken"


def test_red_for_another_property_or_for_none_is_the_wrong_reason(tmp_path: Path) -> None:
    assert hunted(tmp_path / "1", "judged('a', 'trace_complete')").outcome == "wrong reason"
    by_itself = hunted(tmp_path / "2", "judged('a', error='AssertionError: 3')")
    assert (by_itself.outcome, "no property" in by_itself.says) == ("wrong reason", True)


def test_a_wrong_reason_is_no_end_while_there_may_be_a_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    first_began = hunt_module._first_began

    def noticing(run: RunDirectory, stack: str) -> str:
        seen.touch()
        return first_began(run, stack)

    monkeypatch.setattr(hunt_module, "_first_began", noticing)
    noticed = f"while not Path({str(seen)!r}).exists(): time.sleep(0.01)"
    one = hunted(tmp_path, f"judged('a', 'trace_complete')\n{noticed}\njudged('b', 'stage_chain')")
    assert (one.outcome, one.scenario, len(one.judged)) == ("killed", "b", 2)


def test_a_whole_stage_that_is_red_for_wrong_reasons_alone_is_the_end(tmp_path: Path) -> None:
    one = hunted(tmp_path, "judged('a', 'trace_complete')", "judged('b', 'stage_chain')")
    assert (one.outcome, [seen.scenario for seen in one.judged]) == ("wrong reason", ["a"])


def test_one_scenario_that_is_red_for_a_wrong_reason_is_not_the_end(tmp_path: Path) -> None:
    narrow = Scripted("likely", (), True, "judged('a', 'trace_complete')")
    wide = Scripted("gate", (), False, "judged('b', 'stage_chain')")
    hunting = Hunting(seed=1, within_s=WITHIN_S)
    one = hunt("B1", bug(), tmp_path, [narrow, wide], hunting, lambda bug, stage: None)
    assert (one.outcome, one.scenario) == ("killed", "b")


def test_the_first_red_for_a_right_reason_ends_it(tmp_path: Path) -> None:
    began = time.monotonic()
    one = hunted(tmp_path, "judged('a', 'stage_chain'); time.sleep(600)", "judged('b')")
    assert (one.outcome, [seen.scenario for seen in one.judged]) == ("killed", ["a"])
    assert time.monotonic() - began < WITHIN_S


def test_an_exhaustive_hunt_goes_on_and_a_right_reason_outweighs_an_earlier_wrong_one(tmp_path: Path) -> None:
    one = hunted(tmp_path, "judged('a', 'trace_complete')", "judged('b', 'stage_chain')", exhaustive=True)
    assert (one.outcome, one.scenario) == ("killed", "b")


def test_green_and_unknown_everywhere_is_survival(tmp_path: Path) -> None:
    one = hunted(tmp_path, "judged('a')", "judged('b', verdict='unknown')")
    assert (one.outcome, [seen.verdict for seen in one.judged]) == ("survived", ["pass", "unknown"])


def test_a_time_out_is_no_kill(tmp_path: Path) -> None:
    assert hunted(tmp_path, "time.sleep(600)", within_s=1.0).outcome == "timeout"


@pytest.mark.parametrize(
    "script", ["sys.exit('cannot import')", "(run.root / 'environment-failure.txt').write_text('cannot import')"]
)
def test_a_system_that_does_not_come_up_is_no_kill(tmp_path: Path, script: str) -> None:
    one = hunted(tmp_path, script)
    assert (one.outcome, one.says) == ("no stack", "cannot import")


def test_a_stale_bug_says_so_and_runs_nothing(tmp_path: Path) -> None:
    one = hunted(tmp_path, "judged('a', 'stage_chain')", bug=bug(old="not there at all"))
    assert (one.outcome, one.judged) == ("stale", ())
    assert "not there at all" in one.says


def test_the_scenario_that_a_bug_names_comes_first_and_a_survivor_meets_everything() -> None:
    found = list(stages(bug(), {}, load_target()))
    assert [stage.name for stage in found] == ["likely", "gate", "crash-sweep-crm", "nightly", "explore"]
    assert f"scenarios/{RACES}" in found[0].words
    assert f"--deselect=scenarios/{RACES}" in found[1].words


@pytest.mark.parametrize("hint", ["", "no such thing", "test_nowhere.py::test_x", "test_races.py::test_nothing"])
def test_a_hint_that_names_no_scenario_costs_nothing(hint: str) -> None:
    assert next(stages(bug(hint), {}, load_target())).name == "gate"


def test_a_bug_may_ask_for_a_crash_sweep_or_chaos_first() -> None:
    shared = bug("crash sweep", "system_under_test/service_kit/relay.py")
    names = [stage.name for stage in stages(shared, {}, load_target())]
    assert names[:4] == ["crash-sweep-crm", "crash-sweep-pipeline", "crash-sweep-automation", "gate"]
    assert next(stages(bug("explore"), {}, load_target())).name == "explore"


def test_what_kills_bugs_of_the_same_file_is_likely_to_kill_this_one() -> None:
    far = bug(RACES, "system_under_test/pipeline/stages.py")
    known = {"A1": far, "A2": far, "A3": bug(CRASHES)}
    assert likely(bug("unknown"), known) == [CRASHES, RACES]
    assert [word for word in whole_gate(bug("x"), known).words if "--first" in word] == [
        f"--first={CRASHES}", f"--first={RACES}",
    ]  # fmt: skip


def test_scenarios_are_known_by_file_and_name() -> None:
    assert is_scenario(CRASHES)
    assert is_scenario("test_races.py")
    assert not is_scenario("../conftest.py")


class Heard:
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.ended_bugs: list[str] = []

    def runs(self, bug: str, stage: str) -> None:
        self.stages.append(f"{bug} {stage}")

    def ended(self, one: Hunted) -> None:
        self.ended_bugs.append(one.bug)

    def tick(self) -> None:
        """Time passes."""


def test_many_bugs_are_hunted_side_by_side_and_told_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scripted(bug: Bug, known: object, target: object) -> Iterable[Stage]:
        return [Scripted("s", (), script=f"judged('a', {'stage_chain' if bug.name == 'seen' else ''!r})")]

    monkeypatch.setattr("scenarios.kill_matrix.bugs.stages", scripted)
    bugs = {"B2": bug(), "B1": bug(old="nowhere")}
    heard = Heard()
    found = hunt_all(
        bugs, {}, load_target(), tmp_path, Hunting(seed=1, within_s=WITHIN_S), workers=2, listener=heard
    )  # fmt: skip
    assert [one.bug for one in found] == ["B2", "B1"]
    assert sorted(heard.ended_bugs) == ["B1", "B2"]
    assert heard.stages == ["B2 s"]


@pytest.mark.parametrize(
    ("script", "outcomes"),
    [
        (f"judged({RACES!r}, 'stage_chain'); judged({CRASHES!r}, 'trace_complete')", ["killed", "wrong reason"]),
        (f"judged({CRASHES!r}, 'stage_chain'); judged({RACES!r})", ["survived", "killed"]),
        (f"judged({RACES!r}, 'stage_chain'); time.sleep(600)", ["killed", "timeout"]),
        ("judged('test_other.py::test_x', 'stage_chain')", ["survived", "survived"]),
        ("sys.exit(4)", ["no stack", "no stack"]),
    ],
)
def test_bugs_that_are_hunted_together_answer_each_for_its_own_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, outcomes: list[str]
) -> None:
    monkeypatch.setattr(hunt_module, "each_in_its_own", lambda sources: Scripted("together", (), script=script))
    within_s = 2.0 if "sleep" in script else WITHIN_S
    found = hunt_together({"B1": bug(), "B2": bug(CRASHES)}, tmp_path, Hunting(seed=1, within_s=within_s))
    assert [one.outcome for one in found] == outcomes


def test_an_interrupted_hunt_ends_what_it_has_started(tmp_path: Path) -> None:
    hunting = Hunting(seed=1, within_s=600.0, interrupted=threading.Event())
    marker = tmp_path / "started"
    script = f"Path({str(marker)!r}).write_text('x'); time.sleep(600)"
    found: list[Hunted] = []
    body = threading.Thread(
        target=lambda: found.append(
            hunt("B1", bug(), tmp_path, [Scripted("s", (), script=script)], hunting, lambda bug, stage: None)
        )
    )
    body.start()
    eventually(marker.exists, within_s=WITHIN_S, describe="the stage has begun")
    hunting.interrupted.set()
    body.join(WITHIN_S)
    assert (found[0].outcome, found[0].says) == ("not run", "interrupted")


def test_the_matrix_shows_who_killed_what_and_who_lives() -> None:
    red = Judged(scenario="test_races.py::test_x", verdict="fail", failed=("stage_chain",), after_s=3.0)
    other = Judged(scenario="test_crashes.py::test_y", verdict="fail", failed=("no_leak",))
    green = Judged(scenario="crash sweep crm 1", verdict="pass")
    dead = Hunted(
        bug="B1", name="one", outcome="killed", expect=("stage_chain",), by=("stage_chain",),
        scenario="test_races.py::test_x", kill_s=3.0, judged=(green, red),
    )  # fmt: skip
    alive = Hunted(
        bug="B2", name="two", outcome="wrong reason", expect=("schema",), says="failed: no_leak", judged=(other,)
    )
    matrix = KillMatrix(
        catalogue="c.toml", seed=1, began_at="2026-01-01", machine="m", workers=2, hunted=(dead, alive), took_s=9.0
    )
    page = markdown(matrix)
    assert "| B1 | one | killed by stage_chain | `test_races.py::test_x` | 3.0 s |" in page
    assert "| bug | crash | crashes | races |" in page
    assert "| B1 | · |  | **K** |" in page
    assert "| B2 |  | w |  |" in page
    assert summary(matrix).startswith("1 of 2 killed, 1 wrong reason; median 3.0 s after its stack is up")
    assert "failed: no_leak" in hunted_text(alive).plain


def test_the_hints_of_the_catalogue_are_scenarios() -> None:
    assert [name for name, known in load_catalogue().items() if not is_scenario(known.scenario)] == []
