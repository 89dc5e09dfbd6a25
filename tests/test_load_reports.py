"""What a load run is shown as: charts, the end of it on one screen, JUnit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from harness.load.gate_language import parse
from harness.load.gates import Gate
from harness.load.measure import result_of
from harness.load.records import Usage
from harness.load.result import LoadResult
from harness.load.series import FaultWindow
from reports.charts import charts_of
from reports.line_chart import STYLE, Band, Chart, Line, svg
from reports.load_junit import junit_xml
from reports.load_terminal import load_text
from tests.builders import uid
from tests.load_runs import LoadStory, fault, step

SVG = "{http://www.w3.org/2000/svg}"


def gates(*texts: str) -> list[Gate]:
    return [Gate(text, parse(text)) for text in texts]


def usage(at_s: float) -> dict[str, Usage]:
    return {name: Usage(cpu_s=share * at_s, rss_bytes=60_000_000) for name, share in {"crm": 0.3, "<b>": 0.97}.items()}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> LoadResult:
    story = LoadStory(
        outbox_ms=lambda at_s: 400 if 8 <= at_s < 13 else 20, faults=[fault(8, 13)], usage=usage,
        deals=lambda number: {5: -1, 7: 2}.get(number, 1), flow=lambda number: number % 4 > 0,
    )  # fmt: skip
    asked = gates("e2e.p95 < 250ms sustained 3s", "http.p99 < 250ms", "http.p999 < 5ms", "completeness >= 100%")
    return result_of(story.measured(tmp_path_factory.mktemp("load")), asked)


# --- one chart --------------------------------------------------------------------------------------------------


def chart(*lines: Line, **parts: Any) -> ElementTree.Element:
    moments = [float(number) for number in range(len(lines[0].values))]
    return ElementTree.fromstring(svg(Chart("Things & <more>", moments, lines, lambda value: f"{value:g}", **parts)))


def paths(drawn: ElementTree.Element, kind: str) -> list[str]:
    return [str(path.get("d")) for path in drawn.iter(f"{SVG}path") if kind in str(path.get("class")).split()]


def test_a_line_goes_through_its_values_from_the_bottom_to_the_top_and_leaves_gaps() -> None:
    drawn = chart(Line("a", [0.0, 9.0, None, 9.0, 0.0]))
    _key, line = paths(drawn, "lc-0")
    first, second = (piece.split("L") for piece in line[1:].split("M"))
    (x0, y0), (x1, y1) = ([float(number) for number in point.split()] for point in first)
    assert x0 < x1
    assert y1 < y0  # y counts downwards
    assert len(second) == 2
    assert float(second[1].split()[1]) == y0


def test_what_never_came_is_a_cross_and_is_told() -> None:
    drawn = chart(Line("a", [1.0, float("inf"), 1.0]))
    assert len(paths(drawn, "lc-never")) == 1
    assert "1 times it never came" in str(drawn.get("aria-label"))


def test_a_chart_is_told_to_those_who_cannot_see_it() -> None:
    drawn = chart(Line("a", [1.0, 4.0]), Line("b", [None, None]), bands=[Band("cut on a→b", 0.2, 0.8)])
    told = "Things & <more>. a: from 1 to 4. b: nothing was measured. 1  cut on a→b, 0.2 s to 0.8 s."
    assert drawn.get("role") == "img"
    assert drawn.get("aria-label") == drawn.findtext(f"{SVG}desc") == told
    assert drawn.findtext(f"{SVG}title") == "Things & <more>"


def test_what_was_broken_is_shaded_numbered_and_named_and_many_of_them_are_counted() -> None:
    bands = [Band(f"fault {number}", number, number + 0.5) for number in range(9)]
    drawn = chart(Line("a", [1.0] * 10), bands=bands, warm_up_s=2)
    shades = [rect.get("class") for rect in drawn.iter(f"{SVG}rect")]
    assert (shades.count("lc-fault"), shades.count("lc-warm")) == (6, 1)
    texts = [text.text or "" for text in drawn.iter(f"{SVG}text")]
    assert "1  fault 0, 0.0 s to 0.5 s" in texts
    assert "and 3 more" in texts
    assert "grey: the warm-up, which is not judged" in texts


def test_nothing_of_a_chart_lies_beside_it() -> None:
    names = ["a name that is rather long", "another long name of a process", "a third one", "b"]
    drawn = chart(*(Line(name, [0.0, 123_456.0]) for name in names), bands=[Band("x", -5, 99)], warm_up_s=50)
    width, height = (float(number) for number in str(drawn.get("viewBox")).split()[2:])
    for shape in (*drawn.iter(f"{SVG}rect"), *drawn.iter(f"{SVG}text")):
        assert 0 <= float(shape.get("x", 0)) <= width
        assert 0 <= float(shape.get("y", 0)) <= height
    legend = [text for text in drawn.iter(f"{SVG}text") if text.text in names]
    assert len({text.get("y") for text in legend}) > 1


@pytest.mark.parametrize("values", [[None], [0.0], [5.0], [], [float("inf")]])
def test_there_is_a_chart_of_little_or_nothing(values: list[float | None]) -> None:
    assert chart(Line("a", values)).tag == f"{SVG}svg"


# --- the charts of a run ----------------------------------------------------------------------------------------


def test_a_run_has_its_charts_each_whole_in_itself_and_safe_beside_the_others(result: LoadResult) -> None:
    drawn = charts_of(result)
    assert list(drawn) == ["throughput", "http", "e2e", "depth", "outbox", "cpu", "memory"]
    for text in drawn.values():
        tree = ElementTree.fromstring(text)
        assert not [one for one in tree.iter() if one.get("id") or one.tag == f"{SVG}script"]
        assert all(kind.startswith("lc") for one in tree.iter() for kind in str(one.get("class") or "lc").split())
        assert tree.findtext(f"{SVG}style") == STYLE
        assert "latency on pipeline→broker, 8.0 s to 13.0 s" in text
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_a_deal_that_never_came_is_a_cross_in_the_chart_of_its_latencies(result: LoadResult) -> None:
    assert "lc-never" in charts_of(result)["e2e"].partition("</style>")[2]
    assert "lc-never" not in charts_of(result)["http"].partition("</style>")[2]


def test_a_page_may_give_all_charts_their_style_once(result: LoadResult) -> None:
    assert not any("<style>" in text for text in charts_of(result, styled=False).values())
    assert "prefers-color-scheme:dark" in STYLE


def test_a_chart_of_what_nobody_saw_is_left_out(result: LoadResult) -> None:
    nothing: dict[str, Any] = {"cpu_cores": {}, "rss_mb": {}, "depth": None}
    blind = replace(result, series=tuple(replace(window, **nothing) for window in result.series))
    assert set(charts_of(result)) - set(charts_of(blind)) == {"depth", "cpu", "memory"}


def test_processes_look_the_same_in_all_charts_and_their_names_are_text(result: LoadResult) -> None:
    drawn = charts_of(result)
    names = [
        [text.text for text in ElementTree.fromstring(drawn[name]).iter(f"{SVG}text") if text.text in ("crm", "<b>")]
        for name in ("cpu", "memory")
    ]
    assert names == [["<b>", "crm"]] * 2


# --- on one screen ----------------------------------------------------------------------------------------------


def test_the_end_of_a_run_tells_what_broke_by_how_much_since_when_and_during_what(result: LoadResult) -> None:
    text = load_text(result)
    for line in (
        "✗ e2e.p95 < 250ms sustained 3s",
        "    e2e.p95 was 445 ms, 195 ms (78%) over 250 ms, for 5 s from second 8 on (2026-01-01T00:00:18.000000Z), "
        "while latency on pipeline→broker",
        "✓ http.p99 < 250ms",
        "? http.p999 < 5ms",
        "    http.p999 cannot be told: 360 samples, needed at least 1,000",
        "  deals too many: 1",
        f"  never came to its end: {uid('flow 5')} (gauntlet show RUN {uid('flow 5')})",
        "  broken by us: latency on pipeline→broker, second 8.0 to 13.0",
        "saturated: CPU of <b>: it used 0.97 cores; what runs in one thread cannot use more than 1",
        "load: FAIL   1 pass, 2 fail, 1 inconclusive",
    ):
        assert line in text.splitlines()
    assert len(text.splitlines()) < 40


def test_that_others_filled_the_machine_is_not_told_as_broken_by_us(result: LoadResult) -> None:
    filled = FaultWindow(kind="overload", place="machine", since_s=3, until_s=9, hits=0)
    lines = load_text(replace(result, faults=(*result.faults, filled))).splitlines()
    assert [line for line in lines if "by us" in line] == [
        "  broken by us: latency on pipeline→broker, second 8.0 to 13.0",
        "  not by us: others filled this machine, second 3.0 to 9.0",
    ]


def test_the_table_tells_each_endpoint_and_each_wait(result: LoadResult) -> None:
    rows = {line[:30].strip(): line[30:].split() for line in load_text(result).splitlines()}
    assert rows["GET /leads/{lead_id}"][:3] == ["90", "0", "10"]
    assert rows["PATCH /leads/{lead_id}/stage"][:2] == ["270", "0"]
    assert rows["all requests"][:2] == ["360", "0"]
    assert rows["PATCH → deal"][:3] == ["300", "1", "65"]
    assert rows["waiting in the outbox"][:4] == ["20", "ms", "400", "ms"]


def test_a_run_that_is_green_does_not_speak_of_saturation(result: LoadResult) -> None:
    assert "saturated" not in load_text(replace(result, verdict="pass"))


def test_a_run_up_to_its_limit_ends_with_the_knee(tmp_path: Path) -> None:
    rates = (20, 40, 60, 80)
    story = LoadStory(
        steps=tuple(step(10, rate) for rate in rates), warm_up_s=0, usage=usage,
        queue_ms=lambda at_s: 0 if at_s < 20 else 400 * (at_s - 20),
    )  # fmt: skip
    text = load_text(result_of(story.measured(tmp_path), gates("completeness >= 100%")))
    assert "the knee: 40 requests a second; of 60 flows a second" in text
    assert "first to give way: CPU of <b>, from second 10 on, at 40/s" in text
    marks = [line[:3] for line in text.splitlines() if re.match(r"[✓✗] \d", line)]
    assert marks == ["✓ 1", "✓ 2", "✗ 3", "✗ 4"]


# --- JUnit ------------------------------------------------------------------------------------------------------


def test_junit_has_a_case_for_each_gate_with_what_it_says(result: LoadResult) -> None:
    suite = ElementTree.fromstring(junit_xml(result).encode())
    assert (suite.tag, suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("testsuite", "4", "2", "1")
    told = {str(case.get("name")): case[0] for case in suite}
    assert {name: child.tag for name, child in told.items()} == {
        "e2e.p95 < 250ms sustained 3s": "failure", "http.p99 < 250ms": "system-out", "http.p999 < 5ms": "error",
        "completeness >= 100%": "failure",
    }  # fmt: skip
    assert "78%" in str(told["e2e.p95 < 250ms sustained 3s"].get("message"))
    assert {case.get("classname") for case in suite} == {"load.average"}
