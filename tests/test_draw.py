"""Drawn schedules: from the seed alone, varied, fit to be run, and aimed at what other faults set off."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter

import pytest

from chaos.schedule import moments
from chaos.schedule.checking import check
from chaos.schedule.draw import draw
from chaos.schedule.kinds import KINDS
from chaos.schedule.schedule import OURS, Schedule, as_toml, parse
from harness.target import PROJECT_ROOT, load_target

TARGET = load_target()
MANY = [draw(7, number, TARGET, on_the_wire=True) for number in range(400)]
WITHOUT = [draw(7, number, TARGET, on_the_wire=False) for number in range(100)]
_PRINT = """
import hashlib
from chaos.schedule.draw import draw
from chaos.schedule.schedule import as_toml
from harness.target import load_target
texts = [as_toml(draw(7, number, load_target(), on_the_wire=True)) for number in range(60)]
print(hashlib.sha256("".join(texts).encode()).hexdigest())
"""


@pytest.mark.parametrize("hash_seed", ["0", "1234"])
def test_the_same_seed_draws_the_same_bytes_in_any_process(hash_seed: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT), "PYTHONHASHSEED": hash_seed}
    told = subprocess.run(
        [sys.executable, "-c", _PRINT], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    here = "".join(as_toml(schedule) for schedule in MANY[:60])
    assert told.stdout.strip() == hashlib.sha256(here.encode()).hexdigest()


def test_another_seed_and_another_number_draw_something_else() -> None:
    texts = {as_toml(draw(seed, number, TARGET, on_the_wire=True)) for seed in (1, 2) for number in range(20)}
    assert len(texts) == 40


@pytest.mark.parametrize("schedules", [MANY, WITHOUT], ids=["wire", "no wire"])
def test_every_drawn_schedule_can_be_run_and_written_down(schedules: list[Schedule]) -> None:
    for schedule in schedules:
        check(schedule, TARGET)
        assert parse(as_toml(schedule)) == schedule


def test_a_schedule_has_one_to_three_faults_each_at_a_place_of_its_own() -> None:
    for schedule in MANY:
        places = [fault.place for fault in schedule.faults]
        assert 1 <= len(places) <= 3
        assert len(set(places)) == len(places)


def test_every_kind_is_drawn_and_every_kind_of_step() -> None:
    assert {fault.kind for schedule in MANY for fault in schedule.faults} == set(KINDS)
    does = Counter(step.do for schedule in MANY for step in schedule.steps)
    assert len(does) == 7, does


def test_what_a_step_is_about_was_made_before() -> None:
    for schedule in MANY:
        made = {step.on for step in schedule.steps if step.do == "create lead"}
        assert {step.lead for step in schedule.steps} - {""} <= made


def test_without_a_wire_aware_proxy_nothing_depends_on_the_wire() -> None:
    assert not any(fault.at.on_the_wire for schedule in WITHOUT for fault in schedule.faults)
    assert any(fault.at.on_the_wire for schedule in MANY for fault in schedule.faults)


def test_we_never_publish_while_the_broker_may_not_take_it() -> None:
    closed = [s for s in MANY if any(KINDS[fault.kind].in_the_broker(TARGET, fault.place) for fault in s.faults)]
    assert closed
    assert not any(step.do in OURS for schedule in closed for step in schedule.steps)


def test_later_faults_strike_at_what_earlier_ones_set_off() -> None:
    rare = [*moments.retries(TARGET), *(m for service in TARGET.services for m in moments.reconnects(TARGET, service))]
    aimed = {(moment.edge, moment.event, moment.detail) for moment in rare}
    several = [schedule for schedule in MANY if len(schedule.faults) > 1]
    struck = [s for s in several if any((f.at.edge, f.at.event, f.at.detail) in aimed for f in s.faults[1:])]
    assert len(struck) > len(several) / 8


def test_each_schedule_leaves_something_out() -> None:
    """Swarm testing: what is always there hides what would happen without it."""
    for do in ("move", "read", "change", "create deal"):
        having = sum(any(step.do == do for step in schedule.steps) for schedule in MANY)
        assert 0 < having < len(MANY)
