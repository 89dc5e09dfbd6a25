"""The files of a log: found, unpacked where need be, and cut into spans of time that can be audited side by side."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import zstandard
from msgspec import Struct

SPAN = 64 * 1024 * 1024
"""So many bytes, about, of all files together are audited as one piece of work."""
STDIN = "-"
_CHUNK = 1024 * 1024


class SourceError(Exception):
    """A file cannot be read or unpacked. The message names it."""


class Source(Struct, frozen=True):
    """``name``: as it was given. ``path``: where its plain text lies. ``size``: of that, in bytes."""

    name: str
    path: str
    size: int


class Piece(Struct, frozen=True):
    """The part of a source, from ``start`` to ``end`` in bytes, that belongs to a span."""

    source: int
    name: str
    path: str
    start: int
    end: int


def gather(names: Sequence[str], scratch: Path, on_bytes: Callable[[int], None]) -> list[Source]:
    """All sources, as plain files. What is packed, or comes by standard input, is unpacked into ``scratch`` first.

    Raises SourceError.
    """
    return [_gathered(name, scratch / str(number), on_bytes) for number, name in enumerate(names)]


def _gathered(name: str, unpacked: Path, on_bytes: Callable[[int], None]) -> Source:
    try:
        if name != STDIN and not name.endswith((".gz", ".zst")):
            with Path(name).open("rb"):
                return Source(name, name, Path(name).stat().st_size)
        with _opened(name) as packed, unpacked.open("wb") as plain:
            while data := packed.read(_CHUNK):
                plain.write(data)
                on_bytes(len(data))
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise SourceError(f"{name}: {error}") from error
    return Source(name, str(unpacked), unpacked.stat().st_size)


def _opened(name: str) -> BinaryIO:
    if name == STDIN:
        return sys.stdin.buffer
    if name.endswith(".gz"):
        return cast(BinaryIO, gzip.open(name, "rb"))
    return cast(BinaryIO, zstandard.ZstdDecompressor().stream_reader(Path(name).open("rb"), read_across_frames=True))


def spans(sources: Sequence[Source], moment_of: Callable[[bytes], str]) -> Iterator[list[Piece]]:
    """Cut all sources at the same moments. ``moment_of``: the ts of a raw line, or an empty text.

    A flow that crosses a cut is looked at again in the end, so nothing depends on where the cuts are but speed.
    """
    total = sum(source.size for source in sources)
    largest = max(sources, key=lambda source: source.size)
    count = max(1, round(total / SPAN))
    starts = [0] * len(sources)
    for number in range(1, count + 1):
        if number == count:
            ends = [source.size for source in sources]
        else:
            moment = _moment_at(largest, largest.size * number // count, moment_of)[1]
            ends = [max(starts[i], _offset_of(source, moment, moment_of)) for i, source in enumerate(sources)]
        yield [
            Piece(i, source.name, source.path, starts[i], ends[i])
            for i, source in enumerate(sources) if ends[i] > starts[i]
        ]  # fmt: skip
        starts = ends


def _moment_at(source: Source, offset: int, moment_of: Callable[[bytes], str]) -> tuple[int, str]:
    """The beginning and the ts of the first line after an offset that tells its ts."""
    with Path(source.path).open("rb") as file:
        file.seek(max(0, offset - 1))
        if offset:
            file.readline(_CHUNK)
        while True:
            start, raw = file.tell(), file.readline(_CHUNK)
            if not raw or (moment := moment_of(raw)):
                return start, moment if raw else "~"


def _offset_of(source: Source, moment: str, moment_of: Callable[[bytes], str]) -> int:
    """The beginning of the first line that is not before a moment, if the lines stand in the order of time."""
    low, high = 0, source.size
    while high - low > 1:
        middle = (low + high) // 2
        if _moment_at(source, middle, moment_of)[1] < moment:
            low = middle
        else:
            high = middle
    return min(_moment_at(source, high, moment_of)[0], source.size)


class _Moment(Struct):
    ts: str = ""


def moment_of(raw: bytes) -> str:
    """The ts of a line of our own contract."""
    try:
        return msgspec.json.decode(raw, type=_Moment).ts
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return ""
