"""Reading what one process start wrote: typed lines, broken lines, and the proof that no line was lost.

``seq`` counts a process's lines from 0 without a gap. So a *lost line* (a hole in ``seq``: nothing is proven about
what it may have said) differs from a *lost event* (no hole, yet the line that had to follow never came).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.log_lines import (
    CallCompleted,
    ContractViolation,
    Count,
    HttpRequestCompleted,
    Line,
    ServiceStopped,
    decode_block,
    decode_line,
    has_half_an_entity,
    http_status_agrees,
)
from harness.evidence.clock import later, wall_at
from harness.evidence.disorder import Disorder, disorder, mended
from harness.evidence.records import ProcessStart
from harness.evidence.sharing import Sharing

BEGINNING, END = "", "~"
"""Before and after every timestamp, in text order."""
JUST_STOPS = "the log just stops"
"""So ends what is said of a process that died of itself: its log is no worse than it was."""
BLOCK_BYTES, NEAR_THE_END_BYTES = 1 << 18, 1 << 14
_BAD_ENDS = {"forced": "it did not end when it was asked to", "crashed": "it ended by itself"}
COMPLAINTS_BYTES = 1 << 16
"""Of what a process wrote past its log, so much is looked at: one line would be too much already."""


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that breaks the contract, with its place and its beginning."""

    file: str
    number: int
    ts: str
    problem: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class LostLines:
    """A hole in ``seq``. ``last`` is None where the log ends too early: then nobody knows how many are missing."""

    service: str
    instance: str
    file: str
    first: int
    last: int | None
    since: str
    until: str

    def __str__(self) -> str:
        which = "everything from" if self.last is None else "line" if self.first == self.last else "lines"
        numbers = f"{self.first}" if self.last in (None, self.first) else f"{self.first}–{self.last}"
        place = f"after {self.since or 'its start'}, before {'its end' if self.until == END else self.until}"
        return f"{which} seq {numbers} of instance {self.instance} is missing from {self.file} ({place})"


@dataclass(frozen=True, slots=True)
class ProcessLog:
    """All that one process start wrote."""

    service: str
    instance: str
    file: str
    killed: bool
    lines: tuple[Line, ...]
    broken: tuple[BrokenLine, ...]
    lost: tuple[LostLines, ...]
    before: tuple[Line, ...] = ()
    """Of a window: what it wrote before, from its last metrics at rest on, for those tell sums since its start."""
    ended_at: str = BEGINNING
    """When its process was found to have ended; nothing, as long as it has not."""
    skew_s: float = 0.0
    """So much its clock was fast; its lines are corrected, what they tell of is not."""
    read_bytes: int = 0
    """So long its file was, if its lines needed no closer look: what has been added since can be read alone."""


@dataclass(slots=True)
class _Reader:
    """Collects one file. Positions are (seq, ts, number) of every line whose seq could be read, in file order."""

    file: str
    skew_s: float = 0.0
    lines: list[Line] = field(default_factory=list)
    broken: list[BrokenLine] = field(default_factory=list)
    positions: list[tuple[int, str, int]] = field(default_factory=list)
    instance: str = ""
    last_ts: str = BEGINNING

    def read(self, number: int, raw: bytes) -> None:
        try:
            line = decode_line(raw)
        except ContractViolation as violation:
            self._read_broken(number, raw, str(violation))
            return
        _correct(line, self.skew_s)
        if not self.instance:
            self.instance = line.instance
        elif line.instance != self.instance:
            self.report(number, raw, f"instance {line.instance!r} in the file of {self.instance!r}")
        self.last_ts = line.ts
        self.positions.append((line.seq, line.ts, number))
        self.lines.append(line)

    def report(self, number: int, raw: bytes, problem: str, ts: str = BEGINNING) -> None:
        excerpt = raw[:300].decode("utf-8", "backslashreplace")
        self.broken.append(BrokenLine(self.file, number, ts or self.last_ts, problem, excerpt))

    def _read_broken(self, number: int, raw: bytes, problem: str) -> None:
        """A broken line still holds its place in ``seq`` and in time where that much of it can be read."""
        try:
            place = msgspec.json.decode(raw, type=_Place)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
            self.report(number, raw, problem)
            return
        ts = max(self.last_ts, _corrected(place.ts, self.skew_s))
        self.report(number, raw, problem, ts)
        self.positions.append((place.seq, ts, number))


