"""The whole audit: every span of the log, then every flow in doubt, and what comes of it."""

from __future__ import annotations

import tempfile
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Literal

import msgspec
from msgspec import Struct

from harness.audit.decode import Fault, at_the_time_of
from harness.audit.engines import Engine
from harness.audit.mapping import Mapping
from harness.audit.second_look import Candidate, FlowReport, LookTask, look_again
from harness.audit.sequence import Hole, Run, Sequences, holes_of, judge_runs
from harness.audit.sources import Source, moment_of, spans
from harness.audit.span import MOST_FAULTS, BlockIndex, SpanReport, SpanTask, audit_span, flow_hash
from harness.evidence.clock import later
from harness.evidence.log_files import LostLines
from harness.trace.ledger import Balance, Ledger

FLOWS_AT_ONCE = 400
"""So many flows in doubt are held in memory at a time."""


class AuditFinding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong with a log (``fail``), or that forbids to say that all is well (``doubt``).

    ``file`` and ``line``: where it shows. ``edge``, ``correlation_id`` and ``trace``: if it is about a flow.
    """

    kind: str
    severity: Literal["fail", "doubt"]
    says: str
    file: str
    line: int
    ts: str | None = None
    service: str | None = None
    instance: str | None = None
    seq: int | None = None
    edge: str | None = None
    correlation_id: str | None = None
    trace: tuple[str, ...] = ()


class AuditReport(Struct, kw_only=True):
    """``states``: how many flows were found to be what. ``memory_kb``: the most that a worker has held."""

    lines: int = 0
    bytes: int = 0
    findings: list[AuditFinding] = []
    states: dict[str, int] = {}
    memory_kb: int = 0

    @property
    def verdict(self) -> Literal["pass", "fail", "unknown"]:
        severities = {finding.severity for finding in self.findings}
        return "fail" if "fail" in severities else "unknown" if severities else "pass"


class Audit:
    """One audit of some sources. ``report`` grows while it goes on, so that an interrupted one can tell of it.

    ``grace_s``: a flow that is open at the end of the log, and younger, is in flight. When every process has said that
    it stopped, nothing can be in flight.
    """

    def __init__(self, sources: Sequence[Source], *, mapping: Mapping | None = None, grace_s: float = 30.0) -> None:
        self._sources, self._mapping, self._grace_s = sources, mapping, grace_s
        self.report = AuditReport()
        self._balance: Balance = Ledger().balance()
        self._numbers = [0] * len(sources)
        self._runs: dict[int, list[Run]] = defaultdict(list)
        self._faults: dict[tuple[int, int], Fault] = {}
        self._untimed: dict[int, list[int]] = defaultdict(list)
        self._last: dict[int, str] = {}
        self._latest = ""
        self._refused = 0

    def run(self, engine: Engine, on_lines: Callable[[int, int], None] = lambda lines, size: None) -> AuditReport:
        """``on_lines`` is told how many lines and bytes have been read since it was told last."""
        with _Index() as index:
            moments = self._mapping.moment_of if self._mapping else moment_of
            tasks = (SpanTask(pieces, self._mapping) for pieces in spans(self._sources, moments))
            for span in engine(audit_span, tasks):
                self._take(span, index)
                on_lines(sum(span.lines.values()), span.bytes)
            self._tell_the_time(self._last)  # where no line follows, it is about as old as the one before
            sequences = judge_runs(run for source in sorted(self._runs) for run in self._runs[source])
            flows = self._judge_flows(engine, index, sequences)
        self.report.findings = sorted(
            [*self._faulty_lines(), *_irregular(sequences), *flows],
            key=attrgetter("file", "line", "kind", "says"),
        )
        return self.report

    def so_far(self) -> AuditReport:
        """What an interrupted audit has found: refused lines. Flows and holes are judged at the end only."""
        self.report.findings = list(self._faulty_lines())
        return self.report

    def _take(self, span: SpanReport, index: _Index) -> None:
        """Join a span to those before it: its numbers of lines go on from theirs."""
        self._balance.add(span.balance)
        self._latest = max(self._latest, span.latest)
        for source, run in span.runs:
            run.number += self._numbers[source]
            self._join(self._runs[source], run)
        self._refused += span.refused
        self._tell_the_time(span.first)
        self._last |= span.last
        for source, fault in span.faults[: MOST_FAULTS - len(self._faults)]:
            fault = msgspec.structs.replace(fault, number=fault.number + self._numbers[source])
            self._faults[source, fault.number] = fault
            if fault.ts is None:
                self._untimed[source].append(fault.number)
        for block in span.index:
            block.number += self._numbers[block.source]
            index.add(block)
        for source, lines in span.lines.items():
            self._numbers[source] += lines
            self.report.lines += lines
        self.report.bytes += span.bytes
        self.report.memory_kb = max(self.report.memory_kb, span.memory_kb)

    def _tell_the_time(self, moments: dict[int, str]) -> None:
        """What was refused at the end of a span and did not tell its time is about as old as the next line."""
        for source, ts in moments.items():
            for number in self._untimed.pop(source, ()):
                self._faults[source, number] = at_the_time_of(ts, self._faults[source, number])

    @staticmethod
    def _join(runs: list[Run], run: Run) -> None:
        """A process's run goes on where the span before was cut."""
        before = next((other for other in reversed(runs) if other.instance == run.instance), None)
        if before is not None and run.first == before.last + 1 and run.since >= before.until and not run.unreadable:
            before.last, before.until, before.stopped = run.last, run.until, before.stopped or run.stopped
        else:
            runs.append(run)

    def _judge_flows(self, engine: Engine, index: _Index, sequences: Sequences) -> list[AuditFinding]:
        doubted = self._balance.open_flows()
        holes = list(self._holes(sequences))
        ended = not self._latest or (sequences.instances and sequences.instances == sequences.stopped)
        in_flight_from = "~" if ended else later(self._latest, -self._grace_s)
        paths = [source.path for source in self._sources]
        tasks = (
            LookTask(paths, candidates, holes, self._grace_s, in_flight_from, self._mapping)
            for candidates in index.batches(doubted)
        )
        states, rootless, seen = Counter[str](), 0, 0
        told: list[AuditFinding] = []
        for report in engine(look_again, tasks):
            for source, fault in report.faults:
                self._refused += (source, fault.number) not in self._faults
                self._faults.setdefault((source, fault.number), fault)
            states.update(report.states)
            rootless += report.rootless
            seen += len(report.flows)
            told += map(self._flow_finding, report.flows[: MOST_FAULTS - len(told)])
        states["complete"] += self._balance.begun - (states.total() - rootless)
        self.report.states = dict(sorted(states.items()))
        return [*told, *self._more("broken_flow", seen - len(told))]

    def _more(self, kind: str, count: int) -> Iterator[AuditFinding]:
        """Those that are too many to be told one by one."""
        if count:
            says = f"and {count:,} more of this kind, which are not told one by one"
            yield AuditFinding(kind=kind, severity="fail", says=says, file=self._sources[0].name, line=0)

    def _holes(self, sequences: Sequences) -> Iterator[Hole]:
        yield from (Hole(lost, reported=True) for lost in sequences.lost)
        for (source, _), fault in self._faults.items():
            yield from holes_of(self._sources[source].name, fault)

    def _faulty_lines(self) -> Iterator[AuditFinding]:
        for (source, number), fault in self._faults.items():
            yield AuditFinding(
                kind=fault.kind, severity="doubt" if fault.kind == "torn_line" else "fail", says=fault.problem,
                file=self._sources[source].name, line=number, ts=fault.ts, service=fault.service,
                instance=fault.instance, seq=fault.seq, correlation_id=fault.correlation_id, trace=(fault.excerpt,),
            )  # fmt: skip
        yield from self._more("broken_line", self._refused - len(self._faults))

    def _flow_finding(self, flow: FlowReport) -> AuditFinding:
        return AuditFinding(
            kind=f"{flow.state}_flow", severity="doubt" if flow.because else "fail",
            says=f"{flow.says}; {flow.because}" if flow.because else flow.says,
            file=self._sources[flow.source].name, line=flow.number, ts=flow.ts, service=flow.service,
            instance=flow.instance, seq=flow.seq, edge=flow.edge, correlation_id=flow.correlation_id, trace=flow.trace,
        )  # fmt: skip


