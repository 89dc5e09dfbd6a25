"""What was done to a log file, told from the ``seq`` and ``ts`` of its lines: duplicated, swapped, altered.

A process counts its lines from 0 and never looks back, so in an untouched file both only grow. What is missing is no
disorder: a hole in ``seq`` is told by whoever reads the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Position = tuple[int, str, int]
"""seq, ts, line number"""


@dataclass(frozen=True, slots=True)
class Disorder:
    """A line that does not stand where it was written, or not as it was. ``ts``: the moment to which it belongs."""

    number: int
    ts: str
    problem: str


def mended(positions: Sequence[Position]) -> tuple[list[Position], list[Disorder]]:
    """The positions with each altered ``seq`` put right, so that it makes no holes, and the lines it was altered in.

    Between ``n - 1`` and ``n + 1`` can only stand ``n``; if no line has that, this one had it.
    """
    count = Counter(seq for seq, _, _ in positions)
    right, altered = list(positions), []
    for index, (seq, ts, number) in enumerate(positions[:-1]):
        expected = positions[index - 1][0] + 1 if index else 0
        surrounded = positions[index + 1][0] == expected + 1
        if seq != expected and surrounded and not count[expected] and count[seq] == 1:
            right[index] = (expected, ts, number)
            problem = f"seq {seq} stands where seq {expected} should: the seq was altered"
            altered.append(Disorder(number, ts, problem))
    return right, altered


def disorder(positions: Sequence[Position]) -> Iterator[Disorder]:
    """Each line that is out of order, once; ``seq`` is asked before ``ts``."""
    first_ts: dict[int, str] = {}
    highest, moment = -1, ""
    for index, (seq, ts, number) in enumerate(positions):
        if seq in first_ts:
            what = "the line was duplicated" if first_ts[seq] == ts else "another line has it, so one was altered"
            yield Disorder(number, ts, f"seq {seq} stands there a second time: {what}")
        elif seq < highest:
            yield Disorder(number, ts, f"seq {seq} stands after seq {highest}: lines were swapped")
        elif ts < moment:
            before = positions[index - 2][1] if index > 1 else ts
            when = sorted((before, moment, ts))[1]  # one of the latter two is altered, and may be far away
            yield Disorder(number, when, f"ts {ts} of seq {seq} is before {moment}, where the line before stands")
        first_ts.setdefault(seq, ts)
        highest, moment = max(highest, seq), ts