class _Place(msgspec.Struct):
    seq: Count
    ts: str = ""


def read_process_log(
    path: Path, start: ProcessStart, sharing: Sharing | None = None, *, known: ProcessLog | None = None
) -> ProcessLog:
    """Read one file, or what has been added to it since it was as ``known``. While its process runs, a last line
    without newline is still being written and is left alone.

    What the process wrote past its log, to stderr, is no line of it: where both are read as one stream, as most do, it
    stands between the lines.
    """
    log = _read_log(path, start, sharing or Sharing(), known)
    complaints = tuple(_complaints(complaints_beside(path)))
    return replace(log, broken=(*log.broken, *complaints)) if complaints else log


def complaints_beside(path: Path) -> Path:
    """Where a process's stderr went: beside its log."""
    return path.with_suffix(".stderr")


def _complaints(path: Path) -> Iterable[BrokenLine]:
    """They do not say when they were written; the file does, of the last of them."""
    if not path.exists():
        return
    status = path.stat()
    if not status.st_size:
        return
    with path.open("rb") as file:
        texts = file.read(COMPLAINTS_BYTES).decode("utf-8", "backslashreplace").splitlines()
    ts = wall_at(status.st_mtime)
    for number, text in enumerate(texts, start=1):
        if text.strip():
            yield BrokenLine(path.name, number, ts, "it stands on stderr, past the log", text[:2_000])


def _read_log(path: Path, start: ProcessStart, sharing: Sharing, known: ProcessLog | None) -> ProcessLog:
    lines, read_bytes = _faultless_lines(path, start, sharing, known)
    if lines:
        instance = lines[0].instance
        return ProcessLog(
            start.service, instance, start.file, start.how == "killed", tuple(lines), (), (), ended_at=_ended(start),
            skew_s=start.skew_s, read_bytes=read_bytes,
        )  # fmt: skip
    log = _read_line_by_line(path, start)
    sharing.share(log.lines)
    return log


def _faultless_lines(
    path: Path, start: ProcessStart, sharing: Sharing, known: ProcessLog | None
) -> tuple[list[Line], int]:
    """All lines of a log that needs no closer look, as nearly every one, and how many bytes they are; else none."""
    lines: list[Line] = []
    with path.open("rb") as file:
        if known and 0 < known.read_bytes <= path.stat().st_size:
            lines += known.lines
            file.seek(known.read_bytes)
        while block := file.read(BLOCK_BYTES) + file.readline():
            if not block.endswith(b"\n"):
                return [], 0
            try:
                read = decode_block(block)
            except ContractViolation:
                return [], 0
            if len(read) != block.count(b"\n") or not _of_one_mind(read):
                return [], 0
            for line in read if start.skew_s else ():
                _correct(line, start.skew_s)
            first = start.first_seq + len(lines)
            numbers = range(first, first + len(read))
            if [line.seq for line in read] != list(numbers):
                return [], 0
            moments = [line.ts for line in (*lines[-1:], *read)]
            if moments != sorted(moments):
                return [], 0
            sharing.share(read)
            lines += read
        read_bytes = file.tell()
    of_one = len({line.instance for line in lines}) == 1
    ended = isinstance(lines[-1], ServiceStopped) if lines and start.how == "stopped" else start.how not in _BAD_ENDS
    ended = ended and not start.fell_dead
    in_time = not lines or (start.started_at <= lines[0].ts and lines[-1].ts <= (start.ended_at or END))
    return (lines, read_bytes) if of_one and ended and in_time else ([], 0)


def _of_one_mind(lines: list[Line]) -> bool:
    """No line says half of what belongs together, or two things at once."""
    answers: list[Any] = [line for line in lines if line.__class__ in (HttpRequestCompleted, CallCompleted)]
    return not any(map(has_half_an_entity, lines)) and all(map(http_status_agrees, answers))


