"""A schedule is a file that people read and write: what it cannot mean is refused with what would do."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from chaos.schedule.checking import check
from chaos.schedule.kinds import KINDS
from chaos.schedule.schedule import Schedule, ScheduleError, as_toml, parse, read_schedule
from harness.target import load_target

TARGET = load_target()
TEXT = """\
# written by hand
format = 1

[[lanes]]
steps = [
    { do = "create lead", on = "lead-1" },
    { do = "move", on = "lead-1", to = "qualified", version = "known", pause_ms = 20 },
]

[[lanes]]
steps = [
    { do = "read", on = "deal-1" },
]

[[faults]]
kind = "latency"
place = "pipeline→broker"
at = { step = 1, lane = 2 }
for_ms = 500
parameters = { stream = "upstream", delay_ms = 30 }

[[faults]]
kind = "SIGKILL"
place = "pipeline"
at = { edge = "pipeline→broker", stream = "upstream", event = "publish", detail = "*/lead.*", nth = 2, when = "after" }
"""


def test_a_schedule_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    schedule = parse(TEXT)
    (tmp_path / "a.toml").write_text(as_toml(schedule, comment="found\nyesterday"), encoding="utf-8")
    assert read_schedule(tmp_path / "a.toml") == schedule
    assert (tmp_path / "a.toml").read_text(encoding="utf-8").startswith("# found\n# yesterday\nformat = 1\n")


def test_what_is_written_by_hand_is_written_back_in_the_same_words() -> None:
    assert as_toml(parse(TEXT), comment="written by hand") == TEXT


def test_text_with_quotes_and_umlauts_survives() -> None:
    fault = replace(parse(TEXT).faults[1], place='a "quoted" \\ plâce')
    schedule = replace(parse(TEXT), faults=(fault,))
    assert parse(as_toml(schedule)) == schedule


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("format = 1", "format = 2", "format = 2: this gauntlet reads format 1"),
        ('"move"', '"mvoe"', "did you mean 'move'.*lanes.0..steps.1"),
        ('"lead-1", to', '"led-1", to', "on = 'led-1': expected lead-1"),
        ('to = "qualified", ', "", "move with to = ''"),
        ('"create lead", on = "lead-1"', '"create lead", on = "deal-1"', "create lead is for a lead"),
        ("pause_ms = 20", "pause_ms = 99999", "pause_ms = 99999: expected 0 to"),
        ("step = 1, lane = 2", "step = 2, lane = 2", "at step 2 of lane 2, which has only 1"),
        ("step = 1, lane = 2", "step = 1, lane = 3", "lane 3, but there are 2"),
        ("step = 1, lane = 2", 'step = 1, edge = "pipeline→broker"', "a moment is either"),
        ('event = "publish", ', "", "a moment is either"),
        ("nth = 2", "nth = 0", "events are counted from 1"),
        ('"upstream", event', '"up", event', "up"),
        ("for_ms = 500", "for_ms = 0", "for_ms = 0: expected 1 to"),
        ("for_ms", "fro_ms", "fro_ms"),
        ("[[lanes]]", "[[lanes]", "line"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_would_do(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(TEXT.replace(old, new), encoding="utf-8")
    with pytest.raises(ScheduleError, match=says) as raised:
        read_schedule(path)
    assert str(path) in str(raised.value)


def test_a_schedule_without_steps_is_none() -> None:
    with pytest.raises(ScheduleError, match="no client does anything"):
        parse("format = 1\n[[lanes]]\nsteps = []\n")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match=r"nowhere\.toml"):
        read_schedule(tmp_path / "nowhere.toml")


def test_a_good_schedule_can_be_run_on_the_reference_target() -> None:
    check(parse(TEXT), TARGET)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"SIGKILL"', '"SIGKIL"', "did you mean 'SIGKILL'"),
        ('place = "pipeline"', 'place = "pipelin"', "did you mean 'pipeline'"),
        ('"qualified"', '"qualifed"', "did you mean 'qualified'"),
        ("delay_ms = 30", "delay = 30", "expected: stream, delay_ms"),
        ("delay_ms = 30", 'delay_ms = "long"', "expected a whole number"),
        ("delay_ms = 30", "delay_ms = -1", "expected a whole number"),
        ('stream = "upstream", delay_ms', 'stream = "up", delay_ms', "expected 'upstream' or 'downstream'"),
        ('edge = "pipeline→broker"', 'edge = "pipeline→brok"', "did you mean 'pipeline→broker'"),
    ],
)
def test_what_this_target_does_not_have_is_refused(old: str, new: str, says: str) -> None:
    with pytest.raises(ScheduleError, match=says):
        check(parse(TEXT.replace(old, new)), TARGET)


def test_we_publish_nothing_ourselves_while_the_broker_may_not_take_it() -> None:
    text = TEXT.replace('{ do = "read", on = "deal-1" }', '{ do = "poison" }')
    text = text.replace('"SIGKILL"\nplace = "pipeline"', '"SIGKILL"\nplace = "rabbitmq"')
    with pytest.raises(ScheduleError, match="poison needs a broker that takes messages"):
        check(parse(text), TARGET)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_a_place_on_the_reference_target(name: str) -> None:
    assert KINDS[name].places(TARGET)


def test_a_schedule_says_in_one_line_what_it_does() -> None:
    assert str(parse(TEXT)) == (
        "3 steps in 2 lane(s); latency on pipeline→broker stream=upstream delay_ms=30, after step 1 of lane 2 for "
        "500 ms; SIGKILL on pipeline, after publish */lead.* no. 2 on pipeline→broker upstream"
    )


def test_schedules_that_mean_the_same_are_equal() -> None:
    assert isinstance(parse(TEXT), Schedule)
    assert parse(TEXT) == parse(TEXT.replace("format = 1", "format = 1  # the only one"))
