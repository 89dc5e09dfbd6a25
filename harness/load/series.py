"""The course of a run: what happened in each second, or in each few of a long one."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping

from msgspec import Struct

from harness.evidence.clock import unix_ns
from harness.evidence.records import Fault
from harness.load.measurements import Measurements
from harness.load.metrics import Span, windows
from harness.load.percentiles import finite, percentile
from harness.load.slope import MB
from harness.load.tracks import Track

MOST_WINDOWS = 600


class Quantiles(Struct, frozen=True, array_like=True):
    """Milliseconds; None: it never came."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class Window(Struct, frozen=True, kw_only=True):
    """What began, ended or was seen in one window. None: there was nothing to measure, or nobody looked.

    ``at_s``: its beginning, in seconds after that of the schedule. ``arrivals``: meant to begin in it. ``answered``,
    ``failed``: answers in it that were, or were not, as they were meant to be. ``http``, ``e2e``: of what was meant to
    begin in it. ``begun``, ``finished``: flows that began in it, and ended in it. ``late_ms``: the generator's p99.
    ``cpu_cores``, ``rss_mb``: by process.
    """

    at_s: float
    arrivals: int
    answered: int
    failed: int
    http: Quantiles | None
    e2e: Quantiles | None
    begun: int
    finished: int
    late_ms: float | None
    unsent: float | None
    oldest_unsent_s: float | None
    depth: float | None
    dead_letters: float | None
    machine_cpu: float | None
    cpu_cores: dict[str, float]
    rss_mb: dict[str, float]


class FaultWindow(Struct, frozen=True, kw_only=True):
    """When something was broken by us, in seconds after the beginning of the schedule. ``hits``: 0 proves nothing."""

    kind: str
    place: str
    since_s: float
    until_s: float
    hits: int


def window_s(run: Measurements) -> int:
    """So long is each window: whole seconds, so that there are never too many."""
    return max(1, math.ceil((run.over_ns - run.plan.began_ns) / 1e9 / MOST_WINDOWS))


def series(run: Measurements) -> list[Window]:
    """From the beginning of the schedule until all had come to rest."""
    whole = Span(run.plan.began_ns, run.over_ns)
    return [_window(run, span) for span in windows(whole, window_s(run) * 1_000_000_000)]


def _window(run: Measurements, span: Span) -> Window:
    requests, flows, seen = run.traffic.all, run.flows, run.observed

    def values(track: Track) -> array[float]:
        return track.between(span.since_ns, span.until_ns)

    answered = len(values(requests.meant_at_end))
    late = values(requests.late_ms)
    return Window(
        at_s=round((span.since_ns - run.plan.began_ns) / 1e9, 3),
        arrivals=len(late),
        answered=answered,
        failed=len(values(requests.failed_at_end)),
        http=_quantiles(values(requests.took_ms)),
        e2e=_quantiles(values(flows.took_ms)),
        begun=len(values(flows.finished)),
        finished=len(values(flows.done_at_end)),
        late_ms=finite(percentile(sorted(late), 0.99)) if late else None,
        unsent=max(values(seen.unsent), default=None),
        oldest_unsent_s=max(values(seen.oldest_unsent_s), default=None),
        depth=max(values(seen.depth), default=None),
        dead_letters=max(values(seen.dead_letters), default=None),
        machine_cpu=_mean(values(seen.machine_cpu)),
        cpu_cores=_each(seen.cpu_cores, span, lambda cores: round(math.fsum(cores) / len(cores), 3)),
        rss_mb=_each(seen.rss_bytes, span, lambda sizes: round(max(sizes) / MB, 1)),
    )


def _quantiles(took_ms: array[float]) -> Quantiles | None:
    if not took_ms:
        return None
    ordered = sorted(took_ms)
    return Quantiles(*(finite(percentile(ordered, share)) for share in (0.5, 0.95, 0.99, 1.0)))


def _mean(values: array[float]) -> float | None:
    return round(math.fsum(values) / len(values), 3) if values else None


def _each(tracks: Mapping[str, Track], span: Span, reduce: Callable[[array[float]], float]) -> dict[str, float]:
    found = {name: track.between(span.since_ns, span.until_ns) for name, track in tracks.items()}
    return {name: reduce(values) for name, values in found.items() if values}


def fault_windows(run: Measurements) -> list[FaultWindow]:
    """What was broken when; of a fault that tells when its effect was there, from then on."""
    return [
        FaultWindow(
            kind=fault.kind, place=fault.place, hits=fault.hits,
            since_s=_seconds_after(run, fault.effective_at or fault.injected_at),
            until_s=_seconds_after(run, fault.healed_at),
        )
        for fault in sorted(run.faults, key=_begin)
    ]  # fmt: skip


def _begin(fault: Fault) -> str:
    return fault.injected_at


def _seconds_after(run: Measurements, moment: str) -> float:
    return round((unix_ns(moment) - run.plan.began_ns) / 1e9, 3)