def _read_line_by_line(path: Path, start: ProcessStart) -> ProcessLog:
    reader = _Reader(start.file, start.skew_s)
    *whole, torn = path.read_bytes().split(b"\n")
    for number, raw in enumerate(whole, start=1):
        reader.read(number, raw.removesuffix(b"\r"))
    if torn and start.how != "running":
        reader.report(len(whole) + 1, torn, "the last line is torn: no newline at its end")
    _report_disorder(reader, start)
    lost = [*_holes(reader, start), *_early_end(reader, start)]
    bad = f"it was asked to end, and fell dead (exit code {start.exit_code})" if start.fell_dead else None
    if problem := bad or _BAD_ENDS.get(start.how):
        reader.broken.append(BrokenLine(start.file, len(whole), start.ended_at or END, f"{problem}: {JUST_STOPS}", ""))
    return ProcessLog(
        start.service, reader.instance, start.file, start.how == "killed",
        tuple(reader.lines), tuple(reader.broken), tuple(lost), ended_at=_ended(start), skew_s=start.skew_s,
    )  # fmt: skip


def _ended(start: ProcessStart) -> str:
    return start.ended_at or BEGINNING


def _correct(line: Line, skew_s: float) -> None:
    """Say when it was written by the true clock, if its process had another one."""
    if skew_s:
        line.ts = later(line.ts, -skew_s)


def _corrected(ts: str, skew_s: float) -> str:
    """Of a broken line, whose timestamp may be none."""
    try:
        return later(ts, -skew_s) if skew_s else ts if ts[:1].isdigit() else BEGINNING
    except ValueError:
        return BEGINNING


def last_line(path: Path, *, skew_s: float = 0.0) -> Line | None:
    """The last whole line of a log that keeps the contract, if it is near the end: all else is not read."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - NEAR_THE_END_BYTES))
        near = file.read()
    for raw in reversed(near.split(b"\n")):
        with suppress(ContractViolation):
            line = decode_line(raw)
            _correct(line, skew_s)
            return line
    return None


def _holes(reader: _Reader, start: ProcessStart) -> Iterable[LostLines]:
    by_seq = {seq: ts for seq, ts, _ in reader.positions}
    present = sorted(by_seq)
    before = start.first_seq - 1
    for seq in present:
        if seq > before + 1:
            since = by_seq.get(before, BEGINNING)
            yield LostLines(start.service, reader.instance, start.file, before + 1, seq - 1, since, by_seq[seq])
        before = seq


def _early_end(reader: _Reader, start: ProcessStart) -> Iterable[LostLines]:
    """A process that was asked to stop says ``service.stopped`` last; without it, the end of its log is missing, unless
    it fell dead."""
    ended = any(isinstance(line, ServiceStopped) for line in reversed(reader.lines))
    if start.how == "stopped" and not ended and not start.fell_dead:
        first = max((seq for seq, _, _ in reader.positions), default=-1) + 1
        yield LostLines(start.service, reader.instance, start.file, first, None, reader.last_ts, END)


def _report_disorder(reader: _Reader, start: ProcessStart) -> None:
    """Whatever stands where it was not written. Mends the reader's positions, so that one alteration is no hole."""
    reader.positions, altered = mended(reader.positions)
    outside = (*_before_its_start(reader, start), *_after_its_end(reader, start))
    found = [*altered, *disorder(reader.positions), *outside]
    reader.broken += [BrokenLine(reader.file, one.number, one.ts, one.problem, "") for one in found]


def _before_its_start(reader: _Reader, start: ProcessStart) -> Iterable[Disorder]:
    if reader.positions and reader.positions[0][1] < start.started_at:
        _seq, ts, number = reader.positions[0]
        yield Disorder(number, start.started_at, f"ts {ts} is before {start.started_at}, when its process was started")


def _after_its_end(reader: _Reader, start: ProcessStart) -> Iterable[Disorder]:
    if reader.positions and start.ended_at and reader.positions[-1][1] > start.ended_at:
        _seq, ts, number = reader.positions[-1]
        yield Disorder(number, start.ended_at, f"ts {ts} is after {start.ended_at}, when its process had ended")
