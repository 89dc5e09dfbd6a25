"""Boots of a run take turns, and so do those of a run inside it: two at once would both be late."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from conftest import run_of
from scenarios.boot_turns import VARIABLE, one_at_a_time


def is_taken(turns: Path) -> bool:
    with turns.open("w") as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.fixture(autouse=True)
def _of_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")  # so that it is as it was after the test
    monkeypatch.delenv(VARIABLE)


def a_worker_of(run: Path) -> pytest.Config:
    return cast(pytest.Config, SimpleNamespace(stash=pytest.Stash(), workerinput={"gauntlet_run": str(run)}))


def test_a_boot_has_its_turn_until_it_is_up(tmp_path: Path) -> None:
    with one_at_a_time(tmp_path / "run"):
        (turns,) = (tmp_path / "run").iterdir()
        assert is_taken(turns)
    assert not is_taken(turns)


def test_what_a_worker_starts_takes_turns_with_the_workers_run(tmp_path: Path) -> None:
    run_of(a_worker_of(tmp_path / "outer"))
    with one_at_a_time(tmp_path / "outer" / "canaries" / "run"):
        assert is_taken(Path(os.environ[VARIABLE]))
        assert Path(os.environ[VARIABLE]).parent == tmp_path / "outer"


def test_a_run_inside_another_does_not_leave_its_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "outer" / "turns"))
    run_of(a_worker_of(tmp_path / "inner"))
    assert os.environ[VARIABLE] == str(tmp_path / "outer" / "turns")
