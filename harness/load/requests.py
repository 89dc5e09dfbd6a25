"""The samples of all processes of the generator, put together: by endpoint, in the order of when they were meant."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.load.records import Sample
from harness.load.tracks import Track, track


@dataclass(frozen=True, slots=True)
class Requests:
    """Some requests. What ends in ``_at_end`` counts to the moment of the answer, all else to that at which they were
    meant to begin.

    ``took_ms``: from then to the answer, or until it was given up. ``late_ms``: so late the generator began.
    ``failed``: 1 for what was not answered as it was meant to be, else 0. ``meant_at_end``, ``failed_at_end``: 1 each.
    """

    took_ms: Track
    late_ms: Track
    failed: Track
    meant_at_end: Track
    failed_at_end: Track


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked that something may have to come of. ``sure``: the answer says that it will; without an answer, or
    with a refusal, only the log can tell."""

    correlation_id: str
    intended_ns: int
    sure: bool


@dataclass(frozen=True, slots=True)
class Traffic:
    """All requests of a run, those of each endpoint, and the flows that they have begun or may have begun."""

    all: Requests
    by_endpoint: dict[str, Requests]
    asked: list[Asked]


@dataclass(slots=True)
class _Columns:
    intended_ns: array[int] = field(default_factory=lambda: array("q"))
    ended_ns: array[int] = field(default_factory=lambda: array("q"))
    late_ms: array[float] = field(default_factory=lambda: array("d"))
    failed: bytearray = field(default_factory=bytearray)

    def add(self, sample: Sample) -> None:
        self.intended_ns.append(sample.intended_ns)
        self.ended_ns.append(sample.ended_ns)
        self.late_ms.append((sample.began_ns - sample.intended_ns) / 1e6)
        self.failed.append(not sample.meant)

    def extend(self, other: _Columns) -> None:
        self.intended_ns += other.intended_ns
        self.ended_ns += other.ended_ns
        self.late_ms += other.late_ms
        self.failed += other.failed

    def requests(self) -> Requests:
        took_ms = [(ended - intended) / 1e6 for intended, ended in zip(self.intended_ns, self.ended_ns, strict=True)]
        meant, failed = (
            [ended for ended, one in zip(self.ended_ns, self.failed, strict=True) if one == wanted] for wanted in (0, 1)
        )
        return Requests(
            track(self.intended_ns, took_ms),
            track(self.intended_ns, self.late_ms),
            track(self.intended_ns, self.failed),
            track(meant, [1.0] * len(meant)),
            track(failed, [1.0] * len(failed)),
        )


def traffic(samples: Iterable[Sample]) -> Traffic:
    """Sort samples in, one by one."""
    columns: dict[str, _Columns] = {}
    asked: list[Asked] = []
    for sample in samples:
        if (known := columns.get(sample.endpoint)) is None:
            known = columns[sample.endpoint] = _Columns()
        known.add(sample)
        if sample.flow:
            asked.append(Asked(sample.correlation_id, sample.intended_ns, 200 <= sample.status < 300))
    together = _Columns()
    for one in columns.values():
        together.extend(one)
    by_endpoint = {endpoint: columns[endpoint].requests() for endpoint in sorted(columns)}
    return Traffic(together.requests(), by_endpoint, asked)
