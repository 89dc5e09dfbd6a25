"""A waterfall as SVG: a lane for each service, waits apart from work, faults shaded, what is missing dashed.

Places in time are percentages and texts have a size of their own, so that one drawing is readable on a telephone and on
a wide screen alike: there, the style puts the texts beside the bars instead of above them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor, log10

from markupsafe import Markup

from harness.trace.waterfall import FaultWindow, Sort, Step, Waterfall
from reports.page.template import render, style

_ROW, _HEAD, _AXIS, _LEGEND = 30, 24, 22, 26
_WIDEST = 54
"""So many characters of a text fit beside the bars, and on a telephone."""
_MOST_FAULTS = 6
_TICKS = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """``y`` in pixels, ``x`` and ``width`` in percent of the time shown."""

    y: int
    x: float
    width: float
    sort: Sort
    label: str
    took: str
    says: str
    title: str


@dataclass(frozen=True, slots=True)
class Head:
    y: int
    name: str


@dataclass(frozen=True, slots=True)
class Shade:
    y: int
    x: float
    width: float
    label: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything where it stands."""

    name: str
    title: str
    told: str
    height: int
    top: int
    bottom: int
    heads: Sequence[Head]
    bars: Sequence[Bar]
    shades: Sequence[Shade]
    ticks: Sequence[tuple[float, str]]


def svg(shown: Waterfall, *, alone: bool = False) -> Markup:
    """The drawing. ``alone``: a file of its own, with its own style; else it is a part of a page that has it."""
    css = style("waterfall.css") if alone else None
    return render("waterfall.svg", picture=_picture(shown), alone=alone, css=css)


def took(seconds: float) -> str:
    """``12.3 ms``, ``1.20 s``, ``2 min 5 s``"""
    if seconds < 0.0001:
        return "<0.1 ms" if seconds else "0 ms"
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _picture(shown: Waterfall) -> Picture:
    scale = _Scale(shown.began, shown.ended)
    shades = list(_shades(shown.faults[:_MOST_FAULTS], scale))
    y = _AXIS + _ROW * len(shades)
    heads, bars = [], []
    for lane, steps in shown.lanes.items():
        heads.append(Head(y, lane))
        y += _HEAD
        for step in steps:
            bars.append(_bar(step, y, scale))
            y += _ROW
    missing = [f"{bar.label} in {lane}" for lane, steps in shown.lanes.items() for bar in _missing(steps, scale)]
    return Picture(
        name=f"flow-{shown.correlation_id}",
        title=f"Flow {shown.correlation_id}: {shown.state.replace('_', ' ')}, {took(shown.ended - shown.began)}",
        told="; ".join(missing) or f"{len(bars)} steps in {len(heads)} lanes, nothing missing",
        height=y + _LEGEND,
        top=_AXIS,
        bottom=y,
        heads=heads,
        bars=bars,
        shades=shades,
        ticks=list(_ticks(shown, scale)),
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    began: float
    ended: float

    def __call__(self, moment: float) -> float:
        """A percentage; what lies outside is at the edge."""
        share = (moment - self.began) / max(self.ended - self.began, 1e-6)
        return round(100 * min(1.0, max(0.0, share)), 3)


def _bar(step: Step, y: int, scale: _Scale) -> Bar:
    x, end = scale(step.began), scale(step.ended)
    duration = took(step.ended - step.began) if step.sort in ("work", "wait") else ""
    name = f"✗ missing: {step.name}" if step.sort == "missing" else step.name
    title = " · ".join(part for part in (name, duration, step.says) if part)
    label = _cut(name, _WIDEST - len(duration))
    room = _WIDEST - len(label) - len(duration) - 4
    return Bar(y, x, round(end - x, 3), step.sort, label, duration, _cut(step.says, room), title)


def _missing(steps: Sequence[Step], scale: _Scale) -> Iterator[Bar]:
    yield from (_bar(step, 0, scale) for step in steps if step.sort == "missing")


def _shades(faults: Sequence[FaultWindow], scale: _Scale) -> Iterator[Shade]:
    for number, fault in enumerate(faults):
        x, end = scale(fault.began), scale(fault.ended)
        label = f"⚡ {_cut(fault.name)}{_reach(fault, scale)}"
        yield Shade(_AXIS + _ROW * number, x, round(max(end - x, 0.2), 3), label)


def _reach(fault: FaultWindow, scale: _Scale) -> str:
    """How far a fault reaches beyond the picture."""
    before, after = scale.began - fault.began, fault.ended - scale.ended
    parts = [f"from {took(before)} before"] if before > 0 else []
    parts += [f"until {took(after)} after"] if after > 0 else []
    return f", {' '.join(parts)}" if parts else ""


def _ticks(shown: Waterfall, scale: _Scale) -> Iterator[tuple[float, str]]:
    """Some round numbers of the time since its beginning."""
    length = shown.ended - shown.began
    rough = length / _TICKS
    size = 10 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    for number in range(int(length / step) + 1):
        yield scale(shown.began + number * step), took(number * step) if number else "0"


def _cut(text: str, most: int = _WIDEST) -> str:
    """At most so many characters of a text; nothing, where there is room for next to nothing."""
    return text if len(text) <= most else f"{text[: most - 1]}…" if most > 3 else ""
