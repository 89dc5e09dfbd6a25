"""A gate while it goes on: what every worker is at on a terminal, lines elsewhere, no colour for whoever wants none."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.evidence.clock import wall_now
from harness.evidence.present import Present, forget_presents, read_presents, write_present
from harness.evidence.recording import Recording
from harness.evidence.run_directory import RunDirectory
from reports.gate_view import GateView
from reports.results import Kind, ScenarioResult
from tests.builders import moment


def result(name: str = "test_a.py::test_x", kind: Kind = "pass", says: str = "") -> ScenarioResult:
    return ScenarioResult(
        name=name, kind=kind, file="scenarios/test_a.py", line=7, worker="gw0", began_at=moment(0), took_s=1.25,
        text=says, told={}, verdict=None, directory=None,
    )  # fmt: skip


def present(*broken: str) -> Present:
    return Present(worker="gw0", scenario="test_a.py::test_now", since=wall_now(), broken=broken)


def console(*, terminal: bool) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=100, highlight=False, markup=False, legacy_windows=False
    )


def told(shown: Console) -> str:
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


def screen(view: GateView, shown: Console) -> list[str]:
    with shown.capture() as captured:
        shown.print(view._screen())
    return [line.rstrip() for line in captured.get().splitlines()]


def test_without_a_terminal_each_scenario_is_a_line() -> None:
    shown = console(terminal=False)
    view = GateView(shown, presents=list)
    with view.ticking():
        view.expects(12)
        view.ended(result())
        view.ended(result("test_a.py::test_y", "broken promise", "no deal"))
    assert told(shown).splitlines() == [
        " 1/12  ✓ test_a.py::test_x  1.2 s",
        " 2/12  ✗ test_a.py::test_y  1.2 s  broken promise: no deal",
    ]


def test_a_quiet_gate_tells_only_what_is_not_green() -> None:
    shown = console(terminal=False)
    view = GateView(shown, presents=list, quiet=True)
    with view.ticking():
        view.expects(2)
        view.ended(result())
        view.ended(result(kind="not proven", says="a line was lost"))
    assert told(shown) == "2/2  ? test_a.py::test_x  1.2 s  not proven: a line was lost\n"


def test_its_screen_shows_what_each_worker_is_at_and_what_is_broken_right_now() -> None:
    shown = console(terminal=False)
    view = GateView(shown, presents=lambda: [present("cut on crm→broker", "SIGKILL on automation")])
    view.expects(134)
    for _ in range(5):
        view.ended(result())
    view.ended(result(kind="broken promise", says="no"))
    head, *workers = screen(view, shown)
    assert head.startswith("6/134  ✓ 5  ✗ 1  0:00, about ")
    assert head.endswith(" left")
    assert workers[0].startswith("gw0    test_a.py::test_now")
    assert [line.strip() for line in workers[1:]] == ["⚡ cut on crm→broker", "⚡ SIGKILL on automation"]


def test_the_name_of_a_long_scenario_gives_way_to_who_runs_it_and_for_how_long() -> None:
    shown = console(terminal=False)
    long = Present(worker="main", scenario=f"test_a.py::{'long_' * 40}", since=wall_now(), broken=(f"cut {'x' * 200}",))
    view = GateView(shown, presents=lambda: [long])
    _head, worker, broken = screen(view, shown)
    assert worker.startswith("main   test_a.py::long_")
    assert worker.endswith(" s")
    assert max(len(worker), len(broken)) <= 100


def test_on_a_terminal_what_is_green_leaves_no_line_and_what_is_red_stays() -> None:
    shown = console(terminal=True)
    view = GateView(shown, presents=list)
    view.expects(9)
    view.ended(result("test_a.py::test_green"))
    view.ended(result("test_a.py::test_red", "scenario error", "E   AssertionError: no"))
    assert "test_green" not in told(shown)
    assert "test_red" in told(shown)


def test_a_worker_that_crashed_is_at_nothing_any_more() -> None:
    shown = console(terminal=False)
    view = GateView(shown, presents=lambda: [present("cut on crm→broker")])
    view.expects(2)
    assert len(screen(view, shown)) == 3
    view.ended(result(present().scenario, "environment", "crashed"))
    assert len(screen(view, shown)) == 1


def test_nothing_is_drawn_while_others_write_on_the_terminal() -> None:
    shown = console(terminal=True)
    view = GateView(shown, presents=list)
    with view:
        view.expects(2)
        view.tick()
        view.pause()
        before = told(shown)
        view.ended(result(kind="environment", says="crashed"))
        assert "\x1b[2K" not in told(shown).removeprefix(before)
        view.expects(2)
        view.tick()
        assert "1/2" in told(shown).removeprefix(before)


def test_nothing_is_foretold_of_a_few_scenarios_nor_of_none_that_are_left() -> None:
    shown = console(terminal=False)
    view = GateView(shown, presents=list)
    view.expects(5)
    for number in range(5):
        assert "left" not in screen(view, shown)[0], number
        view.ended(result())
    assert "left" not in screen(view, shown)[0]


def test_no_colour_is_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    def line() -> str:
        shown = console(terminal=True)
        GateView(shown, presents=list).ended(result(kind="broken promise", says="no"))
        return told(shown)

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;31m" in line()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in line()


# --- how it comes to know ---------------------------------------------------------------------------------------


def test_what_workers_are_at_is_read_from_the_run_and_gone_when_it_ends(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert read_presents(run) == []
    write_present(run, present("cut"))
    (run.now / "gw1.json").write_text("{ half", encoding="utf-8")
    assert [(one.worker, one.broken) for one in read_presents(run)] == [("gw0", ("cut",))]
    forget_presents(run)
    assert not run.now.exists()
    forget_presents(run)


def test_what_is_broken_is_told_when_it_breaks_and_when_it_is_healed() -> None:
    recording, heard = Recording(), list[tuple[str, ...]]()
    recording.on_broken = heard.append
    with pytest.raises(RuntimeError), recording.broken("a"), recording.broken("b"):
        raise RuntimeError
    assert heard == [("a",), ("a", "b"), ("a",), ()]
