"""All evidence of one scenario, read from its directory: the only input of the properties.

Reading is the same in the run itself and later (``gauntlet check``), so a verdict can always be reached again.
"""

from __future__ import annotations

import gc
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import msgspec

from harness.contract.log_lines import Envelope, EventReceived, EventSettled, Line, MetricsSnapshot
from harness.evidence.log_files import (
    END,
    BrokenLine,
    LostLines,
    ProcessLog,
    complaints_beside,
    last_line,
    read_process_log,
)
from harness.evidence.ours import ours
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
    Topology,
)
from harness.evidence.run_directory import EvidenceError, RunDirectory, ScenarioDirectory, read_json, read_records
from harness.evidence.sharing import Sharing
from harness.target import Target, load_target

Kind = TypeVar("Kind", bound=Envelope)


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
    topology: Topology = field(default_factory=Topology)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """What a secret of the stack is for → its text."""

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The scenario's lines of all processes, in the order of their timestamps."""
        lines = sorted((line for log in self.logs for line in log.lines), key=lambda line: line.ts)
        if self.scenario.shared:
            lines = ours(self.operations, self.scenario.planted).lines(lines)
        return tuple(lines)

    def of(self, kind: type[Kind]) -> Sequence[Kind]:
        """All lines of one kind, in the order of their timestamps."""
        return self._by_kind.get(kind, ())  # type: ignore[return-value]  # keyed by the very type

    @cached_property
    def _by_kind(self) -> dict[type[Envelope], list[Line]]:
        by_kind: dict[type[Envelope], list[Line]] = defaultdict(list)
        for line in self.lines:
            by_kind[type(line)].append(line)
        return by_kind

    @property
    def broken_lines(self) -> list[BrokenLine]:
        return [broken for log in self.logs for broken in log.broken]

    @property
    def lost_lines(self) -> list[LostLines]:
        return [lost for log in self.logs for lost in log.lost]

    @cached_property
    def killed_instances(self) -> dict[str, str]:
        """Instances that a fault of ours killed in this scenario → the moment of their last line."""
        return {log.instance: max(line.ts for line in log.lines) for log in self.logs if log.killed and log.lines}

    @property
    def broker_was_killed(self) -> bool:
        """Then the firehose may have missed messages, and the tap is only a lower bound."""
        forgets_nothing = ("SIGSTOP", "closed")
        return any(f.place in ("broker", "rabbitmq") and f.kind not in forgets_nothing for f in self.faults)


class _Start(msgspec.Struct):
    file: str
    how: How
    started_at: str
    ended_at: str | None = None
    skew_s: float = 0.0
    exit_code: int | None = None
    first_seq: int = 0


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
    file = run.stack_file(stack)
    try:
        written = file.stat()
    except OSError as error:
        raise EvidenceError(f"{file}: expected what a stack has written down: {error}") from error
    return list(_starts_in(file, written.st_ino, written.st_mtime_ns, written.st_size))


@lru_cache(maxsize=16)
def _starts_in(file: Path, *_written: int) -> tuple[ProcessStart, ...]:
    """As it is now. It is written anew for every change, and asked for at every look whether a system rests."""
    known = read_json(file, _StackFile)
    return tuple(
        ProcessStart(
            service=service,
            file=Path(start.file).name,  # a run directory may have been moved since
            how=start.how,
            started_at=start.started_at,
            ended_at=start.ended_at,
            skew_s=start.skew_s,
            exit_code=start.exit_code,
            first_seq=start.first_seq,
        )
        for name, service in [*((name, name) for name in known.services), *known.replicas.items()]
        for start in known.records[name].starts
    )


def killed_instances(run: RunDirectory, stack: str) -> dict[str, str]:
    """The instances that a fault of ours has killed so far → the moment of their last line."""
    found = {}
    for start in process_starts(run, stack):
        last = last_line(run.logs(stack) / start.file, skew_s=start.skew_s) if start.how == "killed" else None
        if last is not None:
            found[last.instance] = last.ts
    return found


def read_logs(run: RunDirectory, stack: str, sharing: Sharing | None = None) -> list[ProcessLog]:
    """The whole log of one stack, one entry a process start."""
    return [
        _kept.read(path, start, sharing or Sharing())
        for start in process_starts(run, stack)
        if (path := run.logs(stack) / start.file).exists()
    ]


