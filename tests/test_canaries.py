"""Which bugs a gate plants to see itself turn red."""

from __future__ import annotations

from datetime import date, timedelta

from chaos.seeded_bugs.catalogue import CATALOGUE, load_catalogue
from scenarios.kill_matrix.stages import is_scenario
from scenarios.test_canary import COUNT, drawn

KNOWN = load_catalogue(CATALOGUE)
DAYS = [str(date(2026, 1, 1) + timedelta(days)) for days in range(400)]


def test_some_are_drawn_each_day_and_each_has_a_scenario_of_its_own() -> None:
    for day in DAYS:
        bugs = drawn(day, KNOWN)
        assert len({bug.scenario for bug in bugs.values()}) == len(bugs) == COUNT
        assert bugs == drawn(day, KNOWN)


def test_each_that_has_a_scenario_has_its_day_unless_it_is_slow() -> None:
    seen = {name for day in DAYS for name in drawn(day, KNOWN)}
    assert seen == {name for name, bug in KNOWN.items() if is_scenario(bug.scenario) and not bug.slow}
    assert {"A42", "A43"}.isdisjoint(seen)
