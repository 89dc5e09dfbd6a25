"""Boots of a run take turns, and so do those of a run inside it: the first alone, then as many as there are cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from conftest import run_of
from scenarios.boot_turns import VARIABLE, turn_to_boot

_SOON_S = 0.2
"""A boot that may begin has begun by then; of one that may not, longer looks would show no more."""
_CORES = 2


@pytest.fixture(autouse=True)
def _of_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")  # so that it is as it was after the test
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(_CORES)))


class Boot:
    """One that boots as soon as it may, until it is up. ``begun`` is set when it may."""

    def __init__(self, run: Path) -> None:
        self.begun, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._boot, args=(run,))
        self._thread.start()

    def _boot(self, run: Path) -> None:
        with turn_to_boot(run):
            self.begun.set()
            self._done.wait()

    def is_up(self) -> None:
        self._done.set()

    def join(self) -> None:
        self._thread.join()


@pytest.fixture
def boot() -> Iterator[Callable[[Path], Boot]]:
    boots: list[Boot] = []

    def begin(run: Path) -> Boot:
        boots.append(Boot(run))
        return boots[-1]

    yield begin
    for one in boots:
        one.is_up()
    for one in boots:
        one.join()


def a_worker_of(run: Path) -> pytest.Config:
    return cast(pytest.Config, SimpleNamespace(stash=pytest.Stash(), workerinput={"gauntlet_run": str(run)}))


def test_the_first_boots_alone(tmp_path: Path, boot: Callable[[Path], Boot]) -> None:
    with turn_to_boot(tmp_path):
        second = boot(tmp_path)
        assert not second.begun.wait(_SOON_S)
    assert second.begun.wait(10)


def test_after_the_first_as_many_boot_as_there_are_cores(tmp_path: Path, boot: Callable[[Path], Boot]) -> None:
    with turn_to_boot(tmp_path):
        pass
    at_once = [boot(tmp_path) for _ in range(_CORES)]
    assert all(one.begun.wait(10) for one in at_once)
    one_more = boot(tmp_path)
    assert not one_more.begun.wait(_SOON_S)
    for one in at_once:
        one.is_up()
    assert one_more.begun.wait(10)


def test_what_a_worker_starts_takes_turns_with_the_workers_run(tmp_path: Path, boot: Callable[[Path], Boot]) -> None:
    run_of(a_worker_of(tmp_path / "outer"))
    with turn_to_boot(tmp_path / "outer"):
        inside = boot(tmp_path / "outer" / "canaries" / "run")
        assert not inside.begun.wait(_SOON_S)
    assert inside.begun.wait(10)


def test_a_run_inside_another_does_not_leave_its_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "outer" / "turns"))
    run_of(a_worker_of(tmp_path / "inner"))
    assert os.environ[VARIABLE] == str(tmp_path / "outer" / "turns")
