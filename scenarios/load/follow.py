"""Following a load run while it goes on: what has been answered, and which flows have come to their deal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness.evidence.clock import unix_ns
from harness.load.percentiles import percentile
from harness.load.records import Sample, Step

_LATEST = 1_000
_SIGNS = b'"http.request.completed"', b'"/deals"'


class _Answer(msgspec.Struct):
    """As much of a line as tells that a deal was made."""

    ts: str
    correlation_id: str
    http_status: int
    method: str


@dataclass
class Follower:
    """Reads on in the samples of all processes and in crm's logs. Costs memory only for flows that are open."""

    folder: Path
    logs: Path
    answered: int = 0
    failed: int = 0
    intended_ns: int = 0
    """When the last of them was meant to begin."""
    ended_ns: int = 0
    flows: int = 0
    open: dict[str, int] = field(default_factory=dict)
    """Correlation → when it was meant to begin."""
    _offsets: dict[Path, int] = field(default_factory=dict)
    _early: dict[str, str] = field(default_factory=dict)
    """Deals that were heard of before the answer that begins their flow: correlation → moment."""
    _took_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_LATEST))
    _ends: deque[tuple[int, bool]] = field(default_factory=lambda: deque(maxlen=50_000))
    """Of the latest answers: when, and whether it was meant."""

    def read_on(self) -> None:
        """Take in what has been written since the last time."""
        for block in self._new(self.folder, "samples-*.ndjson"):
            for sample in map(_SAMPLE.decode, block.splitlines()):
                self._add(sample)
        for block in self._new(self.logs, "crm*.ndjson"):
            for raw in block.splitlines():
                if all(sign in raw for sign in _SIGNS):
                    self._hear(raw)

    def rate(self, now_ns: int) -> float:
        """Answers in the last whole second."""
        return float(sum(now_ns - 1_000_000_000 < ended for ended, _ in self._ends))

    def error_ratio(self, now_ns: int) -> float:
        """The share that was not answered as meant, in the last five seconds; 0 of fewer than 50."""
        lately = [meant for ended, meant in self._ends if now_ns - 5_000_000_000 < ended]
        return 1 - sum(lately) / len(lately) if len(lately) >= 50 else 0.0

    def e2e_ms(self, share: float) -> float | None:
        """A percentile of the latest flows that have ended."""
        return percentile(sorted(self._took_ms), share) if self._took_ms else None

    def _add(self, sample: Sample) -> None:
        self.answered += 1
        self.failed += not sample.meant
        self.intended_ns = max(self.intended_ns, sample.intended_ns)
        self.ended_ns = max(self.ended_ns, sample.ended_ns)
        self._ends.append((sample.ended_ns, sample.meant))
        if sample.flow and sample.status == 200:
            self.flows += 1
            if (made := self._early.pop(sample.correlation_id, None)) is not None:
                self._finish(sample.intended_ns, made)
            else:
                self.open[sample.correlation_id] = sample.intended_ns

    def _hear(self, raw: bytes) -> None:
        try:
            line = _ANSWER.decode(raw)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return
        if (line.method, line.http_status) == ("POST", 201):
            if (intended_ns := self.open.pop(line.correlation_id, None)) is not None:
                self._finish(intended_ns, line.ts)
            else:
                self._early[line.correlation_id] = line.ts

    def _finish(self, intended_ns: int, made: str) -> None:
        self._took_ms.append((unix_ns(made) - intended_ns) / 1e6)

    def _new(self, folder: Path, pattern: str) -> Iterator[bytes]:
        for path in sorted(folder.glob(pattern)):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                whole, newline, _torn = file.read().rpartition(b"\n")
            self._offsets[path] = self._offsets.get(path, 0) + len(whole) + len(newline)
            yield whole


_SAMPLE = msgspec.json.Decoder(Sample)
_ANSWER = msgspec.json.Decoder(_Answer)


def planned_rate(steps: tuple[Step, ...], since_s: float) -> float:
    """Arrivals a second, as the profile wants them at that moment."""
    for step in steps:
        if 0 <= since_s < step.seconds:
            return step.from_rate + (step.to_rate - step.from_rate) * since_s / step.seconds
        since_s -= step.seconds
    return 0.0


def steps_until(steps: tuple[Step, ...], moment_s: float) -> tuple[Step, ...]:
    """What of the steps comes before a moment."""
    until: list[Step] = []
    for step in steps:
        seconds = min(step.seconds, moment_s)
        if seconds <= 0:
            break
        rate = step.from_rate + (step.to_rate - step.from_rate) * seconds / step.seconds
        until.append(Step(seconds=seconds, from_rate=step.from_rate, to_rate=rate))
        moment_s -= seconds
    return tuple(until)
