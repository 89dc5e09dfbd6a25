"""A load: arrivals that come when they come, all of which are answered, worked off and judged."""

from __future__ import annotations

from msgspec import structs

from harness.evidence.run_directory import read_records
from harness.load.records import Sample
from scenarios.load.drive import Load, Nobody, drive
from scenarios.load.generator import Fleet
from scenarios.load.order import BEGUN, order_for
from scenarios.load.profiles import find_profile
from scenarios.load.schedule import arrivals_of
from scenarios.world import World

_FOR_S, _RATE = 2.0, 20.0


def test_a_load_is_answered_and_worked_off(world: World) -> None:
    """By two processes, each scheduled request is sent once, and what comes of it is judged like everything else."""
    profile = find_profile("race_storm", rate=_RATE, for_s=_FOR_S)
    profile = structs.replace(profile, mix={**find_profile("smoke").mix, "race": 5})
    folder = world.run.scenario(world.name).root / "load"
    load = Load(profile=profile, seed=world.seed, fleet=Fleet(processes=2))
    doubts = drive(load, world, folder, Nobody())
    assert not doubts
    order = order_for(profile, crm="", pipeline="", token="", seed=world.seed, out=folder)
    due = [arrival.at_ns for arrival in arrivals_of(order) for _ in range(arrival.requests)]
    samples = [sample for part in range(2) for sample in read_records(folder / f"samples-{part}.ndjson", Sample)]
    began_ns = int((folder / BEGUN).read_text())
    assert sorted(sample.intended_ns - began_ns for sample in samples) == due
    amiss = [sample for sample in samples if not sample.meant]
    assert not amiss, f"{len(amiss)} of {len(samples)} were not answered as meant: {amiss[:3]}"
    assert world.leads_with_a_deal(), "no lead got a deal"
