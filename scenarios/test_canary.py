"""The canaries: with a bug planted in the system, the gauntlet must turn red, and for the right property.

Every gate proves its own power on three bugs of its target's catalogue, other ones each day. Those that die slowly are
left to the kill matrix: a gate is to take as long on one day as on another.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from chaos.seeded_bugs.catalogue import Bug, load_catalogue
from harness.checks.run_verdict import RunRecord
from harness.evidence.run_directory import RunDirectory, read_json
from harness.target import PROJECT_ROOT, load_target
from scenarios.kill_matrix.hunt import Hunting, hunt_together
from scenarios.kill_matrix.stages import is_scenario

WITHIN_S = 300.0
"""They die within seconds on an idle machine; this is for one that is not."""
COUNT = 3


def drawn(day: str, known: Mapping[str, Bug]) -> dict[str, Bug]:
    """The bugs of a day, each with a scenario of its own. The day is the run's, which may go on after midnight."""
    found: dict[str, Bug] = {}
    for name in random.Random(day).sample(sorted(known), len(known)):
        scenario = known[name].scenario
        fits = is_scenario(scenario) and not known[name].slow
        if fits and scenario not in {bug.scenario for bug in found.values()}:
            found[name] = known[name]
    return dict(list(found.items())[:COUNT])


@pytest.mark.canary
def test_planted_bugs_turn_their_scenarios_red_for_the_right_property(
    run_directory: RunDirectory, record_property: Callable[[str, object], None]
) -> None:
    """Runs one scenario a bug, on a stack of its own, against a copy of the system with that bug in it."""
    record = read_json(run_directory.run_file, RunRecord)
    target_file = Path(record.target_file)
    bugs = drawn(record.began_at[:10], load_catalogue(PROJECT_ROOT / load_target(target_file).bugs))
    for name, bug in bugs.items():
        record_property(f"bug {name}", bug.name)
        record_property(f"source {name}", bug.source)
    hunting = Hunting(seed=record.seed, within_s=WITHIN_S, target_file=target_file)
    alive = [
        f"{one.bug} ({one.name}) should fail one of {', '.join(one.expect)}, and it was {one.outcome}: {one.says}; "
        f"its run: {one.run}"
        for one in hunt_together(bugs, run_directory.root / "canaries", hunting)
        if one.outcome != "killed"
    ]
    assert not alive, "\n".join(alive)
