"""What a process counts is what it did: each series of its snapshots grows with the lines it counts, and never falls.

A histogram also sums up what its lines tell, and in the unit that it says.
A line and its count are one step of the process, so a snapshot's place in ``seq`` says exactly which lines it knows of.
Only an event that is done with is counted a little before its delivery is settled: there, what is in hand is room.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import (
    KINDS,
    EventDeduplicated,
    EventReceived,
    EventSettled,
    Line,
    MetricsSnapshot,
    ServiceStarted,
)
from harness.evidence.evidence import Evidence
from harness.evidence.log_files import ProcessLog
from harness.target import Counted, MetricsSpec

NAME = "metrics_agree"
ROUNDING_S = 0.001
Labels = Callable[[Line], tuple[object, ...]]
Series = tuple[str, tuple[object, ...]]
"""A metric's name, and the values of its labels."""

_WATCHED = {EventReceived, EventDeduplicated, EventSettled, MetricsSnapshot, ServiceStarted}


def check(evidence: Evidence) -> Result:
    """Each process is judged from its start, or from its last snapshot before the scenario; after a hole, anew."""
    spec = evidence.target.metrics
    findings: list[Finding] = []
    seen = 0
    for log in evidence.logs:
        process = _Process(spec)
        findings += (_finding(log, says) for says in process.follow([*log.before, *log.lines]))
        seen += process.compared
    return answer(NAME, seen=seen, floor=0, findings=findings)


@dataclass
class _Process:
    """One process, line by line: what should have been counted since the first of its snapshots."""

    spec: MetricsSpec
    compared: int = 0
    _counted: dict[str, list[tuple[str, Labels, str]]] = field(default_factory=lambda: defaultdict(list))
    _lines: Counter[Series] = field(default_factory=Counter)
    _sums_ms: defaultdict[Series, float] = field(default_factory=lambda: defaultdict(float))
    _summed_first: dict[str, float] = field(default_factory=dict)
    _told_first: dict[str, int] | None = None
    _told_last: dict[str, int] = field(default_factory=dict)
    _accused: set[str] = field(default_factory=set)
    _deliveries: _Deliveries = field(default_factory=lambda: _Deliveries(set()))

    def __post_init__(self) -> None:
        for metrics in (self.spec.counters, self.spec.histograms):
            for name, counted in metrics.items():
                self._counted[counted.kind].append((name, _labels(counted), counted.sums_ms))

    def follow(self, lines: Sequence[Line]) -> Iterator[str]:
        self._deliveries = _Deliveries(_received_before(lines))
        counted = {kind: self._counted[str(kind.__struct_config__.tag)] for kind in KINDS}
        before = None
        for line in sorted(lines, key=lambda line: line.seq):
            if before is not None and line.seq != before + 1:
                self._told_first = None
            before = line.seq
            for name, labels, sums_ms in counted[type(line)]:
                self._lines[name, labels(line)] += 1
                if sums_ms:
                    self._sums_ms[name, labels(line)] += getattr(line, sums_ms)
            if type(line) not in _WATCHED:  # which saves most lines three questions
                continue
            if isinstance(line, EventReceived | EventDeduplicated | EventSettled):
                self._deliveries.take(line)
            elif isinstance(line, MetricsSnapshot):
                yield from self._compare(line)
            elif isinstance(line, ServiceStarted):
                self._told_first, self._summed_first = {}, {}

    def _compare(self, snapshot: MetricsSnapshot) -> Iterator[str]:
        told = _flat(snapshot)
        fallen = [series for series, before in self._told_last.items() if told.get(series, 0) < before]
        for series in fallen:
            yield f"{series} fell from {self._told_last[series]} to {told.get(series, 0)} at seq {snapshot.seq}"
        self._accused.update(fallen)
        self._told_last = told
        if self._told_first is None:
            self._told_first = told
            self._lines.clear()
            self._summed_first = {series: told.sum for series, told in snapshot.histograms.items()}
            self._sums_ms.clear()
            self._deliveries.begin()
            return
        self.compared += 1
        yield from self._differences(snapshot, told, self._told_first)
        yield from self._wrong_sums(snapshot)

    def _wrong_sums(self, snapshot: MetricsSnapshot) -> Iterator[str]:
        for of, sum_ms in self._sums_ms.items():
            series = _written(of, self.spec)
            told = snapshot.histograms.get(series)
            if told is None or series in self._accused:
                continue
            grown_s = told.sum - self._summed_first.get(series, 0)
            if abs(grown_s - sum_ms / 1000) > ROUNDING_S:
                self._accused.add(series)
                says = f"until seq {snapshot.seq}, and its line(s) tell of {sum_ms / 1000:.3f} s"
                yield f"the sum of {series} grew by {grown_s:.3f} {says}"

    def _differences(
        self, snapshot: MetricsSnapshot, told: Mapping[str, int], first: Mapping[str, int]
    ) -> Iterator[str]:
        """Each series is accused once: from its first error on it stays wrong."""
        expected = {_written(series, self.spec): count for series, count in self._lines.items()}
        known = {*self.spec.counters, *self.spec.histograms}
        for series in sorted({*expected, *(name for name in told if name.partition("{")[0] in known)}):
            grown, lines = told.get(series, 0) - first.get(series, 0), expected.get(series, 0)
            if grown != lines and series not in self._accused:
                self._accused.add(series)
                yield f"{series} grew by {grown} until seq {snapshot.seq}, and {lines} line(s) tell of it"
        series = self.spec.processed
        grown = told.get(series, 0) - first.get(series, 0)
        least, most = self._deliveries.least, self._deliveries.most
        if series and not least <= grown <= most and series not in self._accused:
            self._accused.add(series)
            expects = f"{least}" if least == most else f"{least} to {most}"
            yield f"{series} grew by {grown} until seq {snapshot.seq}, and {expects} event(s) were handled to their end"


