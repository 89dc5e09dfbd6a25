"""One scenario as a picture: what clients asked, what was broken meanwhile, and where a promise was found broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from harness.checks.verdict import Finding
from harness.evidence.clock import seconds_between
from harness.evidence.records import Fault, Operation, ScenarioRecord

_WIDTH, _LABELS, _ROW = 960, 260, 22
_MOST_ROWS, _MOST_MARKS, _MOST_LETTERS = 40, 2_000, 42
_STYLE = """
text { font: 12px sans-serif; fill: #222 } .axis { stroke: #999 } .fault { fill: #a3a; opacity: .45 }
.ok { fill: #2a8a3e } .refused { fill: #c78500 } .unknown { fill: #888 } .found { stroke: #d22; stroke-width: 2 }
@media (prefers-color-scheme: dark) { svg { background: #1b1b1f } text { fill: #ddd } .axis { stroke: #777 } }
"""


@dataclass(frozen=True, slots=True)
class _Mark:
    """``since`` and ``until``: seconds from the beginning of the scenario."""

    row: str
    kind: str
    since_s: float
    until_s: float
    says: str


def timeline_svg(
    scenario: ScenarioRecord, operations: Sequence[Operation], faults: Sequence[Fault], findings: Sequence[Finding]
) -> bytes:
    """The whole picture; of a scenario from before there was a clock to compare, without its operations."""
    began = scenario.began or scenario.since or min((fault.injected_at for fault in faults), default=scenario.until)
    marks = [*_faults(faults, began), *_operations(scenario, operations, began)]
    found = [at for finding in findings if finding.at and (at := seconds_between(began, finding.at)) >= 0]
    ends = [mark.until_s for mark in marks] + found
    span_s = max([*ends, 0.001])
    rows = list(dict.fromkeys(mark.row for mark in marks))[:_MOST_ROWS]
    return _drawn(rows, [mark for mark in marks if mark.row in rows][:_MOST_MARKS], found, span_s)


def _faults(faults: Sequence[Fault], began: str) -> Iterable[_Mark]:
    for fault in faults:
        since, until = (seconds_between(began, at) for at in (fault.injected_at, fault.healed_at))
        what = f"{fault.kind} on {fault.place}"
        yield _Mark(what, "fault", since, until, f"{what}: {fault.hits} hits; {fault.proof}")


def _operations(scenario: ScenarioRecord, operations: Sequence[Operation], began: str) -> Iterable[_Mark]:
    if scenario.clock is None:
        return
    wall, monotonic_ns = scenario.clock
    zero_s = seconds_between(began, wall) - monotonic_ns / 1e9
    for one in operations:
        since, until = zero_s + one.invoked_ns / 1e9, zero_s + one.returned_ns / 1e9
        yield _Mark(one.action, one.outcome, since, until, f"{one.action} {one.http_status or 'no answer'}")


def _drawn(rows: Sequence[str], marks: Sequence[_Mark], found: Sequence[float], span_s: float) -> bytes:
    height = _ROW * (len(rows) + 2)

    def x(second: float) -> float:
        return round(_LABELS + (_WIDTH - _LABELS - 20) * min(max(second, 0.0), span_s) / span_s, 1)

    svg = ElementTree.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {height}", width=str(_WIDTH), role="img"
    )
    ElementTree.SubElement(svg, "title").text = "what was asked and what was broken, over the seconds of the scenario"
    ElementTree.SubElement(svg, "style").text = _STYLE
    for number, row in enumerate(rows):
        shown = row if len(row) <= _MOST_LETTERS else f"{row[: _MOST_LETTERS - 1]}…"
        ElementTree.SubElement(svg, "text", x="4", y=str(_ROW * number + 15)).text = shown
    for mark in marks:
        y = _ROW * rows.index(mark.row) + 4
        width = str(max(round(x(mark.until_s) - x(mark.since_s), 1), 2))
        place = {"x": str(x(mark.since_s)), "y": str(y), "width": width, "height": "14"}
        bar = ElementTree.SubElement(svg, "rect", place | {"class": mark.kind})
        ElementTree.SubElement(bar, "title").text = mark.says
    _draw_axis(svg, x, span_s, height)
    for at in found[:_MOST_ROWS]:
        place = {"x1": str(x(at)), "x2": str(x(at)), "y1": "0", "y2": str(height - _ROW)}
        ElementTree.SubElement(svg, "line", place | {"class": "found"})
    drawn: bytes = ElementTree.tostring(svg, encoding="utf-8")
    return drawn


def _draw_axis(svg: ElementTree.Element, x: Callable[[float], float], span_s: float, height: int) -> None:
    y = str(height - _ROW)
    place = {"x1": str(_LABELS), "x2": str(_WIDTH - 20), "y1": y, "y2": y}
    ElementTree.SubElement(svg, "line", place | {"class": "axis"})
    for part in range(5):
        second = span_s * part / 4
        place = {"x": str(x(second)), "y": str(height - 5), "text-anchor": "middle"}
        ElementTree.SubElement(svg, "text", place).text = f"{second:.2f} s"
