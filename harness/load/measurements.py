"""All that was measured in one load run, read from its files: what series, gates and knee are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harness.evidence.evidence import process_starts
from harness.evidence.records import Fault, ScenarioRecord
from harness.evidence.run_directory import ScenarioDirectory, each_record, read_json, read_records
from harness.load.flows import Flows, LogFile, follow
from harness.load.records import LoadPlan, Observation, Sample
from harness.load.requests import Traffic, traffic
from harness.load.tracks import Track, track_of
from harness.target import Target

GENERATOR = "generator"


@dataclass(frozen=True, slots=True)
class Observed:
    """What the observer saw, each by itself. ``depth``: messages ready in all queues but that of the dead letters.
    ``cpu_cores``, ``rss_bytes``: of each process, and of the generator. ``others``: the share of all cores that nobody
    of ours used, empty where the cores were not counted."""

    unsent: Track
    oldest_unsent_s: Track
    depth: Track
    dead_letters: Track
    machine_cpu: Track
    others: Track
    cpu_cores: dict[str, Track]
    rss_bytes: dict[str, Track]


@dataclass(frozen=True, slots=True)
class Measurements:
    """One run, before anything is made of it."""

    plan: LoadPlan
    traffic: Traffic
    flows: Flows
    observed: Observed
    faults: tuple[Fault, ...]
    services: tuple[str, ...]

    @property
    def warm_ns(self) -> int:
        """From here on it counts."""
        return self.plan.began_ns + round(self.plan.warm_up_s * 1e9)

    @property
    def scheduled_until_ns(self) -> int:
        """Where the last step ends."""
        return self.plan.began_ns + round(sum(step.seconds for step in self.plan.steps) * 1e9)

    @property
    def over_ns(self) -> int:
        """Everything has come to rest, or was given up."""
        return max(self.scheduled_until_ns, self.plan.ended_ns, self.plan.drained_ns or 0) + 1

    @property
    def drain_s(self) -> float | None:
        """From the last answer until nothing waited any more."""
        drained = self.plan.drained_ns
        return None if drained is None else round(max(0, drained - self.plan.ended_ns) / 1e9, 3)


def read_measurements(scenario: ScenarioDirectory, target: Target) -> Measurements:
    """Read what a load run has left: ``RUN/load/``, the faults of its scenario, and the logs of its stack.

    Raises EvidenceError for a missing or broken file.
    """
    folder = scenario.run.root / "load"
    record = read_json(scenario.scenario_file, ScenarioRecord)
    logs = [
        LogFile(path, start)
        for start in process_starts(scenario.run, record.stack)
        if (path := scenario.run.logs(record.stack) / start.file).exists()
    ]
    seen = traffic(_samples(folder))
    plan = read_json(folder / "plan.json", LoadPlan)
    return Measurements(
        plan=plan,
        traffic=seen,
        flows=follow(seen.asked, logs),
        observed=observed(each_record(folder / "observed.ndjson", Observation), target, cores=plan.cores),
        faults=read_records(scenario.faults_file, Fault),
        services=tuple(target.services),
    )


def _samples(folder: Path) -> Iterator[Sample]:
    for path in sorted(folder.glob("samples-*.ndjson")):
        yield from each_record(path, Sample)


def observed(observations: Iterable[Observation], target: Target, *, cores: int = 0) -> Observed:
    """Sort observations into tracks."""
    seen = sorted(observations, key=lambda one: one.at_ns)
    dead, used = target.broker.dead_letter_queue, _cores(seen)
    rss: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for one in seen:
        for process, usage in one.usage.items():
            rss[process].append((one.at_ns, usage.rss_bytes))
    return Observed(
        unsent=track_of((one.at_ns, one.unsent) for one in seen),
        oldest_unsent_s=track_of((one.at_ns, one.oldest_unsent_s) for one in seen),
        depth=track_of((one.at_ns, sum(n for queue, n in one.depths.items() if queue != dead)) for one in seen),
        dead_letters=track_of((one.at_ns, one.dead_letters) for one in seen),
        machine_cpu=track_of((one.at_ns, one.machine_cpu) for one in seen),
        others=_others(seen, used, cores) if cores else Track(),
        cpu_cores=used,
        rss_bytes={process: track_of(pairs) for process, pairs in rss.items()},
    )


def _others(seen: Sequence[Observation], used: Mapping[str, Track], cores: int) -> Track:
    ours: dict[int, float] = defaultdict(float)
    for track in used.values():
        for at_ns, value in zip(track.moments_ns, track.values, strict=True):
            ours[at_ns] += value / cores
    return track_of((one.at_ns, max(0.0, one.machine_cpu - ours[one.at_ns])) for one in seen if one.at_ns in ours)


def _cores(seen: Sequence[Observation]) -> dict[str, Track]:
    """Cores in use since the observation before. A process that was started anew counts from 0 again: that is none."""
    cores: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for before, one in pairwise(seen):
        for process, usage in one.usage.items():
            earlier = before.usage.get(process)
            if earlier is not None and usage.cpu_s >= earlier.cpu_s and one.at_ns > before.at_ns:
                cores[process].append((one.at_ns, (usage.cpu_s - earlier.cpu_s) / (one.at_ns - before.at_ns) * 1e9))
    return {process: track_of(pairs) for process, pairs in cores.items()}