@dataclass
class _Deliveries:
    """How many events a process can have handled to their end: settled as done, and no duplicate.

    What is in hand may be counted already. So may what was given back: its connection was lost after its work was done.
    """

    _in_hand: set[str]
    _in_hand_before: set[str] = field(default_factory=set)
    _duplicates: set[str] = field(default_factory=set)
    least: int = 0
    _done: int = 0
    _given_back: int = 0

    def begin(self) -> None:
        """Count from here on. What is in hand now may have been counted before."""
        self._in_hand_before = set(self._in_hand)
        self.least = self._done = self._given_back = 0

    def take(self, line: EventReceived | EventDeduplicated | EventSettled) -> None:
        if isinstance(line, EventReceived):
            self._in_hand.add(line.delivery_id)
        elif isinstance(line, EventDeduplicated):
            self._duplicates.add(line.delivery_id)
        else:
            self._settle(line)

    def _settle(self, line: EventSettled) -> None:
        self._in_hand.discard(line.delivery_id)
        duplicate = line.delivery_id in self._duplicates
        self._duplicates.discard(line.delivery_id)
        if line.status == "acked" and not duplicate:
            self._done += 1
            self.least += line.delivery_id not in self._in_hand_before
        elif line.status == "requeued" and not duplicate:
            self._given_back += 1

    @property
    def most(self) -> int:
        return self._done + self._given_back + len(self._in_hand - self._duplicates)


def _received_before(lines: Sequence[Line]) -> set[str]:
    """Deliveries that were in hand when these lines begin (or whose beginning is lost)."""
    received: set[str] = set()
    settled: set[str] = set()
    for line in [line for line in lines if line.__class__ in _WATCHED]:
        if isinstance(line, EventReceived):
            received.add(line.delivery_id)
        elif isinstance(line, EventSettled):
            settled.add(line.delivery_id)
    return settled - received


def _labels(counted: Counted) -> Labels:
    """What reads a line's labels. Written out by their number, for it is asked of every line that is counted."""
    match counted.labels:
        case ():
            return lambda _: ()
        case (label,):
            read_one = attrgetter(label)
            return lambda line: (read_one(line),)
        case labels:
            return attrgetter(*labels)


def _flat(snapshot: MetricsSnapshot) -> dict[str, int]:
    return snapshot.counters | {series: told.count for series, told in snapshot.histograms.items()}


def _written(series: Series, spec: MetricsSpec) -> str:
    """As a snapshot writes a series."""
    name, values = series
    labels = (spec.counters.get(name) or spec.histograms[name]).labels
    pairs = ",".join(f'{label}="{value}"' for label, value in zip(labels, values, strict=True))
    return f"{name}{{{pairs}}}" if pairs else name


def _finding(log: ProcessLog, says: str) -> Finding:
    return Finding(property=NAME, says=f"{log.instance}: {says}", service=log.service)


PROPERTY = Property(NAME, "counters equal what the evidence counts", ("lines",), check)
