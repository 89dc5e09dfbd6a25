"""Random chaos within a gate: as many drawn schedules as ``--schedules`` asks for, by the run's seed."""

from __future__ import annotations

import pytest

from chaos.schedule.draw import draw
from harness.environment.servers import chosen_proxy_server
from scenarios.explore.run_schedule import RunSchedule
from scenarios.world import World


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("number", range(metafunc.config.getoption("--schedules")))


def test_a_drawn_schedule_breaks_no_promise(world: World, number: int) -> None:
    """What it draws may hit nothing: then it has proven a little less, and is no failure."""
    RunSchedule(draw(world.seed, number, world.target, on_the_wire=chosen_proxy_server() == "wire"))(world)
