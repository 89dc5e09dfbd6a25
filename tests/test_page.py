"""The page of a run: what it says, in which order, that nothing in it is taken for markup, and that it is bounded."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from harness.checks.run_verdict import RunRecord, RunVerdict, rejudge
from harness.evidence.explored import Discovery, Explored
from harness.evidence.run_directory import ENVIRONMENT_FAILURE, RunDirectory, read_json, write_json
from harness.load.gate_language import parse
from harness.load.gates import Gate
from harness.load.measure import result_of
from reports.charts import charts_of
from reports.grid import Entry, GridFile
from reports.page import content, write_page
from tests.builders import Story, created_lead, moment, qualified_lead, uid
from tests.conftest import Gauntlet
from tests.load_runs import LoadStory
from tests.runs import HOSTILE, green_run, red_run, the_run, write_logs, write_scenario

VOID = {"meta", "link", "input", "img", "br"}


class Page(HTMLParser):
    """What a browser makes of it, as far as these tests ask: elements, their texts, and whether all of them end."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> ends another element: {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def part(self, name: str) -> str:
        """The source of one section."""
        return self.source.partition(f'<section id="{name}"')[2].partition("</section>")[0]


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_page(red_run(tmp_path_factory.mktemp("red"))))


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_page(green_run(tmp_path_factory.mktemp("green"))))


def test_a_red_page_says_first_that_it_is_red_then_what_broke_and_where_and_how_to_do_it_again(red: Page) -> None:
    said = [
        "✗ FAIL", "broken, seen in", "What broke", "critical", "no deal, although a change", "automation→crm",
        "cut on crm→broker", 'gauntlet gate -k "no_deal" --seed 1', "Not proven", "Scenarios", "Properties", "Faults",
        "Contract coverage", "This run",
    ]  # fmt: skip
    at = 0
    for text in said:
        at = red.text.find(text, at)
        assert at >= 0, f"{text!r} is not told, or not after what comes before it"


def test_the_flow_of_a_finding_is_drawn_with_the_step_that_is_missing_and_the_fault_meanwhile(red: Page) -> None:
    drawing = red.part("findings")
    assert drawing.count('<svg class="waterfall" role="img"') == 1
    assert re.search(r'class="missing-text">✗ missing: event.published, confirmed</text>', drawing)
    assert re.search(r'<rect class="missing"[^>]*>', drawing)
    assert "⚡ cut on crm→broker" in drawing
    assert "queue wait: lead.stage.changed" in drawing


def test_what_a_scenario_expected_itself_and_what_is_not_proven_is_told(red: Page) -> None:
    assert "What scenarios themselves expected" in red.text
    assert "no client asked for anything and no message was planted" in red.text


def test_a_green_page_says_so_and_shows_a_flow_from_end_to_end(green: Page) -> None:
    assert "✓ PASS 1 scenario, no promise broken" in green.text
    assert "A flow, from end to end" in green.text
    assert f"flow-{uid('moved')}-title" in green.part("flows")
    assert green.part("findings") == green.part("unproven") == ""


def test_every_scenario_property_and_fault_has_its_row(red: Page) -> None:
    rows = red.part("scenarios").split("<tr data-kind=")[1:]
    assert [row.split('"')[1] for row in rows] == ["fail", "fail", "unknown"]
    assert "a.py::no_deal" in rows[0]
    assert 'href="#cause-1"' in rows[0]
    (broken,) = (row for row in red.part("properties").split("<tr>") if "one_deal_per_lead" in row)
    assert "at most one deal a lead" in broken
    assert 'class="number fail">1<' in broken
    assert "51.0 s" not in red.part("faults")
    assert "51 s" in red.part("faults")


def test_all_elements_end_and_every_link_leads_to_a_place_on_the_page(red: Page, green: Page) -> None:
    for page in (red, green):
        assert page.open == []
        ids = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
        assert len(set(ids)) == len(ids)
        links = {str(link["href"]) for link in page.of("a")}
        assert {link[1:] for link in links} <= set(ids)
        assert all(link.startswith("#") for link in links)


# --- what others wrote ------------------------------------------------------------------------------------------


def test_what_others_wrote_is_text_and_nothing_else(red: Page) -> None:
    assert HOSTILE[:-1] in red.text, "it is told, and as it stands"
    assert len(red.of("script")) == 1
    assert red.of("img") == []
    assert not any(name.startswith("on") for _, attributes in red.tags for name in attributes)


def test_characters_that_nobody_would_see_are_written_out(red: Page) -> None:
    assert "\u202e" not in red.source
    assert "\\u202e" in red.source


