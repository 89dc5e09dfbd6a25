"""One line chart as SVG, with no library and no script: it can stand alone, or within a page among others like it.

Nothing in it has an id, and all its classes begin with ``lc``. Lines differ in their dashes as well as in colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, _PLOT = 480, 150
_LEFT, _RIGHT, _TITLE, _ROW = 54, 12, 20, 17
_CHARACTER, _KEY = 7.1, 22
_HEADROOM = 1.08
"""So that a line at its highest does not lie on the frame."""
_NOTES = 26
_MOST_BANDS = 6
STYLE = """
.lc{display:block;width:100%;max-width:620px;height:auto;font:12.5px system-ui,sans-serif;
--lc-ink:#1b1f24;--lc-soft:#57606a;--lc-grid:#d8dee4;--lc-back:#fff;--lc-fault:#cf222e;
--lc-0:#0060a8;--lc-1:#b35900;--lc-2:#00734f;--lc-3:#9b3a83;--lc-4:#5b6470;--lc-5:#7a5c00}
@media(prefers-color-scheme:dark){.lc{--lc-ink:#e6edf3;--lc-soft:#9da7b3;--lc-grid:#3a424c;--lc-back:#0d1117;
--lc-fault:#ff7b72;--lc-0:#6cb6ff;--lc-1:#f5a15b;--lc-2:#56d9a8;--lc-3:#e59ad0;--lc-4:#adb5c0;--lc-5:#dfc15a}}
.lc-back{fill:var(--lc-back)}.lc text{fill:var(--lc-ink)}.lc .lc-soft{fill:var(--lc-soft)}
.lc-title{font-weight:600;font-size:14px}.lc-grid{stroke:var(--lc-grid);stroke-width:1}
.lc-warm{fill:var(--lc-grid);opacity:.45}.lc-fault{fill:var(--lc-fault);opacity:.16}
.lc-edge{stroke:var(--lc-fault);stroke-width:1}.lc .lc-number{fill:var(--lc-fault);font-weight:600}
.lc-line{fill:none;stroke-width:1.8;stroke-linejoin:round}.lc-never{stroke-width:2}
.lc-0{stroke:var(--lc-0)}.lc-1{stroke:var(--lc-1);stroke-dasharray:6 3}.lc-2{stroke:var(--lc-2);stroke-dasharray:2 2.5}
.lc-3{stroke:var(--lc-3);stroke-dasharray:9 3 2 3}.lc-4{stroke:var(--lc-4);stroke-dasharray:4 4}
.lc-5{stroke:var(--lc-5);stroke-dasharray:1 3}
"""


@dataclass(frozen=True, slots=True)
class Line:
    """``values``: one for each moment of the chart; None is a gap, infinity what never came (a cross at the top)."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time that is shaded, numbered, and told of below the chart."""

    says: str
    since_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Chart:
    """``written``: a value as text, for the axis and for readers who cannot see it. ``warm_up_s``: shaded as well."""

    title: str
    moments_s: Sequence[float]
    lines: Sequence[Line]
    written: Callable[[float], str]
    bands: Sequence[Band] = ()
    warm_up_s: float = 0.0


def svg(chart: Chart, *, styled: bool = True) -> str:
    """The chart. A page that holds many may give them their ``STYLE`` once, and each of them none."""
    return "".join(_Drawing(chart).parts(styled))


class _Drawing:
    def __init__(self, chart: Chart) -> None:
        self._chart = chart
        self._keys = list(_rows([line.name for line in chart.lines]))
        self._top = _TITLE + _ROW * (self._keys[-1][2] + 1 if self._keys else 0) + 14
        self._bottom = self._top + _PLOT
        finite = [v for line in chart.lines for v in line.values if v is not None and math.isfinite(v)]
        self._ticks = _ticks(_HEADROOM * max(finite, default=0.0))
        self._until_s = max([*chart.moments_s, 1.0])

    def parts(self, styled: bool) -> Iterator[str]:
        chart, notes = self._chart, list(self._notes())
        height = self._bottom + _NOTES + _ROW * len(notes) + 6
        told = escape(f"{chart.title}. {self._told()}")
        yield f'<svg xmlns="http://www.w3.org/2000/svg" class="lc" role="img" viewBox="0 0 {WIDTH} {height}" '
        yield f'aria-label="{told}"><title>{escape(chart.title)}</title><desc>{told}</desc>'
        yield f"<style>{STYLE}</style>" if styled else ""
        yield f'<rect class="lc-back" width="{WIDTH}" height="{height}"/>'
        yield f'<text class="lc-title" x="8" y="16">{escape(chart.title)}</text>'
        yield from self._legend()
        yield from self._axes()
        yield from self._shades()
        for number, line in enumerate(chart.lines):
            yield from self._line(number, line)
        for row, note in enumerate(notes):
            yield _text(8, self._bottom + _NOTES + _ROW * row + 12, note, "lc-soft")
        yield "</svg>"

    def _legend(self) -> Iterator[str]:
        for number, (name, x, row) in enumerate(self._keys):
            y = _TITLE + _ROW * row + 13
            yield f'<path class="lc-line lc-{number % 6}" d="M{x:.0f} {y - 4}h{_KEY - 4}"/>'
            yield _text(x + _KEY, y, name)

    def _axes(self) -> Iterator[str]:
        for tick in self._ticks:
            y = self._y(tick)
            yield f'<path class="lc-grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>'
            yield _text(_LEFT - 5, y + 4, self._chart.written(tick) if tick else "0", "lc-soft", "end")
        for tick in _ticks(self._until_s):
            if tick <= self._until_s:
                anchor = "start" if tick == 0 else "end" if self._x(tick) > WIDTH - 30 else "middle"
                yield _text(self._x(tick), self._bottom + 16, f"{tick:g} s" if tick else "0", "lc-soft", anchor)

    def _shades(self) -> Iterator[str]:
        if self._chart.warm_up_s:
            yield self._shade("lc-warm", 0.0, self._chart.warm_up_s)
        for number, band in enumerate(self._chart.bands[:_MOST_BANDS], start=1):
            yield self._shade("lc-fault", band.since_s, band.until_s)
            since, until = self._x(band.since_s), self._x(band.until_s)
            yield f'<path class="lc-edge" d="M{since:.1f} {self._top}v{_PLOT}M{until:.1f} {self._top}v{_PLOT}"/>'
            yield _text((since + until) / 2, self._top - 3, str(number), "lc-number", "middle")

    def _shade(self, kind: str, since_s: float, until_s: float) -> str:
        since, until = self._x(since_s), self._x(until_s)
        width = max(1.0, until - since)
        return f'<rect class="{kind}" x="{since:.1f}" y="{self._top}" width="{width:.1f}" height="{_PLOT}"/>'

    def _notes(self) -> Iterator[str]:
        bands = self._chart.bands
        for number, band in enumerate(bands[:_MOST_BANDS], start=1):
            yield f"{number}  {band.says}, {band.since_s:.1f} s to {band.until_s:.1f} s"
        if len(bands) > _MOST_BANDS:
            yield f"and {len(bands) - _MOST_BANDS} more"
        if self._chart.warm_up_s:
            yield "grey: the warm-up, which is not judged"

    def _line(self, number: int, line: Line) -> Iterator[str]:
        points, pen = [], "M"
        for at_s, value in zip(self._chart.moments_s, line.values, strict=True):
            if value is None:
                pen = "M"
            elif math.isinf(value):
                cross = f"M{self._x(at_s) - 3:.1f} {self._top}l6 6m0 -6l-6 6"
                yield f'<path class="lc-line lc-never lc-{number % 6}" d="{cross}"/>'
                pen = "M"
            else:
                points.append(f"{pen}{self._x(at_s):.1f} {self._y(value):.1f}")
                pen = "L"
        yield f'<path class="lc-line lc-{number % 6}" d="{"".join(points)}"/>' if points else ""

    def _told(self) -> str:
        """What the lines show, for readers who cannot see them."""
        return " ".join([*(self._summary(line) for line in self._chart.lines), *(f"{n}." for n in self._notes())])

    def _summary(self, line: Line) -> str:
        values = [value for value in line.values if value is not None]
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            return f"{line.name}: {'never came' if values else 'nothing was measured'}."
        never = f", {len(values) - len(finite)} times it never came" if len(values) > len(finite) else ""
        return f"{line.name}: from {self._chart.written(min(finite))} to {self._chart.written(max(finite))}{never}."

    def _x(self, at_s: float) -> float:
        share = min(1.0, max(0.0, at_s / self._until_s))
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        return self._bottom - value / self._ticks[-1] * _PLOT


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    placed = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text{named} x="{x:.1f}" y="{y:.1f}"{placed}>{escape(text)}</text>'


def _rows(names: Sequence[str]) -> Iterator[tuple[str, float, int]]:
    """Each name of the legend, where it stands, and in which row."""
    x, row = 8.0, 0
    for name in names:
        wide = _KEY + _CHARACTER * len(name) + 14
        if x > 8 and x + wide > WIDTH:
            x, row = 8.0, row + 1
        yield name, x, row
        x += wide


def _ticks(most: float) -> list[float]:
    """From 0 to at least so much, in at most five even steps of 1, 2 or 5."""
    if most <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(most / 5))
    step = next(power * times for times in (1, 2, 5, 10) if power * times * 5 >= most)
    return [round(step * number, 10) for number in range(math.ceil(round(most / step, 6)) + 1)]
