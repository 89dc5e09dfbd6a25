"""Gates: what a load run must keep to. Three answers: ``pass``, ``fail``, and ``inconclusive``, which is no pass.

A gate is inconclusive where too little was measured, and where the generator was late: then the system was not asked
what it should have been, and what was slow may have been the generator. The same holds where a bound was broken while
others filled the machine. What that cannot explain fails all the same: a deal that is missing or doubled.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from harness.evidence.clock import wall_at
from harness.evidence.records import Fault
from harness.load.baseline import Baseline, Estimate, estimate, key
from harness.load.crowding import others_share
from harness.load.gate_language import EXAMPLE, Check, GateError, near, parse
from harness.load.measurements import Measurements
from harness.load.metrics import Dimension, Span, windows, written
from harness.load.percentiles import finite

Status = Literal["pass", "fail", "inconclusive"]
PUNCTUAL = "generator.lateness.p99 < 50ms"
"""Asked of every run whose file of gates asks nothing of the generator."""
_LATENESS = "generator.lateness."


@dataclass(frozen=True, slots=True)
class Gate:
    """A check as it was written. ``fewest``: with fewer samples it is inconclusive; None: as its metric needs."""

    text: str
    check: Check
    endpoint: str = ""
    fewest: int | None = None

    @property
    def of_generator(self) -> bool:
        return self.check.metric.name.startswith(_LATENESS)

    @property
    def needs(self) -> int:
        return self.check.metric.fewest if self.fewest is None else self.fewest


class GateResult(Struct, frozen=True, kw_only=True):
    """One gate's answer. ``value`` and ``bound``: in milliseconds for times, a share of 1, or what else the metric is;
    None where there is none, or it is infinite. ``says``: all of it in one sentence.

    ``since_s``: seconds after the start at which it began to be broken (of several stretches, the longest), and
    ``since_at``: the same as a moment. ``during``: faults at that moment.
    """

    gate: str
    endpoint: str
    status: Status
    value: float | None
    bound: float | None
    samples: int
    says: str
    since_s: float | None = None
    since_at: str | None = None
    during: tuple[str, ...] = ()


def worst(results: Sequence[GateResult]) -> Status:
    """What they come to together."""
    statuses = {result.status for result in results}
    return "fail" if "fail" in statuses else "inconclusive" if "inconclusive" in statuses or not results else "pass"


# --- the file ---------------------------------------------------------------------------------------------------


class _Gate(Struct, frozen=True, forbid_unknown_fields=True):
    check: str
    profile: tuple[str, ...] = ()
    endpoint: str = ""
    minimum_samples: int | None = None


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    gate: tuple[_Gate, ...] = ()


def load_gates(path: Path, profile: str, profiles: Collection[str]) -> list[Gate]:
    """The gates of a profile, out of those that there are. Raises GateError naming file, gate and column."""
    try:
        file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except FileNotFoundError:
        raise GateError(f"no file of gates {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise GateError(f'{path}: {error}; a gate is written\n\n    [[gate]]\n    check = "{EXAMPLE}"\n') from error
    made = [_gate(path, number, one, profiles) for number, one in enumerate(file.gate, start=1)]
    mine = [gate for gate, raw in zip(made, file.gate, strict=True) if not raw.profile or profile in raw.profile]
    if not mine:
        raise GateError(f"{path}: no gate for the profile {profile!r}: nothing would be asked of it")
    return mine if any(gate.of_generator for gate in mine) else [*mine, Gate(PUNCTUAL, parse(PUNCTUAL))]


def _gate(path: Path, number: int, raw: _Gate, profiles: Collection[str]) -> Gate:
    place = f"{path}: gate {number}"
    for name in raw.profile:
        if name not in profiles:
            raise GateError(f"{place}: no profile {name!r}{near(name, profiles) or _there_are(profiles)}")
    try:
        check = parse(raw.check)
    except GateError as error:
        pointed = f"    {raw.check}\n    {' ' * (error.column - 1)}^"
        raise GateError(f"{place}, column {error.column}: {error.says}\n{pointed}", error.column) from None
    if raw.endpoint and not check.metric.by_endpoint:
        raise GateError(f"{place}: endpoint is for http.*, and {check.metric.name} is about the whole run")
    return Gate(raw.check, check, raw.endpoint, raw.minimum_samples)


def _there_are(names: Iterable[str]) -> str:
    return f"; there are {', '.join(names) or 'none'}"


# --- the answers ------------------------------------------------------------------------------------------------


def judge_gates(gates: Sequence[Gate], run: Measurements, baseline: Baseline | None = None) -> list[GateResult]:
    """Ask each gate. If the generator was late, what may come of that is inconclusive, whatever its value is."""
    results = [_judge(gate, run, baseline) for gate in gates]
    late = [
        result for gate, result in zip(gates, results, strict=True) if gate.of_generator and result.status != "pass"
    ]
    if not late:
        return results
    return [
        _doubted(result, late[0]) if gate.check.metric.late_explains else result
        for gate, result in zip(gates, results, strict=True)
    ]


def _doubted(result: GateResult, late: GateResult) -> GateResult:
    if result.status == "inconclusive":
        return result
    known = "the generator was late" if late.status == "fail" else "nobody knows whether the generator was late"
    because = f"{known}, so this says nothing about the system"
    says = result.says if result is late else f"{result.says}; but {because} ({late.gate} does not hold)"
    return msgspec.structs.replace(result, status="inconclusive", says=f"{says}; {because}" if result is late else says)


def _judge(gate: Gate, run: Measurements, baseline: Baseline | None) -> GateResult:
    if gate.endpoint and gate.endpoint not in run.traffic.by_endpoint:
        there = run.traffic.by_endpoint
        return _inconclusive(gate, f"nobody asked {gate.endpoint}{near(gate.endpoint, there) or _there_are(there)}")
    metric = gate.check.metric
    span = metric.span(run)
    samples = len(metric.values(run, span, gate.endpoint))
    value = metric.value(run, span, gate.endpoint)
    if value is None or (samples < gate.needs and metric.kind != "rate"):
        return _inconclusive(gate, f"{_count(samples)}, needed at least {gate.needs:,}", value, samples)
    if gate.check.relative:
        return _judge_relative(gate, run, baseline, samples)
    stretch = _stretch(gate, run, span)
    if gate.check.sustained_s is None:
        broken = not gate.check.holds(value, gate.check.bound)
        told = value
    else:
        broken = stretch is not None
        told = _worst_of(gate, run, stretch) if stretch else value
    answer = _answer(gate, run, told, gate.check.bound, samples, stretch if broken else None, broken=broken)
    return _unless_crowded(answer, gate, run, stretch or span)


def _unless_crowded(result: GateResult, gate: Gate, run: Measurements, span: Span) -> GateResult:
    """The same, or inconclusive where the machine was full, and not of what was to be measured."""
    others = others_share(run.observed, span)
    if result.status != "fail" or not gate.check.metric.late_explains or others is None:
        return result
    says = f"{result.says}; but others used {others:.0%} of this machine then, so this says nothing about the system"
    return msgspec.structs.replace(result, status="inconclusive", says=says)


def _worst_of(gate: Gate, run: Measurements, stretch: Span) -> float:
    """What the metric was over a stretch that broke the bound: of it all, not of its worst second."""
    value = gate.check.metric.value(run, stretch, gate.endpoint)
    return gate.check.bound if value is None else value


def _judge_relative(gate: Gate, run: Measurements, baseline: Baseline | None, samples: int) -> GateResult:
    metric, factor = gate.check.metric, gate.check.bound
    now = estimate(metric, run, gate.endpoint)
    if baseline is None or now is None:
        return _inconclusive(gate, "there is no baseline to compare with: give one, or save one", None, samples)
    then = baseline.estimates.get(key(metric.name, gate.endpoint))
    if then is None:
        return _inconclusive(gate, f"the baseline of {baseline.profile} does not tell it", None, samples)
    value, bound = _number(now.value), _number(then.value) * factor
    broken = _beyond(gate.check, now, then)
    compared = f"{_range(now, metric.dimension)} beside {_range(then, metric.dimension)} of the baseline, 95% each"
    result = _answer(gate, run, value, bound, samples, None, broken=broken)
    return msgspec.structs.replace(result, says=f"{result.says}; {compared}")


def _beyond(check: Check, now: Estimate, then: Estimate) -> bool:
    """Do even the ends that are nearest to each other break the bound?"""
    if check.operator.startswith("<"):
        best, loosest = _number(now.low), _number(then.high)
    else:
        best, loosest = _number(now.high), _number(then.low)
    return not check.holds(best, loosest * check.bound)


def _number(value: float | None) -> float:
    return math.inf if value is None else value


# --- since when -------------------------------------------------------------------------------------------------


def _stretch(gate: Gate, run: Measurements, span: Span) -> Span | None:
    """The first stretch of windows on end that break the bound for as long as it takes; without ``sustained`` the
    longest of all. A window in which nothing was measured neither breaks it nor ends a stretch."""
    if gate.check.metric.once:
        return None
    needed = gate.check.sustained_s
    longest: Span | None = None
    for stretch in _stretches(gate, run, span):
        if needed is not None and stretch.seconds >= needed:
            return stretch
        if longest is None or stretch.seconds > longest.seconds:
            longest = stretch
    return longest if needed is None else None


def _stretches(gate: Gate, run: Measurements, span: Span) -> Iterator[Span]:
    since = until = None
    for window in windows(span):
        value = gate.check.metric.value(run, window, gate.endpoint)
        if value is None:
            continue
        if gate.check.holds(value, gate.check.bound):
            if since is not None and until is not None:
                yield Span(since, until)
            since = until = None
        else:
            since, until = window.since_ns if since is None else since, window.until_ns
    if since is not None and until is not None:
        yield Span(since, until)


# --- telling it -------------------------------------------------------------------------------------------------


def _answer(
    gate: Gate, run: Measurements, value: float, bound: float, samples: int, stretch: Span | None, *, broken: bool
) -> GateResult:
    dimension = gate.check.metric.dimension
    what = f"{key(gate.check.metric.name, gate.endpoint)} was {written(value, dimension)}"
    since_at = wall_at(stretch.since_ns / 1e9) if stretch else None
    since_s = round((stretch.since_ns - run.plan.began_ns) / 1e9, 3) if stretch else None
    during = tuple(_active(run.faults, stretch)) if stretch else ()
    if broken:
        what += f", {_by_how_much(value, bound, dimension)}"
        if stretch:
            what += f", for {stretch.seconds:g} s from second {since_s:g} on ({since_at})"
            what += f", while {', '.join(during)}" if during else ""
    return GateResult(
        gate=gate.text, endpoint=gate.endpoint, status="fail" if broken else "pass", value=finite(value),
        bound=finite(bound), samples=samples, says=what, since_s=since_s, since_at=since_at, during=during,
    )  # fmt: skip


def _active(faults: Sequence[Fault], stretch: Span) -> Iterator[str]:
    """Faults that began before a stretch of broken windows ended, and were not healed before it began."""
    since, until = wall_at(stretch.since_ns / 1e9), wall_at(stretch.until_ns / 1e9)
    yield from (f"{one.kind} on {one.place}" for one in faults if one.injected_at < until and one.healed_at > since)


def _by_how_much(value: float, bound: float, dimension: Dimension) -> str:
    over = abs(value - bound)
    side = "over" if value > bound else "under"
    if value == bound:
        return f"which is {written(bound, dimension)} itself"
    if not math.isfinite(over):
        return f"{side} {written(bound, dimension)} without measure"
    share = f" ({over / bound:.0%})" if bound else ""
    return f"{written(over, dimension)}{share} {side} {written(bound, dimension)}"


def _inconclusive(gate: Gate, why: str, value: float | None = None, samples: int = 0) -> GateResult:
    return GateResult(
        gate=gate.text, endpoint=gate.endpoint, status="inconclusive", samples=samples,
        value=None if value is None else finite(value), bound=None if gate.check.relative else gate.check.bound,
        says=f"{key(gate.check.metric.name, gate.endpoint)} cannot be told: {why}",
    )  # fmt: skip


def _count(samples: int) -> str:
    return f"{samples:,} sample{'' if samples == 1 else 's'}"


def _range(one: Estimate, dimension: Dimension) -> str:
    return f"{written(_number(one.low), dimension)} to {written(_number(one.high), dimension)}"
