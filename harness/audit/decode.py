"""From a block of bytes to lines of the contract, and a fault for each that is none: which line, and why."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from harness.audit.blocks import LONGEST, Block
from harness.contract.log_lines import (
    ContractViolation,
    Line,
    decode_block,
    decode_line,
    is_timestamp,
)

_EXCERPT, _HEAD = 200, 4096


class Fault(Struct, frozen=True, kw_only=True):
    """A line that breaks the contract. What could be read of its place in the log is there, the rest is None."""

    number: int
    kind: str
    problem: str
    excerpt: str
    ts: str | None = None
    service: str | None = None
    instance: str | None = None
    seq: int | None = None
    correlation_id: str | None = None


class Page(Struct):
    """What stands in one block. ``numbers``: of each line, where they do not just count up from the block's."""

    first: int
    lines: list[Line]
    numbers: list[int] | None = None
    faults: list[Fault] = []

    def number_of(self, index: int) -> int:
        return self.first + index if self.numbers is None else self.numbers[index]


DecodeLine = Callable[[bytes], Line | None]
"""None for a line that is passed over. Raises ContractViolation."""


def read_closely(block: Block) -> list[Fault]:
    """The faults of a block of ours, each line by itself."""
    return _line_by_line(block, decode_line).faults


def read_page(block: Block, decode: DecodeLine | None = None) -> Page:
    """Decode a block: at once where it is faultless, else line by line. ``decode``: for logs that are not ours."""
    if block.oversized:
        problem = f"a line of {block.oversized:,} bytes: expected at most {LONGEST:,}"
        return Page(
            block.number, [], faults=[Fault(number=block.number, kind="long_line", problem=problem, excerpt="")]
        )
    if decode is None:
        try:
            lines = decode_block(block.data)
        except ContractViolation:
            return _line_by_line(block, decode_line)
        if len(lines) == block.lines:
            return Page(block.number, lines)  # the ledger asks for what is not asked here
    return _line_by_line(block, decode or decode_line)


def _line_by_line(block: Block, decode: DecodeLine) -> Page:
    lines: list[Line] = []
    numbers: list[int] = []
    faults: list[Fault] = []
    raws = block.data.split(b"\n")
    if not block.torn:
        raws.pop()
    for number, raw in enumerate(raws, start=block.number):
        if not raw or raw.isspace():
            continue
        try:
            line = decode(raw)
        except ContractViolation as violation:
            faults.append(fault_of(number, raw, str(violation), torn=block.torn))
            continue
        if line is not None:
            lines.append(line)
            numbers.append(number)
    return Page(block.number, lines, numbers, [_timed(fault, lines, numbers) for fault in faults])


def _timed(fault: Fault, lines: list[Line], numbers: list[int]) -> Fault:
    """A line that does not tell its time is about as old as the next one; without one in its block, it has to wait."""
    after = bisect(numbers, fault.number)
    return at_the_time_of(lines[after].ts, fault) if after < len(lines) else fault


def at_the_time_of(ts: str, fault: Fault) -> Fault:
    """Unless it tells its time itself."""
    return msgspec.structs.replace(fault, ts=ts) if fault.ts is None else fault


_PLACE = re.compile(rb'"(ts|service|instance|correlation_id)" *: *"([^"\\]*)"|"(seq)" *: *(\d+)')
"""A broken line most often still tells whose it was, and then only that flow is in the dark."""


def fault_of(number: int, raw: bytes, problem: str, *, torn: bool = False) -> Fault:
    """A line that was refused, with what can still be read of its place."""
    excerpt = raw[:_EXCERPT].decode("utf-8", "backslashreplace").replace("\0", "\\0")
    kind = "broken_line"
    if torn:
        kind, problem = "torn_line", "the last line is torn: no newline"
    elif b"\0" in raw:
        problem = f"{raw.count(0)} NUL bytes: {problem}"
    place: dict[str, Any] = {}
    for name, text, seq, count in _PLACE.findall(raw[:_HEAD]):
        if seq:
            place["seq"] = int(count[:18])
        else:
            place[name.decode()] = text.decode("utf-8", "replace")
    if not is_timestamp(place.get("ts", "")):
        place.pop("ts", None)
    return Fault(number=number, kind=kind, problem=problem, excerpt=excerpt, **place)
