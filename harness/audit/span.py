"""One piece of work: auditing a span of the log. The same for one process, for several, and for a Ray cluster."""

from __future__ import annotations

import resource
from array import array
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from heapq import heappop, heapreplace
from pathlib import Path
from typing import BinaryIO, cast
from zlib import crc32

from msgspec import Struct

from harness.audit.blocks import Block, blocks
from harness.audit.decode import Fault, at_the_time_of, read_closely, read_page
from harness.audit.mapping import Mapping
from harness.audit.sequence import Run, SequenceWatch
from harness.audit.sources import Piece
from harness.trace.ledger import Balance, Ledger

MOST_FAULTS = 10_000
"""So many faulty lines, and broken flows, are told one by one. Whoever has more has given the wrong file."""


class SpanTask(Struct, frozen=True):
    pieces: list[Piece]
    mapping: Mapping | None = None


class BlockIndex(Struct):
    """Which flows stand in a block, by a hash of their correlation ids. ``number``: of its first line."""

    source: int
    offset: int
    length: int
    number: int
    flows: bytes


class SpanReport(Struct):
    """What an audit of a span tells. Numbers of lines count from the beginning of each of its pieces.

    ``refused``: how many faulty lines there were; of very many, only the first are among ``faults``. ``first`` and
    ``last``: the ts of the first and the last line of each source.
    """

    balance: Balance
    lines: dict[int, int] = {}
    bytes: int = 0
    runs: list[tuple[int, Run]] = []
    faults: list[tuple[int, Fault]] = []
    index: list[BlockIndex] = []
    latest: str = ""
    memory_kb: int = 0
    refused: int = 0
    first: dict[int, str] = {}
    last: dict[int, str] = {}


def flow_hash(correlation_id: str) -> int:
    return crc32(correlation_id.encode())


def audit_span(task: SpanTask) -> SpanReport:
    """Read the span's pieces in the order of time, and report what is open, irregular and refused."""
    audit = _SpanAudit(task)
    with ExitStack() as files:
        # Whoever is behind in time reads on, so that a flow's lines of all files come close together.
        behind = [("", piece.source, _open(piece, files)) for piece in task.pieces]
        while behind:
            _, source, ahead = behind[0]
            block = next(ahead, None)
            if block is None:
                heappop(behind)
            else:
                heapreplace(behind, (audit.take(source, block), source, ahead))
    return audit.report()


def peak_memory_kb() -> int:
    """The most memory that this process has held. (What Linux gives as ``ru_maxrss`` may be that of its parent.)"""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split(maxsplit=1)[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class _SpanAudit:
    """What is known of a span while it is read."""

    def __init__(self, task: SpanTask) -> None:
        self._ledger = Ledger()
        self._decode = task.mapping.decode_line if task.mapping else None
        numbered = task.mapping is None or task.mapping.numbers_lines
        self._watches = {piece.source: SequenceWatch(piece.name) for piece in task.pieces if numbered}
        self._report = SpanReport(self._ledger.balance())
        self._untimed: dict[int, list[int]] = defaultdict(list)

    def take(self, source: int, block: Block) -> str:
        """Audit one block; the ts of its last line. Nothing of it is kept, so the next one finds warm memory."""
        report = self._report
        page = read_page(block, self._decode)
        flows = self._ledger.post(page.lines)
        if self._ledger.of_no_flow_broken:
            self._ledger.of_no_flow_broken = False
            page.faults = page.faults or read_closely(block)
        flows.discard(None)
        hashes = array("I", map(crc32, map(str.encode, flows)))  # type: ignore[arg-type]
        report.index.append(BlockIndex(source, block.offset, len(block.data), block.number, hashes.tobytes()))
        report.lines[source] = report.lines.get(source, 0) + block.lines
        report.bytes += len(block.data) + block.oversized
        if page.lines:
            self._tell_the_time(source, page.lines[0].ts)
        if page.faults:
            report.refused += len(page.faults)
            for fault in page.faults[: MOST_FAULTS - len(report.faults)]:
                if fault.ts is None:
                    self._untimed[source].append(len(report.faults))
                report.faults.append((source, fault))
        if source in self._watches:
            self._watches[source].follow(page)
        if not page.lines:
            return ""
        ts = report.last[source] = page.lines[-1].ts
        if ts > report.latest:
            report.latest = ts
        return ts

    def _tell_the_time(self, source: int, ts: str) -> None:
        """The last lines of the block before, if they were refused and did not tell their time, have waited for it."""
        self._report.first.setdefault(source, ts)
        for at in self._untimed.pop(source, ()):
            self._report.faults[at] = source, at_the_time_of(ts, self._report.faults[at][1])

    def report(self) -> SpanReport:
        self._report.balance = self._ledger.balance()
        self._report.runs = [(source, run) for source, watch in self._watches.items() for run in watch.runs]
        self._report.memory_kb = peak_memory_kb()
        return self._report


def _open(piece: Piece, files: ExitStack) -> Iterator[Block]:
    file = files.enter_context(cast(BinaryIO, Path(piece.path).open("rb", buffering=0)))  # noqa: SIM115
    return blocks(file, start=piece.start, end=piece.end)
