"""A run directory of any size in which every promise is kept: what judging is measured on.

Its leads live through what real ones do: created, moved, qualified into a deal, told of by webhook, refused, read; some
of their events come twice, some are tried again, some die of a receiver that never answers well.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from harness.checks.run_verdict import RunRecord
from harness.evidence.recording import Recording
from harness.evidence.records import Rows, ScenarioRecord
from harness.evidence.run_directory import RunDirectory, write_json
from harness.evidence.write import write_evidence
from harness.target import DEFAULT_TARGET, MetricsSpec, load_target
from scenarios.bench.judge_lives import RULES, Life, Witnessed, ts

STACK, SCENARIO, SEED = "corpus", "judge_corpus", 7
SERVICES = ("crm", "pipeline", "automation")
SIDE_BY_SIDE = 20
"""So many leads live at the same time; the next ones begin when these have come to rest."""
SNAPSHOT_EVERY = 500
FATES = {3: 9, 11: 2, 17: 1, 23: 1}
"""The lead of each hundred → how often its webhook is answered with an error; so often is it tried, or it dies."""


def write_corpus(root: Path, *, operations: int, starts: int = 2) -> int:
    """Write a run of so many operations, each service started so often; how many log lines it has."""
    run, told = RunDirectory(root), Witnessed()
    run.logs(STACK).mkdir(parents=True)
    with ExitStack() as files:
        logs = {service: _Log(run.logs(STACK), service, files) for service in SERVICES}
        until = _live(told, logs, operations, starts)
    rows = Rows(
        leads=tuple(told.leads), deals=tuple(told.deals), stages=tuple(told.stages), history=tuple(told.history),
        outbox=tuple(told.outbox), rules=RULES, executions=tuple(told.executions), processed=tuple(told.processed),
        alerts=tuple(told.alerts),
    )  # fmt: skip
    scenario = ScenarioRecord(
        name=SCENARIO, stack=STACK, target="reference", seed=SEED, since="", until=until,
        expected_dead_letters=tuple(told.expected),
    )  # fmt: skip
    write_json(run.stack_file(STACK), _stack(starts))
    write_json(run.run_file, RunRecord(seed=SEED, target_file=str(DEFAULT_TARGET), source_root="", began_at=ts(0)))
    write_evidence(
        run.scenario(SCENARIO), scenario=scenario, recording=Recording(operations=told.operations), tap=told.tap,
        resting=told.resting, received=told.received, rows=rows,
    )  # fmt: skip
    return sum(log.written for log in logs.values())


def _live(told: Witnessed, logs: dict[str, _Log], operations: int, starts: int) -> str:
    """Batch after batch of leads; the moment of the end."""
    target, chance, now_us, lives = load_target(), random.Random(SEED), 0, itertools.count()
    for start in range(1, starts + 1):
        for log in logs.values():
            log.start(start, now_us)
        while len(told.operations) < operations * start // starts:
            began_us = now_us
            for number in itertools.islice(lives, SIDE_BY_SIDE):
                if len(told.operations) == operations:
                    break
                life = Life(told, target, chance, began_us + number % SIDE_BY_SIDE, FATES.get(number % 100, 0))
                steps = life.live(duplicate=number % 10 == 0)
                for _ in itertools.islice(steps, operations - len(told.operations)):
                    pass
                life.end()
                now_us = max(now_us, life.now_us)
            for line in sorted(told.lines, key=lambda line: str(line["ts"])):
                logs[line["service"]].write(line)
            told.lines.clear()
        for log in logs.values():
            log.stop(now_us + 1)
        now_us += 1_000_000
    return ts(now_us)


class _Metrics:
    """What one process counts of its own lines."""

    def __init__(self, spec: MetricsSpec) -> None:
        self._spec = spec
        self._duplicates: set[str] = set()
        self.counters: Counter[str] = Counter()
        self._durations: Counter[str] = Counter()
        self._sums_ms: dict[str, float] = defaultdict(float)

    def count(self, line: dict[str, Any]) -> None:
        for metrics, counts in ((self._spec.counters, self.counters), (self._spec.histograms, self._durations)):
            for name, counted in metrics.items():
                if counted.kind == line["event"]:
                    labels = ",".join(f'{label}="{line[label]}"' for label in counted.labels)
                    series = f"{name}{{{labels}}}" if labels else name
                    counts[series] += 1
                    if counted.sums_ms:
                        self._sums_ms[series] += line[counted.sums_ms]
        if line["event"] == "event.deduplicated":
            self._duplicates.add(line["delivery_id"])
        if line["event"] == "event.settled" and line["status"] == "acked":
            self.counters[self._spec.processed] += line["delivery_id"] not in self._duplicates

    def histograms(self) -> dict[str, dict[str, float]]:
        return {
            series: {"count": count, "sum": round(self._sums_ms[series] / 1000, 6)}
            for series, count in self._durations.items()
        }


class _Log:
    """What one service writes, one file for each of its starts."""

    def __init__(self, folder: Path, service: str, files: ExitStack) -> None:
        self._folder, self._service, self._files = folder, service, files
        self._instance, self._seq, self.written = "", 0, 0

    def start(self, number: int, now_us: int) -> None:
        self._file = self._files.enter_context((self._folder / f"{self._service}-{number}.ndjson").open("wb"))
        self._metrics = _Metrics(load_target().metrics)
        self._instance, self._seq = f"{self._service}-{number}-{SEED:06x}", 0
        self._about_itself(ts(now_us), "service.started", "ok", version="1.0.0", pid=number)

    def write(self, line: dict[str, Any]) -> None:
        line["instance"], line["seq"] = self._instance, self._seq
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._metrics.count(line)
        self._seq += 1
        self.written += 1
        if self._seq % SNAPSHOT_EVERY == 0:
            told = self._metrics
            self._about_itself(
                line["ts"], "metrics.snapshot", "ok", counters=told.counters, histograms=told.histograms()
            )

    def stop(self, now_us: int) -> None:
        self._about_itself(ts(now_us), "service.stopped", "graceful", version="1.0.0", pid=1)

    def _about_itself(self, moment: str, kind: str, status: str, **more: object) -> None:
        nothing = ("correlation_id", "event_id", "causation_id", "rule_id", "entity_type", "entity_id")
        self.write(
            {"ts": moment, "schema": "crm.log/1.0", "service": self._service, "instance": "", "seq": 0}
            | {"level": "info", "event": kind, **dict.fromkeys(nothing)}
            | {"status": status, "span_id": f"{self._seq:016x}", "parent_span_id": None, **more}
        )


def _stack(starts: int) -> dict[str, Any]:
    """What the environment would say of it. Its secrets are nowhere."""
    files = {
        s: [{"file": f"{s}-{n}.ndjson", "how": "stopped", "started_at": ""} for n in range(1, starts + 1)]
        for s in SERVICES
    }
    return {
        "services": SERVICES,
        "records": {service: {"starts": found} for service, found in files.items()},
        "tokens": {"alice": "token-of-alice-that-is-nowhere"},
        "passwords": {service: f"password-of-{service}-that-is-nowhere" for service in SERVICES},
    }
