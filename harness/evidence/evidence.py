"""All evidence of one scenario, read from its directory: the only input of the properties.

Reading is the same in the run itself and later (``gauntlet check``), so a verdict can always be reached again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec

from harness.contract.log_lines import (
    ContractViolation,
    EventReceived,
    EventSettled,
    Line,
    MetricsSnapshot,
    decode_line,
)
from harness.evidence.log_files import END, BrokenLine, LostLines, ProcessLog, read_process_log
from harness.evidence.records import (
    Fault,
    HealthProbe,
    How,
    Operation,
    ProcessStart,
    Received,
    RestingMessage,
    Rows,
    ScenarioRecord,
    Schema,
    TapMessage,
)
from harness.evidence.run_directory import RunDirectory, ScenarioDirectory, read_json, read_records
from harness.target import Target, load_target


@dataclass(frozen=True)
class Evidence:
    """What independent witnesses said (clients, log, broker, database, sinks), and what we broke meanwhile."""

    scenario: ScenarioRecord
    target: Target
    logs: tuple[ProcessLog, ...] = ()
    operations: tuple[Operation, ...] = ()
    tap: tuple[TapMessage, ...] = ()
    resting: tuple[RestingMessage, ...] = ()
    received: tuple[Received, ...] = ()
    rows: Rows = field(default_factory=Rows)
    faults: tuple[Fault, ...] = ()
    health: tuple[HealthProbe, ...] = ()
    schema: Schema = field(default_factory=Schema)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """What a secret of the stack is for → its text."""

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The scenario's lines of all processes, in the order of their timestamps."""
        return tuple(sorted((line for log in self.logs for line in log.lines), key=lambda line: line.ts))

    @property
    def broken_lines(self) -> list[BrokenLine]:
        return [broken for log in self.logs for broken in log.broken]

    @property
    def lost_lines(self) -> list[LostLines]:
        return [lost for log in self.logs for lost in log.lost]

    @cached_property
    def killed_instances(self) -> frozenset[str]:
        return frozenset(log.instance for log in self.logs if log.killed)

    @property
    def broker_was_killed(self) -> bool:
        """Then the firehose may have missed messages, and the tap is only a lower bound."""
        return any(fault.place == "broker" for fault in self.faults)


class _Start(msgspec.Struct):
    file: str
    how: How
    started_at: str
    ended_at: str | None = None


class _Process(msgspec.Struct):
    starts: tuple[_Start, ...] = ()


class _StackFile(msgspec.Struct):
    """What judging needs to know of a stack; the environment writes much more there."""

    services: tuple[str, ...]
    records: dict[str, _Process]
    replicas: dict[str, str] = {}
    tokens: dict[str, str] = {}
    passwords: dict[str, str] = {}


def process_starts(run: RunDirectory, stack: str) -> list[ProcessStart]:
    """Every start of a service that the stack has recorded so far. Raises EvidenceError."""
    known = read_json(run.stack_file(stack), _StackFile)
    return [
        ProcessStart(
            service=service,
            file=Path(start.file).name,  # a run directory may have been moved since
            how=start.how,
            started_at=start.started_at,
            ended_at=start.ended_at,
        )
        for name, service in [*((name, name) for name in known.services), *known.replicas.items()]
        for start in known.records[name].starts
    ]


def killed_instances(run: RunDirectory, stack: str) -> frozenset[str]:
    """The instances that a fault of ours has killed so far."""
    names = set()
    for start in process_starts(run, stack):
        if start.how == "killed":
            with (run.logs(stack) / start.file).open("rb") as file:
                first = file.readline()
            with suppress(ContractViolation):
                names.add(decode_line(first).instance)
    return frozenset(names)


def read_logs(run: RunDirectory, stack: str) -> list[ProcessLog]:
    """The whole log of one stack, one entry a process start."""
    return [
        read_process_log(path, start)
        for start in process_starts(run, stack)
        if (path := run.logs(stack) / start.file).exists()
    ]


def within(log: ProcessLog, since: str, until: str) -> ProcessLog:
    """The part of a log that belongs to a window: ``since < ts <= until``; a hole belongs where it may have been."""
    return ProcessLog(
        log.service,
        log.instance,
        log.file,
        log.killed,
        tuple(line for line in log.lines if since < line.ts <= until),
        tuple(broken for broken in log.broken if since < (broken.ts or END) <= until),
        tuple(lost for lost in log.lost if lost.since <= until and lost.until > since),
        _since_it_counted_at_rest([line for line in log.lines if line.ts <= since]),
    )


def _since_it_counted_at_rest(lines: Sequence[Line]) -> tuple[Line, ...]:
    """From its last metrics with no delivery in hand, or from its start."""
    begin = 0
    in_hand: set[str] = set()
    for index, line in enumerate(lines):
        if isinstance(line, EventReceived):
            in_hand.add(line.delivery_id)
        elif isinstance(line, EventSettled):
            in_hand.discard(line.delivery_id)
        elif isinstance(line, MetricsSnapshot) and not in_hand:
            begin = index
    return tuple(lines[begin:])


def load_evidence(directory: ScenarioDirectory, target: Target | None = None) -> Evidence:
    """Read one scenario's evidence. Raises EvidenceError for a missing or broken file."""
    scenario = read_json(directory.scenario_file, ScenarioRecord)
    told_more = scenario.format >= 2
    logs = [within(log, scenario.since, scenario.until) for log in read_logs(directory.run, scenario.stack)]
    return Evidence(
        scenario=scenario,
        target=target or load_target(Path(scenario.target)),
        logs=tuple(logs),
        operations=read_records(directory.operations_file, Operation),
        tap=read_records(directory.tap_file, TapMessage),
        resting=read_records(directory.resting_file, RestingMessage),
        received=read_records(directory.sinks_file, Received),
        rows=read_json(directory.rows_file, Rows),
        faults=read_records(directory.faults_file, Fault),
        health=read_records(directory.health_file, HealthProbe) if told_more else (),
        schema=read_json(directory.schema_file, Schema) if told_more else Schema(),
        secrets=_secrets(directory.run, scenario.stack),
    )


def _secrets(run: RunDirectory, stack: str) -> dict[str, str]:
    known = read_json(run.stack_file(stack), _StackFile)
    tokens = {f"the token of {name}": token for name, token in known.tokens.items()}
    return tokens | {f"the password of {role}": password for role, password in known.passwords.items()}
