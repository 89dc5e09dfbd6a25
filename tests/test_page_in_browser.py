"""The page of a red run, read as people read it: at a desk and on a telephone, by keyboard, in the dark, on paper."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from harness.environment import chromium
from harness.environment.failures import EnvironmentFailed
from harness.evidence.run_directory import write_json
from harness.load.measure import result_of
from reports.page import write_page
from reports.screenshots import browser, screenshots
from tests.load_runs import LoadStory
from tests.runs import green_run, red_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESK, TELEPHONE = {"width": 1400, "height": 900}, {"width": 360, "height": 740}
READERS = [
    pytest.param(size, scheme, id=f"{size['width']} px, {scheme}")
    for size in (DESK, TELEPHONE)
    for scheme in ("light", "dark")
]


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(red_run(tmp_path_factory.mktemp("red")))


class Reader:
    """Opens pages, and notes what the browser complains of."""

    def __init__(self, chrome: Browser) -> None:
        self._chrome, self.complaints = chrome, list[str]()
        self._opened: list[Page] = []

    def open(self, file: Path, size: dict[str, int], **how: Any) -> Page:
        page = self._chrome.new_page(viewport=size, **how)  # type: ignore[arg-type]
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(file.resolve().as_uri())
        self._opened.append(page)
        return page

    def close(self) -> None:
        for page in self._opened:
            page.close()


@pytest.fixture
def reader(chrome: Browser) -> Iterator[Reader]:
    """Whatever a test does, the browser has nothing to complain of."""
    reading = Reader(chrome)
    yield reading
    reading.close()
    assert reading.complaints == []


@pytest.mark.parametrize(("size", "scheme"), READERS)
def test_findings_are_filtered_and_one_is_followed_to_its_waterfall(
    red: Path, reader: Reader, size: dict[str, int], scheme: Literal["light", "dark"]
) -> None:
    page = reader.open(red, size, color_scheme=scheme)
    findings = page.locator("#causes > tbody > tr:visible")
    assert findings.count() == 2
    page.locator(".filter[data-for=causes] input").fill("TRACE_complete no deal")
    assert findings.count() == 1
    assert page.locator(".filter[data-for=causes] output").inner_text() == "1 of 2"
    assert not page.locator("#cause-2").is_visible()
    findings.get_by_role("link").click()
    picture = page.locator("#cause-1 svg.waterfall")
    assert picture.is_visible()
    missing = page.locator("#cause-1 .bars rect.missing:visible")
    assert missing.count() == 1
    drawn, frame = missing.bounding_box(), picture.bounding_box()
    assert drawn
    assert frame
    assert frame["x"] <= drawn["x"] <= drawn["x"] + drawn["width"] <= frame["x"] + frame["width"] + 2


@pytest.mark.parametrize(("size", "scheme"), [READERS[0], READERS[-1]])
def test_nobody_is_shut_out(red: Path, reader: Reader, size: dict[str, int], scheme: Literal["light", "dark"]) -> None:
    """axe-core (https://github.com/dequelabs/axe-core) finds nothing serious, with everything unfolded."""
    page = reader.open(red, size, color_scheme=scheme, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.evaluate(_axe())
    found = page.evaluate("axe.run({resultTypes: ['violations']})")
    grave = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in grave] == []
    assert len(found["passes"]) > 15, "it has looked at something"


def _axe() -> str:
    found = importlib.util.find_spec("axe_playwright_python")
    assert found is not None
    assert found.origin is not None
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [DESK, TELEPHONE], ids=["desk", "telephone"])
def test_nothing_has_to_be_pushed_sideways(red: Path, reader: Reader, size: dict[str, int]) -> None:
    page = reader.open(red, size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    wide = page.evaluate("""[...document.querySelectorAll('main *')]
        .filter((e) => !e.closest('pre, .scroll, svg') && e.getBoundingClientRect().right > innerWidth + 1)
        .map((e) => e.outerHTML.slice(0, 120))""")
    assert wide == []


def test_labels_and_bars_stand_side_by_side_at_a_desk_and_one_above_the_other_on_a_telephone(
    red: Path, reader: Reader
) -> None:
    for size, beside in ((DESK, True), (TELEPHONE, False)):
        page = reader.open(red, size)
        bar = page.locator("#cause-1 rect.work:visible").first.bounding_box()
        text = page.locator("#cause-1 svg text", has_text="POST").first.bounding_box()
        assert bar
        assert text
        assert (bar["x"] > text["x"] + 300) is beside
        assert (bar["y"] >= text["y"] + text["height"] - 4) is not beside


def test_dark_is_dark_and_light_is_light(red: Path, reader: Reader) -> None:
    for scheme, dark in (("light", False), ("dark", True)):
        page = reader.open(red, DESK, color_scheme=scheme)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (sum(ground) < 200) is dark


def test_a_table_is_sorted_by_its_heads_with_the_keyboard_alone(red: Path, reader: Reader) -> None:
    page = reader.open(red, DESK)
    head = page.locator("#scenario-table thead button", has_text="Scenario")
    names = page.locator("#scenario-table > tbody > tr > td:nth-child(2)")
    head.focus()
    page.keyboard.press("Enter")
    upwards = names.all_inner_texts()
    assert page.locator("#scenario-table th[aria-sort]").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert names.all_inner_texts() == upwards[::-1] != upwards


def test_what_has_the_focus_is_seen_to_have_it(red: Path, reader: Reader) -> None:
    page = reader.open(red, DESK)
    page.keyboard.press("Tab")
    first = page.evaluate("[document.activeElement.className, getComputedStyle(document.activeElement).outlineStyle]")
    assert first == ["skip", "solid"]
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_without_script_everything_is_there_to_read(red: Path, reader: Reader) -> None:
    page = reader.open(red, TELEPHONE, java_script_enabled=False)
    assert page.locator("#causes > tbody > tr:visible").count() == 2
    assert page.locator("#cause-1 svg.waterfall").is_visible()
    assert page.locator(".filter:visible").count() == 0
    page.locator("#cause-1 summary").first.click()
    assert page.locator("#cause-1 details pre").first.is_visible()


def test_what_others_wrote_is_not_run(red: Path, reader: Reader) -> None:
    page = reader.open(red, DESK)
    assert page.title().startswith("FAIL")
    assert page.locator("main img").count() == 0


def test_on_paper_it_is_black_on_white_and_without_controls(red: Path, reader: Reader) -> None:
    page = reader.open(red, DESK, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("nav:visible, .filter:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.querySelector('pre')).whiteSpaceCollapse") == "preserve"
    assert page.locator("#cause-1 .bars rect.missing:visible").count() == 1


def test_a_green_page_of_a_load_run_is_drawn_without_complaints_too(tmp_path: Path, reader: Reader) -> None:
    run = green_run(tmp_path)
    write_json(run.root / "load" / "load.json", result_of(LoadStory().measured(tmp_path / "load"), []))
    page = reader.open(write_page(run), TELEPHONE)
    assert page.locator("#flows svg.waterfall").is_visible()
    assert page.locator("#load svg.lc").first.is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.lc-line')).fill") == "none", (
        "its style is permitted"
    )


# --- the browser itself -----------------------------------------------------------------------------------------


def test_pictures_are_taken_at_a_desk_and_on_a_telephone_and_are_small(
    chrome: Browser, red: Path, tmp_path: Path
) -> None:
    files = screenshots(chrome, red, tmp_path / "images", "report")
    assert [file.name for file in files] == ["report-1400.png", "report-360.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size <= 200_000 for file in files)


def test_a_machine_without_a_browser_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chromium.VARIABLE, "/nowhere")
    with (
        pytest.raises(EnvironmentFailed, match=r"Chromium was not found; .*apt-get install chromium"),
        browser(),
    ):
        pass
