"""The canaries: with a bug planted in the system, the gauntlet must turn red, and for the right property.

Every gate proves its own power on three bugs of its target's catalogue, other ones each day.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from chaos.seeded_bugs.catalogue import load_catalogue
from harness.checks.run_verdict import RunRecord
from harness.evidence.run_directory import RunDirectory, read_json
from harness.target import PROJECT_ROOT, load_target
from scenarios.kill_matrix.hunt import Hunting, hunt
from scenarios.kill_matrix.stages import stages

WITHIN_S = 300.0
"""A bug dies within seconds on an idle machine; this is for one that is not."""
PLACES = ("first", "second", "third")


def drawn(day: str, known: Iterable[str]) -> list[str]:
    """The bugs of a day. The day is the run's: workers that collect around midnight draw the same."""
    return random.Random(day).sample(sorted(known), len(PLACES))


@pytest.mark.canary
@pytest.mark.parametrize("place", PLACES)
def test_a_planted_bug_turns_its_scenario_red_for_the_right_property(
    place: str, run_directory: RunDirectory, record_property: Callable[[str, object], None]
) -> None:
    """Runs one scenario as a run of its own, on a stack of its own, against a copy of the system with the bug in it."""
    record = read_json(run_directory.run_file, RunRecord)
    target_file = Path(record.target_file)
    target = load_target(target_file)
    known = load_catalogue(PROJECT_ROOT / target.bugs)
    name = drawn(record.began_at[:10], known)[PLACES.index(place)]
    record_property("bug", f"{name}: {known[name].name}")
    record_property("source", known[name].source)
    likely = next(stages(known[name], known, target))
    hunting = Hunting(seed=record.seed, within_s=WITHIN_S, target_file=target_file)
    hunted = hunt(name, known[name], run_directory.root / "canaries" / name, [likely], hunting, lambda bug, stage: None)
    assert hunted.outcome == "killed", (
        f"{name} ({hunted.name}) should fail one of {', '.join(hunted.expect)}, and it was {hunted.outcome}: "
        f"{hunted.says}; its run: {hunted.run}"
    )
