"""Following ``seq``: each process counts its lines from 0, so what was lost, repeated or moved can be told.

A run is a stretch of lines of one process in which ``seq`` goes up by one and ``ts`` never down. A whole log is one run
for each process. Where there are more, the way they follow each other says what happened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from operator import attrgetter

from msgspec import Struct

from harness.audit.decode import Fault, Page
from harness.contract.log_lines import SERVICES, Line, ServiceStopped
from harness.evidence.log_files import BEGINNING, END, LostLines

_ts, _seq, _instance = attrgetter("ts"), attrgetter("seq"), attrgetter("instance")

MOST_RUNS = 20_000
"""A span with more of them is in such disorder that nobody reads on."""
_Place = tuple[int, int | None, str | None, str, str]
"""Number, seq, instance, service and ts of a line."""


class Run(Struct):
    """``number``: of its first line. ``unreadable``: refused lines before it, of which no ``seq`` could be read."""

    file: str
    instance: str
    service: str
    first: int
    last: int
    number: int
    since: str
    until: str
    unreadable: int = 0
    stopped: bool = False


class SequenceWatch:
    """Follows one file, or a part of it."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.runs: list[Run] = []
        self._current: dict[str, Run] = {}
        self._latest: Run | None = None
        self._unreadable = 0

    def follow(self, page: Page) -> None:
        if not page.faults and page.lines and self._goes_on(page.lines):
            return
        places: list[_Place] = [
            (page.number_of(index), line.seq, line.instance, line.service, line.ts)
            for index, line in enumerate(page.lines)
        ]
        if page.faults:
            places += [(f.number, f.seq, f.instance, f.service or "", f.ts or "") for f in page.faults]
            places.sort(key=lambda place: place[0])
        for number, seq, instance, service, ts in places:
            if seq is None or instance is None:
                self._unreadable += 1
            else:
                self._take(number, seq, instance, service, ts)
        for line in page.lines:
            if line.__class__ is ServiceStopped:
                self._current[line.instance].stopped = True

    def _goes_on(self, lines: list[Line]) -> bool:
        """The usual case, without a step for each line: a block of the process that wrote the last one."""
        run, seqs, moments = self._latest, list(map(_seq, lines)), list(map(_ts, lines))
        first, last = seqs[0], lines[-1]
        if (
            run is None
            or first != run.last + 1
            or self._unreadable
            or moments[0] < run.until
            or seqs != list(range(first, first + len(seqs)))
            or moments != sorted(moments)
            or set(map(_instance, lines)) != {run.instance}
        ):
            return False
        run.last, run.until = last.seq, last.ts
        run.stopped = isinstance(last, ServiceStopped)
        return True

    def _take(self, number: int, seq: int, instance: str, service: str, ts: str) -> None:
        run = self._current.get(instance)
        if run is not None and seq == run.last + 1 and (not ts or ts >= run.until):
            run.last, run.until = seq, ts or run.until
        else:
            run = Run(self._file, instance, service, seq, seq, number, ts, ts, self._unreadable)
            if len(self.runs) < MOST_RUNS:
                self.runs.append(run)
            self._current[instance] = run
        self._unreadable = 0
        self._latest = run


class Irregularity(Struct, frozen=True):
    """``kind``: repeated_lines, moved_lines or time_goes_back. ``seq`` and ``number``: of the first line concerned."""

    kind: str
    says: str
    run: Run


class Sequences(Struct):
    """What all runs say: where they are irregular, the holes, and those that a refused line explains (``silent``)."""

    irregular: list[Irregularity] = []
    lost: list[LostLines] = []
    silent: list[LostLines] = []
    stopped: set[str] = set()
    instances: set[str] = set()


def judge_runs(runs: Iterable[Run]) -> Sequences:
    """Judge the runs of all files. A process whose log was rotated has some in each."""
    of_instance: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        of_instance[run.instance].append(run)
    found = Sequences(instances=set(of_instance))
    for instance, own in of_instance.items():
        began = {run.file: run.since for run in reversed(own)}
        own.sort(key=lambda run: began[run.file])
        found.irregular += _judge_instance(own, found)
        if any(run.stopped for run in own):
            found.stopped.add(instance)
    return found


def _judge_instance(runs: list[Run], found: Sequences) -> Iterator[Irregularity]:
    highest, until = -1, BEGINNING
    holes: list[LostLines] = []
    for run in runs:
        seqs = _seqs(run.first, min(run.last, highest))
        if run.first > highest + 1:
            hole = LostLines(run.service, run.instance, run.file, highest + 1, run.first - 1, until, run.since)
            (found.silent if run.first - highest - 1 <= run.unreadable else holes).append(hole)
        elif run.first <= highest and _fill(holes, run.first, min(run.last, highest)):
            yield Irregularity("moved_lines", f"{seqs} stands after seq {highest}: moved", run)
        elif run.first <= highest:
            yield Irregularity("repeated_lines", f"{seqs} stands there a second time: repeated", run)
        elif run.since < until:
            yield Irregularity("time_goes_back", f"ts {run.since} stands after ts {until}", run)
        highest, until = max(highest, run.last), max(until, run.until)
    found.lost += holes


def _fill(holes: list[LostLines], first: int, last: int) -> bool:
    """Were these lines missed before? Then a part of a hole is none any more."""
    for index, hole in enumerate(holes):
        end = hole.first if hole.last is None else hole.last
        if hole.first <= first and last <= end:
            parts = [(hole.first, first - 1), (last + 1, end)]
            holes[index : index + 1] = [replace(hole, first=a, last=b) for a, b in parts if a <= b]
            return True
    return False


def _seqs(first: int, last: int) -> str:
    return f"seq {first}" if first == last else f"seq {first}–{last}"


class Hole(Struct, frozen=True):
    """Lines that are not there, and the one flow they belong to if that is known. ``reported``: as a finding."""

    lost: LostLines
    correlation_id: str | None = None
    reported: bool = False


def holes_of(file: str, fault: Fault) -> Iterator[Hole]:
    """What a refused line would have said is as unknown as if it had been lost: whenever, if its flow is known; and by
    whichever service, if that is not."""
    since, until = (BEGINNING, END) if fault.correlation_id else (fault.ts or BEGINNING, fault.ts or END)
    seq = fault.seq or 0
    for service in (fault.service,) if fault.service else SERVICES:
        lost = LostLines(service, fault.instance or "", file, seq, seq, since, until)
        yield Hole(lost, fault.correlation_id)
