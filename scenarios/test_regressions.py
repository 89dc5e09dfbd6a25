"""Schedules that were red once, with a bug that is mended or was planted: they stay green."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.schedule.checking import check
from chaos.schedule.schedule import read_schedule
from scenarios.explore.run_schedule import RunSchedule
from scenarios.world import World

FILES = sorted(Path(__file__).with_name("regressions").glob("*.toml"))


@pytest.mark.needs_wire_proxy
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_schedule_that_was_red_is_green(world: World, file: Path) -> None:
    schedule = read_schedule(file)
    check(schedule, world.target)
    outcomes = RunSchedule(schedule)(world)
    assert [one for one in outcomes if one.met != "hit"] == [], "a fault that hits nothing proves nothing"