def test_the_page_permits_its_own_style_and_script_alone(red: Page) -> None:
    policy = next(str(m["content"]) for m in red.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", red.source, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not any("style" in attributes for _, attributes in red.tags), "the policy forbids it"
    assert "unsafe" not in policy


def test_the_page_needs_nothing_from_elsewhere(red: Page, green: Page) -> None:
    for page in (red, green):
        named = [str(value) for _, attributes in page.tags for name, value in attributes.items()
                 if name in ("src", "href", "xlink:href", "action", "data")]  # fmt: skip
        assert all(value.startswith(("#", "data:")) for value in named)
        assert re.findall(r"@import|url\((?!#)", page.source) == []


# --- what a run may have besides --------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return green_run(tmp_path)


def test_a_matrix_a_sweep_and_an_exploration_are_shown_where_they_are(run: RunDirectory) -> None:
    entries = [
        Entry(name="cut on a→b", row="a→b", column="cut", state="pass"),
        Entry(name="slow on a→b", row="a→b", column="slow", state="fail", why="broken: stage_chain"),
        Entry(name="slow on c→d", row="c→d", column="slow", state="not applicable", why="no such thing"),
    ]
    for name, title in (("matrix", "matrix"), ("crash-sweep", "crash sweep")):
        write_json(run.root / f"{name}.json", GridFile(title=title, seed=1, took_s=2.0, entries=entries))
    found = Discovery(
        name="schedule-3", file="findings/3.toml", schedule="cut at 0.2 s", properties=("stage_chain",), says="chain",
        red=3, of=5, faults=1, steps=2, tried=9, minimal=True,
    )  # fmt: skip
    write_json(run.root / "explore.json", Explored(seed=4, found=(found,)))
    page = Page(write_page(run))
    assert "Matrix ✓ 1 pass ✗ 1 fail – 1 not applicable" in page.text
    assert "✗ slow on a→b: broken: stage_chain" in page.text
    assert "1: no such thing" in page.text
    assert "Crash sweep" in page.text
    assert "gauntlet replay findings/3.toml" in page.text


def test_the_gates_of_a_load_run_its_charts_and_its_figures_are_shown(run: RunDirectory, tmp_path: Path) -> None:
    asked = [Gate(text, parse(text)) for text in ("http.p99 < 250ms", "completeness >= 100%")]
    result = result_of(LoadStory(http_ms=lambda at_s: 900).measured(tmp_path / "load"), asked)
    write_json(run.root / "load" / "load.json", result)
    page = Page(write_page(run))
    gate = next(gate for gate in result.gates if gate.status == "fail")
    assert "✗ FAIL 1 of 2 load gates not met" in page.text
    assert page.text.count(gate.says) == 2, "in the table, and among the figures"
    assert page.part("load").count('<svg xmlns="http://www.w3.org/2000/svg" class="lc"') == len(charts_of(result)) > 2
    assert ".lc-line" in page.source
    assert ".lc-line" not in Page(write_page(red_run(tmp_path / "red"))).source


def test_a_run_that_has_no_verdict_yet_is_put_together_and_one_that_did_not_come_up_says_why(tmp_path: Path) -> None:
    run = green_run(tmp_path)
    run.verdict_file.unlink()
    assert "✓ PASS" in Page(write_page(run)).text
    down = the_run(tmp_path / "down")
    (down.root / ENVIRONMENT_FAILURE).write_text("no RabbitMQ <here>", encoding="utf-8")
    page = Page(write_page(down))
    assert "? UNKNOWN the environment did not come up" in page.text
    assert "no RabbitMQ <here>" in page.text


def test_what_was_never_put_to_the_test_and_what_failed_without_evidence_is_not_called_kept(run: RunDirectory) -> None:
    verdict = read_json(run.verdict_file, RunVerdict)
    odd = msgspec.structs.replace(verdict, verdict="fail", failures=("canary A03 lives",), idle=("one_winner",))
    text = Page(write_page(run, verdict=odd)).text
    assert "1 scenario, none of them red, and yet" in text
    assert "canary A03 lives" in text
    assert "never put to the test: one_winner" in text
    assert "no promise broken" not in text


def test_only_a_whole_gate_says_that_every_promise_was_kept(run: RunDirectory) -> None:
    record = read_json(run.run_file, RunRecord)
    write_json(run.run_file, msgspec.structs.replace(record, whole=True))
    assert "1 scenario, every promise kept" in Page(write_page(run)).text


# --- how large it may become ------------------------------------------------------------------------------------


def test_only_so_many_causes_pictures_scenarios_and_doubts_are_shown_and_the_rest_is_counted(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in (("MOST_CAUSES", 2), ("MOST_SCENARIOS", 3), ("MOST_TREE", 5)):
        monkeypatch.setattr(content, name, most)
    red = read_json(red_run(run.root.parent / "red").verdict_file, RunVerdict)
    many = msgspec.structs.replace(red, causes=red.causes[:1] * 7, scenarios=red.scenarios * 4)
    page = Page(write_page(run, verdict=many))
    assert page.source.count('<article id="cause-') == 2
    assert "… and 5 more causes" in page.text
    assert page.part("scenarios").count("<tr data-kind=") == 3
    assert "… and 9 more scenarios" in page.text


def test_a_flow_is_drawn_once_and_no_more_than_so_many_are(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MOST_PICTURES", 0)
    red = red_run(run.root.parent / "red")
    assert 'role="img"' not in Page(write_page(red)).part("findings")
    monkeypatch.undo()
    verdict = read_json(red.verdict_file, RunVerdict)
    twice = msgspec.structs.replace(verdict, causes=verdict.causes * 2)
    assert Page(write_page(red, verdict=twice)).source.count('<svg class="waterfall" role="img"') == 1


def test_however_long_a_text_is_that_somebody_sent_the_page_stays_small(tmp_path: Path) -> None:
    lines = qualified_lead(created_lead(Story())).without("event.received", "event.settled", event="deal")
    long = [msgspec.structs.replace(line, route="x" * 100_000) if hasattr(line, "route") else line for line in lines]
    run = the_run(tmp_path)
    write_logs(run, long)
    write_scenario(run, error="y" * 100_000)
    rejudge(run)
    assert write_page(run).stat().st_size < 100_000


# --- through the door -------------------------------------------------------------------------------------------


def test_report_writes_the_page_and_draws_the_flow_that_is_chosen(run: RunDirectory, gauntlet: Gauntlet) -> None:
    code, told = gauntlet("report", run.root, "--flow", uid("created")[:8])
    assert (code, told.strip()) == (0, str(run.root / "report.html"))
    page = Page(run.root / "report.html")
    assert f"flow-{uid('created')}-title" in page.part("flows")


def test_a_flow_that_is_drawn_with_its_finding_is_not_drawn_again(tmp_path: Path) -> None:
    chosen = [uid("moved"), uid("created"), uid("created")[:9]]
    page = Page(write_page(red_run(tmp_path), flows=chosen))
    assert page.source.count(f'id="flow-{uid("moved")}-title"') == 1
    assert page.part("flows").count(f'id="flow-{uid("created")}-title"') == 1


def test_report_of_what_is_no_run_and_of_a_flow_that_there_is_not_says_so(
    run: RunDirectory, gauntlet: Gauntlet, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    code, told = gauntlet("report", tmp_path / "empty")
    assert (code, "run.json" in told) == (3, True)
    code, told = gauntlet("report", run.root, "--flow", "zz")
    assert (code, "no flow" in told) == (3, True)


def test_show_draws_a_flow_to_stdout_or_into_a_file(run: RunDirectory, gauntlet: Gauntlet, tmp_path: Path) -> None:
    code, told = gauntlet("show", run.root, uid("moved"), "--svg")
    assert (code, told.startswith("<svg "), "work</text>" in told) == (0, True, True)
    code, nothing = gauntlet("show", run.root, uid("moved"), "--svg", tmp_path / "flow.svg")
    assert (code, nothing) == (0, "")
    assert (tmp_path / "flow.svg").read_text(encoding="utf-8") == told


def test_a_drawing_of_its_own_has_its_own_style_and_is_whole(tmp_path: Path, gauntlet: Gauntlet) -> None:
    from xml.etree import ElementTree

    run = the_run(tmp_path)
    write_logs(run, qualified_lead(created_lead(Story())).lines)
    write_scenario(run, f"a{HOSTILE}", until=moment(98))
    rejudge(run)
    _, told = gauntlet("show", run.root, uid("moved"), "--svg")
    root = ElementTree.fromstring(told)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert ".waterfall" in (root.findtext("{http://www.w3.org/2000/svg}style") or "")


def test_a_demonstration_overwrites_nothing(gauntlet: Gauntlet, tmp_path: Path) -> None:
    code, told = gauntlet("demo-reports", "--run-dir", tmp_path)
    assert (code, "is there already" in told) == (3, True)
