"""Reading a log in blocks that end with a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from msgspec import Struct

BLOCK = 128 * 1024
"""So many bytes are parsed at a time: what comes of them has to fit into a processor's second cache."""
LONGEST = 1024 * 1024
"""A longer line is not kept, and is reported: whatever it is, it is no line of this contract."""


class Block(Struct, frozen=True):
    """So many whole ``lines`` of a source. ``number``: of its first, from 1, counted from where reading began.

    ``torn``: its only line has no newline, for the source ends there. ``oversized``: the length of a line that was too
    long to be kept; then there is no ``data``.
    """

    offset: int
    number: int
    data: bytes
    lines: int
    torn: bool = False
    oversized: int = 0


def blocks(file: BinaryIO, *, start: int, end: int) -> Iterator[Block]:
    """The lines from ``start`` to ``end``: each the beginning of a line, or the end of the file."""
    file.seek(start)
    taken = start

    def take() -> bytes:
        nonlocal taken
        data = file.read(min(BLOCK, end - taken))
        taken += len(data)
        return data

    offset, number, rest = start, 1, b""
    while data := take():
        data = rest + data
        cut = data.rfind(b"\n") + 1
        if cut:
            rest = data[cut:]
            lines = data.count(b"\n")
            yield Block(offset, number, data[:cut], lines)
            offset, number = offset + cut, number + lines
        elif len(data) <= LONGEST:
            rest = data
        else:
            length, rest = _skip_line(take, len(data))
            yield Block(offset, number, b"", 1, oversized=length)
            offset, number = offset + length, number + 1
    if rest:
        yield Block(offset, number, rest, 1, torn=True)


def _skip_line(take: Callable[[], bytes], length: int) -> tuple[int, bytes]:
    """Read to the end of a line without keeping it; its length, and what follows it."""
    while data := take():
        cut = data.find(b"\n") + 1
        if cut:
            return length + cut, data[cut:]
        length += len(data)
    return length, b""
