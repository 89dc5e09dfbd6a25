"""A run for Allure: one test a scenario, whatever became of it, and pages that Allure really draws of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

import pytest

from harness.checks.run_verdict import RunVerdict
from harness.environment import allure
from harness.evidence.run_directory import RunDirectory, read_json, write_records
from reports.after import write_reports
from reports.allure.attachments import MOST_BYTES
from reports.allure.html import HISTORY, draw_allure_report
from reports.allure.write import RESULTS
from reports.screenshots import WIDTHS, browser
from tests.builders import Story, created_lead, happy_rows, moment, qualified_lead
from tests.conftest import Gauntlet
from tests.runs import CUT, a_told_run, outcome, the_run, write_logs, write_scenario, write_verdict

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Result = dict[str, Any]


def written(run: RunDirectory) -> dict[str, Result]:
    """The results of a run by the names of their scenarios."""
    verdict = read_json(run.verdict_file, RunVerdict) if run.verdict_file.exists() else None
    assert write_reports(run, verdict, environment={}) == []
    files = (run.root / RESULTS).glob("*-result.json")
    results = [json.loads(file.read_bytes()) for file in files]
    assert len({one["historyId"] for one in results}) == len(results)
    return {one["fullName"].rpartition("_")[2]: one for one in results}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return a_told_run(tmp_path)


def labels(result: Result, name: str) -> list[str]:
    return [one["value"] for one in result["labels"] if one["name"] == name]


def attached(run: RunDirectory, result: Result, name: str) -> bytes:
    (source,) = [str(one["source"]) for one in result["attachments"] if one["name"] == name]
    return (run.root / RESULTS / source).read_bytes()


# --- the results ------------------------------------------------------------------------------------------------


def test_each_scenario_is_one_test_also_one_whose_worker_crashed(run: RunDirectory) -> None:
    assert {name: one["status"] for name, one in written(run).items()} == {
        "green": "passed",
        "broken": "failed",
        "unproven": "unknown",
        "mistaken": "broken",
        "crashed": "broken",
        "canary": "passed",
    }


def test_each_red_test_is_of_the_category_of_its_kind(run: RunDirectory) -> None:
    results = written(run)
    categories = json.loads((run.root / RESULTS / "categories.json").read_bytes())
    found = {
        name: [
            category["name"]
            for category in categories
            if one["status"] in category["matchedStatuses"]
            and re.fullmatch(category["messageRegex"], one["statusDetails"]["message"])
        ]
        for name, one in results.items()
        if one["status"] != "passed"
    }
    assert found == {
        "broken": ["broken promise"],
        "unproven": ["not proven"],
        "mistaken": ["scenario error"],
        "crashed": ["environment"],
    }


def test_a_test_is_found_by_the_promises_it_broke_and_by_what_was_broken_in_it(run: RunDirectory) -> None:
    results = written(run)
    broken = results["broken"]
    assert "one_deal_per_lead" in labels(broken, "feature")
    assert "log_contract" not in labels(broken, "feature")
    assert labels(broken, "story") == ["automation→crm"]
    assert labels(broken, "severity") == ["critical"]
    assert {"stage_chain", "log_contract"} < set(labels(results["green"], "feature"))
    assert labels(results["green"], "story") == ["nothing is broken"]
    assert labels(results["crashed"], "severity") == ["blocker"]


def test_steps_tell_what_it_asked_what_it_broke_and_what_each_property_said(run: RunDirectory) -> None:
    *did, rest, judged = written(run)["broken"]["steps"]
    names = [step["name"] for step in did]
    assert "1 × create_lead: 1 × ok 201" in names
    assert "⚡ cut on automation→crm, and healed" in names
    assert rest["name"] == "wait until the system is at rest"
    assert judged["status"] == "failed"
    first = judged["steps"][0]
    assert (first["name"], first["status"]) == ("one_deal_per_lead (saw 1)", "failed")
    assert first["statusDetails"]["message"].startswith("no deal, although")


def test_a_red_test_has_its_proof_attached_drawn_and_logged(run: RunDirectory) -> None:
    broken = written(run)["broken"]
    assert b"gauntlet gate -k" in attached(run, broken, "verdict")
    assert b"cut on automation" in attached(run, broken, "faults")
    trace = next(one for one in broken["attachments"] if one["name"].startswith("trace: no deal"))
    assert "✗" in (run.root / RESULTS / trace["source"]).read_text(encoding="utf-8")
    for picture in [one for one in broken["attachments"] if one["type"] == "image/svg+xml"]:
        ElementTree.parse(run.root / RESULTS / picture["source"])
    lines = attached(run, broken, "log of crm, crm-1.ndjson").splitlines()
    assert {json.loads(line)["service"] for line in lines} == {"crm"}
    offending = attached(run, broken, "lines of the flows in question").splitlines()
    assert len({json.loads(line)["correlation_id"] for line in offending}) <= 2


def test_of_a_long_log_the_end_is_attached(tmp_path: Path) -> None:
    run = the_run(tmp_path)
    story = qualified_lead(created_lead(Story()))
    for number in range(600):
        story.write("crm", "library.message", message=f"{number} {'x' * 300}")
    write_logs(run, story.lines)
    write_verdict(write_scenario(run, "test_a.py::test_broken", until=moment(3000), rows=happy_rows(deals=())))
    log = attached(run, written(run)["broken"], "log of crm, crm-1.ndjson")
    assert len(log) <= MOST_BYTES
    assert json.loads(log.splitlines()[-1])["message"].startswith("599 ")
    assert json.loads(log.splitlines()[0])["service"] == "crm"


def test_a_canary_leads_to_where_its_bug_comes_from(run: RunDirectory) -> None:
    canary = written(run)["canary"]
    assert [link["url"] for link in canary["links"]] == ["https://example.test/why"]
    told = {one["name"]: one["value"] for one in canary["parameters"]}
    assert told == {"seed": "1", "bug A03": "a bug"}


def test_a_scenario_has_the_same_history_in_every_run(tmp_path: Path) -> None:
    one, other = (written(a_told_run(tmp_path / name))["green"] for name in ("one", "other"))
    assert one["historyId"] == other["historyId"]


def test_written_again_there_is_still_one_test_a_scenario(run: RunDirectory) -> None:
    assert written(run).keys() == written(run).keys()
    assert len(list((run.root / RESULTS).glob("*-result.json"))) == 6


def test_what_concerns_no_scenario_is_an_error_of_the_whole_run(run: RunDirectory) -> None:
    run.outcomes_file.unlink()
    assert "crashed" not in written(run)
    (file,) = (run.root / RESULTS).glob("*-globals.json")
    (error,) = json.loads(file.read_bytes())["errors"]
    assert error["message"] == "scenario error: test_a.py::test_crashed"


def test_a_run_on_which_no_stack_came_up_has_results_as_well(tmp_path: Path) -> None:
    run = the_run(tmp_path)
    write_records(run.outcomes_file, [outcome("first", "not set up", "E   EnvironmentFailed: no port is free")])
    message = written(run)["first"]["statusDetails"]["message"]
    assert message == "scenario error: EnvironmentFailed: no port is free"


def test_the_environment_tells_what_ran(run: RunDirectory) -> None:
    written(run)
    text = (run.root / RESULTS / "environment.properties").read_text(encoding="latin-1")
    assert "seed = 1\n" in text
    assert "target = reference.toml\n" in text


# --- the pages --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The pages of a small red run, drawn by Allure itself: make setup has installed it."""
    run = a_told_run(tmp_path_factory.mktemp("allure"))
    written(run)
    draw_allure_report(run)
    return run


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.mark.parametrize(
    ("page", "width", "scheme"),
    [
        ("scenarios", WIDTHS[0], "light"), ("scenarios", WIDTHS[1], "dark"),
        ("promises", WIDTHS[0], "dark"), ("promises", WIDTHS[1], "light"),
    ],
)  # fmt: skip
def test_allures_pages_show_the_run_and_ask_nobody_for_anything(
    drawn: RunDirectory, chromium: Browser, page: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    shown = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints: list[str] = []
    asked: list[str] = []
    shown.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    index = drawn.root / "allure-report" / page / "index.html"
    shown.goto(index.as_uri())
    shown.get_by_text("broken", exact=True).first.click()
    shown.get_by_text("broken promise: no deal, although").first.wait_for()
    shown.get_by_text("⚡ cut on automation→crm, and healed").first.wait_for()
    shown.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_a_second_report_knows_the_first(drawn: RunDirectory) -> None:
    before = (drawn.root.parent / HISTORY).read_text(encoding="utf-8").splitlines()
    draw_allure_report(drawn)
    assert len((drawn.root.parent / HISTORY).read_text(encoding="utf-8").splitlines()) == len(before) + 1


def test_without_allure_the_report_says_how_to_install_it_and_where_the_results_are(
    run: RunDirectory, gauntlet: Gauntlet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, told = gauntlet("report", "--allure", run.root)
    assert code == 4
    assert f"npm install --no-audit --no-fund --prefix {tmp_path}/cache/gauntlet/allure allure@{allure.VERSION}" in told
    assert f"The results are in {run.root / RESULTS}" in told
    monkeypatch.setenv("PATH", str(tmp_path))
    code, told = gauntlet("report", "--allure", run.root)
    assert (code, "Node.js was not found" in told) == (4, True)


def test_results_that_allure_cannot_read_are_an_error_that_says_so(run: RunDirectory) -> None:
    written(run)
    (run.root / "allure-report").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(Exception, match=r"ended with exit code \d+"):
        draw_allure_report(run)


def test_the_fault_of_a_scenario_stands_in_its_picture(run: RunDirectory) -> None:
    picture = attached(run, written(run)["broken"], "timeline").decode()
    assert f"{CUT.kind} on {CUT.place}: {CUT.hits} hits" in picture
