"""One piece of work: auditing a span of the log. The same for one process, for several, and for a Ray cluster."""

from __future__ import annotations

import resource
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from heapq import heappop, heapreplace
from pathlib import Path
from typing import BinaryIO, cast
from zlib import crc32

from msgspec import Struct

from harness.audit.blocks import Block, blocks
from harness.audit.decode import Fault, Page, read_page
from harness.audit.mapping import Mapping
from harness.audit.sequence import Run, SequenceWatch
from harness.audit.sources import Piece
from harness.trace.ledger import Balance, Ledger


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
    """What an audit of a span tells. Numbers of lines count from the beginning of each of its pieces."""

    balance: Balance
    lines: dict[int, int]
    bytes: int
    runs: list[tuple[int, Run]]
    faults: list[tuple[int, Fault]]
    index: list[BlockIndex]
    latest: str
    memory_kb: int


def flow_hash(correlation_id: str) -> int:
    return crc32(correlation_id.encode("utf-8", "surrogatepass"))


def audit_span(task: SpanTask) -> SpanReport:
    """Read the span's pieces in the order of time, and report what is open, irregular and refused."""
    ledger = Ledger()
    report = SpanReport(ledger.balance(), {}, 0, [], [], [], "", 0)
    decode = task.mapping.decode_line if task.mapping else None
    watches = {piece.source: SequenceWatch(piece.name) for piece in task.pieces}
    with ExitStack() as files:
        # Whoever is behind in time reads on, so that a flow's lines of all files come close together.
        behind = [("", piece.source, _open(piece, files)) for piece in task.pieces]
        while behind:
            _, source, ahead = behind[0]
            block = next(ahead, None)
            if block is None:
                heappop(behind)
                continue
            page = read_page(block, decode)
            _report_block(report, source, block, page, ledger.post(page.lines))
            if task.mapping is None or task.mapping.numbers_lines:
                watches[source].follow(page)
            heapreplace(behind, (page.lines[-1].ts if page.lines else "", source, ahead))
    report.balance = ledger.balance()
    report.runs = [(source, run) for source, watch in watches.items() for run in watch.runs]
    report.memory_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return report


def _open(piece: Piece, files: ExitStack) -> Iterator[Block]:
    file = files.enter_context(cast(BinaryIO, Path(piece.path).open("rb", buffering=0)))  # noqa: SIM115
    return blocks(file, start=piece.start, end=piece.end)


def _report_block(report: SpanReport, source: int, block: Block, page: Page, flows: set[str | None]) -> None:
    flows.discard(None)
    hashes = array("I", map(flow_hash, flows))  # type: ignore[arg-type]
    report.index.append(BlockIndex(source, block.offset, len(block.data), block.number, hashes.tobytes()))
    report.lines[source] = report.lines.get(source, 0) + block.lines
    report.bytes += len(block.data) + block.oversized
    report.faults += [(source, fault) for fault in page.faults]
    if page.lines:
        report.latest = max(report.latest, page.lines[-1].ts)
