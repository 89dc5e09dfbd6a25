"""What a run leaves out is told, with its number and the reason; whoever names a scenario gets it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from harness.target import PROJECT_ROOT


def collected(*arguments: str, of: str = "test_clock.py") -> tuple[int, str]:
    """How many scenarios of a file a run would have, and all that it says."""
    command = [sys.executable, "-m", "pytest", f"scenarios/{of}", "--collect-only", "-q", *arguments]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )
    return len(re.findall(rf"^scenarios/{of}::", done.stdout, re.MULTILINE)), done.stdout


@pytest.fixture
def with_faketime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUNTLET_LIBFAKETIME", __file__)


def test_nightly_scenarios_are_left_out_and_counted_unless_they_are_asked_for() -> None:
    some, told = collected(of="test_broker_faults.py")
    every, told_of_all = collected("--nightly", of="test_broker_faults.py")
    assert 0 < some < every
    assert f"left out: {every - some} scenarios, nightly" in told
    assert f"({every - some} deselected)" in told
    assert "left out" not in told_of_all


@pytest.mark.usefixtures("with_faketime")
def test_whoever_names_a_scenario_gets_it_nightly_or_not() -> None:
    every, _ = collected("--nightly")
    assert collected("-k", "test_clock")[0] == every
    assert collected("-k", "fast-crm")[0] == 1


def test_what_cannot_be_run_here_is_left_out_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUNTLET_LIBFAKETIME", "/nothing")
    count, told = collected("--nightly")
    assert count == 0
    assert re.search(r"left out: \d+ scenarios, not applicable here, .*apt-get install faketime", told)


def test_random_chaos_is_collected_only_as_often_as_it_is_asked_for() -> None:
    def drawn(*arguments: str) -> int:
        return collected("-k", "drawn_schedule", *arguments, of="")[1].count("test_random_chaos.py::")

    assert (drawn(), drawn("--schedules", "3")) == (0, 3)


def test_canaries_come_first() -> None:
    _, told = collected(of="")
    items = [line for line in told.splitlines() if "::" in line]
    places = [place for place, item in enumerate(items) if item.startswith("scenarios/test_canary.py")]
    assert places == [0]
