"""A waterfall as SVG: a lane for each service, waits apart from work, faults shaded, what is missing dashed.

Places in time are percentages and texts have a size of their own, so that one drawing is readable on a telephone and on
a wide screen alike: there, the style puts the texts beside the bars instead of above them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor, log10
from textwrap import wrap

from markupsafe import Markup

from harness.trace.waterfall import FaultWindow, Sort, Step, Waterfall
from reports.durations import took
from reports.page.template import render, style

_ROW, _SECOND, _HEAD, _AXIS, _LEGEND = 30, 15, 24, 22, 26
_WIDEST, _WIDEST_BOLD, _WIDEST_TITLE = 54, 46, 300
"""So many characters of a text fit beside the bars, and on a telephone."""
_MOST_FAULTS = 6
_THINNEST = 0.2
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Bar:
    """``y`` in pixels, ``x`` and ``width`` in percent of the time shown."""

    y: int
    x: float
    width: float
    sort: Sort
    label: Sequence[str]
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
    reach: str


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
    left_out: str


def svg(shown: Waterfall, *, alone: bool = False) -> Markup:
    """The drawing. ``alone``: a file of its own, with its own style; else it is a part of a page that has it."""
    css = style("waterfall.css") if alone else None
    return render("waterfall.svg", picture=_picture(shown), alone=alone, css=css)


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
            y += _ROW + _SECOND * (len(bars[-1].label) - 1)
    missing = [f"{lane}: {_name(step)}" for lane, steps in shown.lanes.items() for step in steps if step.sort in _WRONG]
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
        left_out=_left_out(shown),
    )


def _left_out(shown: Waterfall) -> str:
    counts = {"steps": shown.left_out, "faults": len(shown.faults) - _MOST_FAULTS}
    told = " and ".join(f"{count} {what}" for what, count in counts.items() if count > 0)
    return f"… {told} more" if told else ""


@dataclass(frozen=True, slots=True)
class _Scale:
    began: float
    ended: float

    def __call__(self, moment: float) -> float:
        """A percentage; what lies outside is at the edge."""
        share = (moment - self.began) / max(self.ended - self.began, 1e-6)
        return round(100 * min(1.0, max(0.0, share)), 3)


def _bar(step: Step, y: int, scale: _Scale) -> Bar:
    name, duration = _name(step), took(step.ended - step.began) if step.sort in ("work", "wait") else ""
    title = _cut(" · ".join(part for part in (name, duration, step.says) if part), _WIDEST_TITLE)
    if step.sort in _WRONG:
        lines = wrap(name, _WIDEST_BOLD, max_lines=2, placeholder=" …") or [name]
        return Bar(y + _SECOND * (len(lines) - 1), *_place(step, scale), step.sort, lines, "", "", title)
    label = _cut(name, _WIDEST - len(duration))
    says = _cut(step.says, _WIDEST - len(label) - len(duration) - 4)
    return Bar(y, *_place(step, scale), step.sort, [label], duration, says, title)


_WRONG: dict[Sort, str] = {"missing": "✗ missing: ", "excess": "✗ more than "}


def _name(step: Step) -> str:
    return f"{_WRONG.get(step.sort, '')}{step.name}"


def _place(step: Step | FaultWindow, scale: _Scale) -> tuple[float, float]:
    """Where it begins and how wide it is, in percent; what takes no time is still to be seen."""
    x, end = scale(step.began), scale(step.ended)
    return min(x, 100 - _THINNEST), round(max(end - x, _THINNEST), 3)


def _shades(faults: Sequence[FaultWindow], scale: _Scale) -> Iterator[Shade]:
    for number, fault in enumerate(faults):
        label = _cut(f"⚡ {fault.name}", _WIDEST_BOLD)
        yield Shade(_AXIS + _ROW * number, *_place(fault, scale), label, _reach(fault, scale))


def _reach(fault: FaultWindow, scale: _Scale) -> str:
    """How far a fault reaches beyond the picture."""
    before, after = scale.began - fault.began, fault.ended - scale.ended
    parts = [f"from {took(before)} before"] if before > 0 else []
    parts += [f"until {took(after)} after"] if after > 0 else []
    return " ".join(parts)


def _ticks(shown: Waterfall, scale: _Scale) -> Iterator[tuple[float, str]]:
    """Some round numbers of the time since its beginning."""
    length = shown.ended - shown.began
    rough = length / _TICKS
    size = 10 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    for number in range(int(length / step) + 1):
        yield scale(shown.began + number * step), _round(number * step)


def _round(seconds: float) -> str:
    """As short as a round number is."""
    if not seconds:
        return "0"
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s" if seconds < 60 else took(seconds)


def _cut(text: str, most: int = _WIDEST) -> str:
    """At most so many characters of a text; nothing, where there is room for next to nothing."""
    return text if len(text) <= most else f"{text[: most - 1]}…" if most > 3 else ""
