"""What it costs to write the evidence down: throughput at saturation, with it and without it, in turns on one stack.

Saturation: more is due than the system can answer, over a few connections that are never idle. With evidence, the tap
copies every message of the broker and is emptied into a file, and each request is written down as an operation; without
it, neither. What a gate needs (samples, observations) is written down in both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec

from harness.environment.machine import machine
from harness.evidence.run_directory import RunDirectory, read_records, write_json
from harness.load.records import Sample, Step
from harness.target import PROJECT_ROOT, load_target
from scenarios.load.drive import Load, Nobody, drive
from scenarios.load.profiles import Profile
from scenarios.stacks import Stacks
from scenarios.world import World

ROUNDS = 8
LEAST_RATIO = 0.95
_CONNECTIONS = 8
_STEP = Step(seconds=1.2, from_rate=900.0, to_rate=900.0)
_PROFILE = Profile(
    name="saturated", says="", arrivals="constant", warm_up_s=0, steps=(_STEP,), drain_s=120, mix={"create": 1},
    outage=None, stops_at=None,
)  # fmt: skip


class Cost(msgspec.Struct, kw_only=True):
    """Answers a second in each round."""

    machine: str
    with_evidence_per_s: list[float] = []
    without_per_s: list[float] = []

    @property
    def ratio(self) -> float:
        """The median of the rounds' own ratios: what both halves of a round suffer from does not count."""
        pairs = zip(self.with_evidence_per_s, self.without_per_s, strict=True)
        return median(one / other for one, other in pairs)

    @property
    def met(self) -> bool:
        return self.ratio >= LEAST_RATIO

    def __str__(self) -> str:
        with_, without = median(self.with_evidence_per_s), median(self.without_per_s)
        kept = "met" if self.met else "missed"
        return (
            f"{self.machine}\nPOST /leads at saturation: {with_:.0f}/s with evidence, {without:.0f}/s without;"
            f" ratio {self.ratio:.3f}, target ≥ {LEAST_RATIO}: {kept}"
        )


def measure(run_dir: Path, on_step: Callable[[str], None]) -> Cost:
    """Some rounds, each in both ways, by turns in either order."""
    found, run = Cost(machine=machine()), RunDirectory(run_dir)
    target = load_target()
    with Stacks(target, run, worker="bench", source_root=PROJECT_ROOT, breaks_broker=False) as stacks:
        for number in range(ROUNDS + 1):
            rates = {}
            for evidence in (True, False) if number % 2 else (False, True):
                stack, since = stacks.current()
                name = f"round-{number}-{'with' if evidence else 'without'}"
                rates[evidence] = _throughput(World(stack, target, run, name=name, seed=number, since=since), evidence)
            if number == 0:
                continue  # everything is cold
            found.with_evidence_per_s.append(rates[True])
            found.without_per_s.append(rates[False])
            on_step(f"round {number} of {ROUNDS}: {rates[True]:.0f}/s with evidence, {rates[False]:.0f}/s without")
    write_json(run_dir / "bench-load-cost.json", found)
    return found


def _throughput(world: World, evidence: bool) -> float:
    if evidence:
        world.broker.open_tap(lasting=False)
    else:
        world.broker.shut_tap()
    folder = world.run.scenario(world.name).root / "load"
    load = Load(profile=_PROFILE, seed=world.seed, evidence=evidence, connections=_CONNECTIONS)
    drive(load, world, folder, Nobody())
    world.write_down(None)
    samples = read_records(folder / "samples-0.ndjson", Sample)
    seconds = (max(one.ended_ns for one in samples) - min(one.began_ns for one in samples)) / 1e9
    return round(sum(one.meant for one in samples) / seconds, 1)