class _Kept:
    """Logs that have been read already: each is one file for the many scenarios of a stack.

    A file that was written to only just now is read again: its next change may show neither in its size nor in its
    time. As long as its process runs, only what has been added is.
    """

    MOST, SETTLED_S = 32, 2.0

    def __init__(self) -> None:
        self._logs: dict[Path, tuple[object, ProcessLog]] = {}

    def read(self, path: Path, start: ProcessStart, sharing: Sharing) -> ProcessLog:
        beside = complaints_beside(path)
        written = [file.stat() for file in (path, beside) if file.exists()]
        state = (start, *((file.st_size, file.st_mtime_ns) for file in written))
        known, log = self._logs.pop(path, (None, None))
        if log is None or known != state:
            log = read_process_log(path, start, sharing, known=log if start.how == "running" else None)
        settled = time.time() - max(file.st_mtime for file in written) > self.SETTLED_S
        self._logs[path] = (state if settled else None, log)
        if len(self._logs) > self.MOST:
            del self._logs[next(iter(self._logs))]
        return log


_kept = _Kept()


def within(log: ProcessLog, since: str, until: str) -> ProcessLog:
    """The part of a log that belongs to a window: ``since < ts <= until``; a hole belongs where it may have been."""
    earlier, inside = _split(log, since, until)
    return ProcessLog(
        log.service,
        log.instance,
        log.file,
        log.killed and log.ended_at <= until,  # whoever was killed later excuses nothing now
        tuple(inside),
        tuple(broken for broken in log.broken if since < (broken.ts or END) <= until),
        tuple(lost for lost in log.lost if lost.since <= until and lost.until > since),
        before=_since_it_counted_at_rest(earlier),
        ended_at=log.ended_at,
        skew_s=log.skew_s,
    )


def _split(log: ProcessLog, since: str, until: str) -> tuple[Sequence[Line], Sequence[Line]]:
    """The lines before a window, and those within. In a log without a fault they stand in the order of time."""
    if log.broken:
        return [line for line in log.lines if line.ts <= since], [
            line for line in log.lines if since < line.ts <= until
        ]
    begin, end = (bisect_right(log.lines, moment, key=attrgetter("ts")) for moment in (since, until))
    return log.lines[:begin], log.lines[begin:end]


_AT_REST = {EventReceived, EventSettled, MetricsSnapshot}


def _since_it_counted_at_rest(lines: Sequence[Line]) -> tuple[Line, ...]:
    """From its last metrics with no delivery in hand, or from its start."""
    begin = 0
    in_hand: set[str] = set()
    for index, line in [(at, line) for at, line in enumerate(lines) if line.__class__ in _AT_REST]:
        if isinstance(line, EventReceived):
            in_hand.add(line.delivery_id)
        elif isinstance(line, EventSettled):
            in_hand.discard(line.delivery_id)
        elif isinstance(line, MetricsSnapshot) and not in_hand:
            begin = index
    return tuple(lines[begin:])


def load_evidence(directory: ScenarioDirectory, target: Target | None = None) -> Evidence:
    """Read one scenario's evidence. Raises EvidenceError for a missing or broken file."""
    scenario, sharing = read_json(directory.scenario_file, ScenarioRecord), Sharing()
    with _no_collection():
        # Rows first, while there is room: of this file alone the whole text is held at once.
        rows = _rows(directory, sharing)
        tap = read_records(directory.tap_file, TapMessage, sharing)
        operations = read_records(directory.operations_file, Operation, sharing)
        logs = read_logs(directory.run, scenario.stack, sharing)
    told_more, told_topology = scenario.format >= 2, scenario.format >= 3
    return Evidence(
        scenario=scenario,
        target=target or load_target(Path(scenario.target)),
        logs=tuple(within(log, scenario.since, scenario.until) for log in logs),
        operations=operations,
        tap=tap,
        resting=read_records(directory.resting_file, RestingMessage, sharing),
        received=read_records(directory.sinks_file, Received, sharing),
        rows=rows,
        faults=read_records(directory.faults_file, Fault),
        health=read_records(directory.health_file, HealthProbe) if told_more else (),
        schema=read_json(directory.schema_file, Schema) if told_more else Schema(),
        topology=read_json(directory.topology_file, Topology) if told_topology else Topology(),
        secrets=_secrets(directory.run, scenario.stack),
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """Nothing that is read is garbage: looking for some among ever more of it would take longer and longer."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _rows(directory: ScenarioDirectory, sharing: Sharing) -> Rows:
    rows = read_json(directory.rows_file, Rows)
    for table in Rows.__struct_fields__:
        sharing.share(getattr(rows, table))
    return rows


def _secrets(run: RunDirectory, stack: str) -> dict[str, str]:
    known = read_json(run.stack_file(stack), _StackFile)
    tokens = {f"the token of {name}": token for name, token in known.tokens.items()}
    return tokens | {f"the password of {role}": password for role, password in known.passwords.items()}
