"""Exploring finds what is red, shrinks it, writes it down; what it shows; how its commands end. Without stacks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from chaos.schedule.schedule import Schedule, as_toml, read_schedule
from harness.checks.judge import ScenarioVerdict
from harness.checks.verdict import Finding, Result
from harness.evidence.explored import Discovery, Explored, FaultOutcome, Ran
from harness.evidence.run_directory import RunDirectory, read_json
from harness.target import PROJECT_ROOT, load_target
from reports.explore_terminal import ExploreView, counts_text, explored_text, ran_text, replayed_table
from scenarios.explore.explore import Exploration, Plan, replay
from scenarios.explore.run_schedule import RunSchedule
from scenarios.trials import Trial, TrialResult, Trials
from tests.conftest import Gauntlet

TARGET = load_target()
Fails = Callable[[Schedule], str | None]


class AtOnce(Trials):
    """Trials whose verdict a function of the schedule gives: the property that fails, if one does."""

    def __init__(self, run: Path, fails: Fails) -> None:
        self.run, self.workers = RunDirectory(run), 2
        self._fails = fails
        self.names: list[str] = []

    def start(self, trial: Trial) -> Future[TrialResult]:
        assert isinstance(trial.body, RunSchedule)
        assert trial.name not in self.names, "each has a name of its own"
        self.names.append(trial.name)
        failed = self._fails(trial.body.schedule)
        finding = Finding(property=failed or "", says=f"{failed} is broken", severity="critical")
        result = Result(
            property=finding.property, status="fail" if failed else "pass", seen=1, floor=1,
            findings=(finding,) if failed else (),
        )  # fmt: skip
        verdict = ScenarioVerdict(scenario=trial.name, verdict=result.status, results=(result,))  # type: ignore[arg-type]
        done: Future[TrialResult] = Future()
        done.set_result(TrialResult(trial.name, verdict, (FaultOutcome(fault="cut", met="hit", hits=2),), 1.5))
        return done


class Heard:
    def __init__(self) -> None:
        self.phases: list[str] = []
        self.ran_names: list[str] = []

    def ran(self, one: Ran) -> None:
        self.ran_names.append(one.name)

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def tick(self) -> None:
        """Nothing to draw."""


def explored(tmp_path: Path, fails: Fails, *, schedules: int = 40) -> tuple[Explored, Heard, AtOnce]:
    plan = Plan(seed=7, for_s=60, schedules=schedules, target=TARGET, on_the_wire=True, shrink_for_s=60)
    heard, work = Heard(), AtOnce(tmp_path, fails)
    return Exploration(plan, work, heard).run(), heard, work


def kinds(schedule: Schedule) -> set[str]:
    return {fault.kind for fault in schedule.faults}


def test_what_is_red_is_confirmed_shrunk_and_written_as_a_file_that_can_be_read_again(tmp_path: Path) -> None:
    def fails(schedule: Schedule) -> str | None:
        return "stage_chain" if "SIGKILL" in kinds(schedule) else None

    done, heard, _ = explored(tmp_path, fails, schedules=300)
    (found,) = done.found
    assert (found.properties, found.red, found.of, found.faults, found.minimal) == (("stage_chain",), 10, 10, 1, True)
    schedule = read_schedule(Path(found.file))
    assert kinds(schedule) == {"SIGKILL"}
    text = Path(found.file).read_text(encoding="utf-8")
    assert text.startswith("# stage_chain: stage_chain is broken\n# red 10 of 10 times")
    assert f"# again: gauntlet replay {found.file}\n" in text
    assert any("again 5 times" in phase for phase in heard.phases)
    assert read_json(tmp_path / "explore.json", Explored) == done


def test_nothing_new_is_drawn_once_one_is_red(tmp_path: Path) -> None:
    done, heard, _ = explored(tmp_path, lambda schedule: "stage_chain" if schedule.number == 3 else None)
    assert len(done.ran) <= 3 + 1 + 3
    assert heard.ran_names == [one.name for one in done.ran]


def test_a_shrunk_schedule_does_not_stand_for_another_mistake(tmp_path: Path) -> None:
    def fails(schedule: Schedule) -> str | None:
        if not schedule.faults:
            return "no_leak"
        return "stage_chain" if len(schedule.faults) == 2 else None

    done, _, _ = explored(tmp_path, fails)
    assert done.found[0].faults == 2


def test_what_is_red_only_once_is_written_down_as_it_was(tmp_path: Path) -> None:
    seen: list[int] = []

    def fails(schedule: Schedule) -> str | None:
        seen.append(schedule.number)
        return "stage_chain" if len(seen) == 4 else None

    done, _, _ = explored(tmp_path, fails)
    (found,) = done.found
    assert (found.red, found.of, found.minimal) == (0, 5, False)
    assert "not as small as it could be" in Path(found.file).read_text(encoding="utf-8")


def test_all_green_tells_how_much_that_proves(tmp_path: Path) -> None:
    done, _, work = explored(tmp_path, lambda schedule: None, schedules=30)
    assert len(done.ran) == len(work.names) == 30
    assert done.below == pytest.approx(0.1)
    assert "0 findings: fewer than 10.0% of such schedules are red" in "\n".join(explored_text(done))


def test_with_ctrl_c_what_was_done_is_told(tmp_path: Path) -> None:
    def fails(schedule: Schedule) -> str | None:
        if schedule.number == 5:
            raise KeyboardInterrupt
        return None

    done, _, _ = explored(tmp_path, fails)
    assert done.interrupted
    assert "interrupted" in "\n".join(explored_text(done))


def test_with_ctrl_c_while_it_shrinks_the_finding_is_kept(tmp_path: Path) -> None:
    asked: list[Schedule] = []

    def fails(schedule: Schedule) -> str | None:
        asked.append(schedule)
        if len(asked) == 20:
            raise KeyboardInterrupt
        return "stage_chain" if schedule.number == 2 else None

    done, _, _ = explored(tmp_path, fails)
    assert done.interrupted
    assert Path(done.found[0].file).exists()


def test_a_replay_runs_as_often_as_it_is_told_to(tmp_path: Path) -> None:
    schedule = read_schedule(PROJECT_ROOT / "scenarios" / "regressions" / "retry-copy-cut.toml")
    ran = replay(schedule, 5, AtOnce(tmp_path, lambda _: None), Heard())
    assert [one.name for one in ran] == [f"replay 0{number}" for number in range(1, 6)]


# --- what is shown ----------------------------------------------------------------------------------------------

GREEN = Ran(
    name="explore 7-0001", schedule="3 steps in 1 lane(s); cut on pipeline→broker, at once", verdict="pass",
    faults=(FaultOutcome(fault="cut", met="hit", hits=3), FaultOutcome(fault="x", met="never came")), took_s=4.2,
)  # fmt: skip
RED = msgspec.structs.replace(GREEN, name="explore 7-0002", verdict="fail", failed=("stage_chain",), says="broken")
UNKNOWN = msgspec.structs.replace(GREEN, name="explore 7-0003", verdict="unknown", says="a line was lost")


def test_one_line_tells_the_verdict_why_and_what_the_faults_met() -> None:
    assert str(ran_text(GREEN)) == (
        "✓ explore 7-0001 4.2 s 3 steps in 1 lane(s); cut on pipeline→broker, at once  [hit, never came]"
    )
    assert "stage_chain" in str(ran_text(RED))
    assert "a line was lost" in str(ran_text(UNKNOWN))


def test_counts_tell_how_many_faults_hit() -> None:
    assert counts_text([GREEN, RED, UNKNOWN]) == (
        "3 schedules: 1 green, 1 red, 1 unknown; 3 of 6 faults hit (50%), 3 never came"
    )
    assert counts_text([]) == "0 schedules: 0 green; no faults yet"


def test_the_summary_shows_the_finding_and_the_command_that_does_it_again() -> None:
    found = Discovery(
        name="explore 7-0002 again 9", file="runs/x/findings/7-0002.toml", schedule="1 step",
        properties=("stage_chain",), says="the chain is broken", red=9, of=10, faults=1, steps=2, tried=12,
        minimal=True,
    )  # fmt: skip
    text = "\n".join(explored_text(Explored(seed=7, ran=(GREEN, RED, UNKNOWN), found=(found,))))
    for said in ("the chain is broken", "9 of 10", "gauntlet replay runs/x/findings/7-0002.toml", "1 fault(s), 2 step"):
        assert said in text
    assert "? explore 7-0003: a line was lost" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_the_view_shows_what_is_red_on_a_terminal_and_in_a_file(terminal: bool) -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=200, highlight=False, markup=False)
    with ExploreView(console, title="explore", for_s=60) as view:
        view.phase("exploring")
        view.ran(RED)
        view.tick()
    assert "explore 7-0002" in out.getvalue()
    assert "exploring" in out.getvalue()


def test_a_replay_is_summed_up_by_property() -> None:
    out = StringIO()
    Console(file=out, width=80).print(replayed_table([RED, RED, GREEN]))
    rows = [line.split() for line in out.getvalue().splitlines()]
    assert ["stage_chain", "2", "3"] in rows
    assert ["runs", "that", "are", "green", "1", "3"] in rows


# --- the commands -----------------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_same_schedules_every_time(gauntlet: Gauntlet) -> None:
    words = ("explore", "--seed", 7, "--dry-run", "--schedules", 3)
    (code, text), again = gauntlet(*words), gauntlet(*words)
    assert (code, text) == again
    assert code == 0
    assert text.count("format = 1") == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["explore", "--for", "soon"], "expected one such as 90s, 10m or 1h"),
        (["explore", "--for", "0"], "no duration"),
        (["explore", "-n", "0"], "-n"),
        (["replay", "nowhere.toml"], "nowhere.toml"),
        (["replay", "a.toml"], "did you mean 'SIGKILL'"),
        (["replay", "b.toml"], "format = 9: this gauntlet reads format 1"),
        (["replay", "good.toml", "--bug", "A99"], "no bug 'A99' in the catalogue; there are: A"),
    ],
)
def test_wrong_usage_says_what_would_do_and_exits_3(
    gauntlet: Gauntlet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    good = as_toml(read_schedule(PROJECT_ROOT / "scenarios" / "regressions" / "retry-copy-cut.toml"))
    (tmp_path / "good.toml").write_text(good, encoding="utf-8")
    (tmp_path / "a.toml").write_text(good.replace('"cut at"', '"SIGKIL"'), encoding="utf-8")
    (tmp_path / "b.toml").write_text(good.replace("format = 1", "format = 9"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, text = gauntlet(*words)
    assert code == 3
    assert says in text