def _irregular(sequences: Sequences) -> Iterator[AuditFinding]:
    for found in sequences.irregular:
        run = found.run
        yield AuditFinding(
            kind=found.kind, severity="fail", says=f"{found.says} (instance {run.instance})", file=run.file,
            line=run.number, ts=run.since, service=run.service, instance=run.instance, seq=run.first,
        )  # fmt: skip
    for hole in sequences.lost:
        yield _lost(hole)


def _lost(hole: LostLines) -> AuditFinding:
    return AuditFinding(
        kind="lost_lines", severity="doubt", says=str(hole), file=hole.file, line=0, ts=hole.since or None,
        service=hole.service, instance=hole.instance, seq=hole.first,
    )  # fmt: skip


class _Index:
    """Which flow stands in which block, on disk: it grows with the log, and memory must not."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="gauntlet-audit-")  # noqa: SIM115  # closed by __exit__

    def __enter__(self) -> _Index:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, block: BlockIndex) -> None:
        data = msgspec.msgpack.encode(block)
        self._file.write(len(data).to_bytes(4, "big") + data)

    def batches(self, flows: set[str]) -> Iterator[list[Candidate]]:
        """Some flows at a time, those that began close together in one, each with all blocks that may hold it."""
        by_hash: dict[int, list[str]] = defaultdict(list)
        for flow in flows:
            by_hash[flow_hash(flow)].append(flow)
        wanted, places, found = frozenset(by_hash), defaultdict[str, list[int]](list), list[BlockIndex]()
        for block in self._blocks():
            hashes = array("I")
            hashes.frombytes(block.flows)
            hits = wanted.intersection(hashes)
            for number in hits:
                for flow in by_hash[number]:
                    places[flow].append(len(found))
            if hits:
                block.flows = b""
                found.append(block)
        ordered = sorted(places, key=lambda flow: (places[flow][0], flow))
        for start in range(0, len(ordered), FLOWS_AT_ONCE):
            held: dict[int, list[str]] = defaultdict(list)
            for flow in ordered[start : start + FLOWS_AT_ONCE]:
                for place in places[flow]:
                    held[place].append(flow)
            yield [Candidate(found[place], flows) for place, flows in sorted(held.items())]

    def _blocks(self) -> Iterator[BlockIndex]:
        self._file.seek(0)
        while size := self._file.read(4):
            yield msgspec.msgpack.decode(self._file.read(int.from_bytes(size, "big")), type=BlockIndex)
