"""What a CI system reads of a run: JUnit's XML, a summary in Markdown with a picture, GitHub's annotations."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
import yaml

from harness.checks.run_verdict import RunVerdict
from harness.checks.verdict import Finding
from harness.evidence.outcomes import read_outcomes
from harness.evidence.run_directory import ENVIRONMENT_FAILURE, RunDirectory, read_json, write_records
from harness.target import PROJECT_ROOT
from reports.after import JUNIT, SUMMARY, write_reports
from reports.ci.annotations import MOST, error_annotations
from reports.ci.mermaid import MOST_ARROWS, sequence_diagram
from reports.ci.summary import escaped, fenced
from reports.results import ScenarioResult, results_of
from tests.builders import Story, judged, moved_lead, qualified_lead, received, settled
from tests.runs import a_told_run, outcome, the_run

KINDS = {
    "test_green": "pass",
    "test_broken": "broken promise",
    "test_unproven": "not proven",
    "test_mistaken": "scenario error",
    "test_crashed": "environment",
    "test_canary": "pass",
}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return a_told_run(tmp_path)


def verdict_of(run: RunDirectory) -> RunVerdict:
    return read_json(run.verdict_file, RunVerdict)


def results(run: RunDirectory) -> dict[str, ScenarioResult]:
    return {result.name.rpartition("::")[2]: result for result in results_of(run, verdict_of(run))}


# --- what is known of each scenario -----------------------------------------------------------------------------


def test_each_scenario_is_of_one_kind_and_says_why_in_one_line(run: RunDirectory) -> None:
    found = results(run)
    assert {name: result.kind for name, result in found.items()} == KINDS
    assert found["test_broken"].headline.startswith("no deal, although")
    assert found["test_unproven"].headline == "? log_contract: unknown: line 4 was lost"
    assert found["test_mistaken"].headline == "the scenario itself: AssertionError: no"
    assert found["test_crashed"].headline == "worker 'gw0' crashed"


def test_a_run_of_before_outcomes_were_written_down_is_told_of_all_the_same(run: RunDirectory) -> None:
    run.outcomes_file.unlink()
    found = results(run)
    assert {name: result.kind for name, result in found.items()} == {
        "test_green": "pass",
        "test_broken": "broken promise",
        "test_unproven": "not proven",
        "test_mistaken": "scenario error",
        "test_crashed": "scenario error",
    }
    assert found["test_green"].file == "scenarios/test_a.py"


def test_a_stack_that_does_not_come_up_is_an_error_of_the_environment(tmp_path: Path) -> None:
    run = the_run(tmp_path)
    write_records(run.outcomes_file, [outcome("first", "not set up", "E   EnvironmentFailed: no port is free")])
    assert [result.kind for result in results_of(run, None)] == ["scenario error"]
    (run.root / ENVIRONMENT_FAILURE).write_text("no port is free", encoding="utf-8")
    (result,) = results_of(run, None)
    assert result.kind == "environment"
    assert result.headline == "EnvironmentFailed: no port is free"


def test_properties_that_a_whole_gate_never_put_to_the_test_are_a_result_of_their_own(run: RunDirectory) -> None:
    verdict = msgspec.structs.replace(verdict_of(run), idle=("one_winner",))
    (last,) = results_of(run, verdict)[len(KINDS) :]
    assert last.kind == "not proven"
    assert "one_winner" in last.text


# --- junit.xml --------------------------------------------------------------------------------------------------


def test_junit_has_one_case_a_scenario_and_what_broke_as_its_text(run: RunDirectory) -> None:
    assert write_reports(run, verdict_of(run), environment={}) == []
    suite = ElementTree.parse(run.root / JUNIT).getroot()[0]
    cases = {case.get("name"): case for case in suite}
    assert list(cases) == list(KINDS)
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("6", "2", "2")
    broken = cases["test_broken"]
    assert (broken.get("classname"), broken.get("file"), broken.get("line")) == (
        "scenarios.test_a", "scenarios/test_a.py", "7",
    )  # fmt: skip
    (failure,) = broken
    assert failure.tag == "failure"
    assert "gauntlet gate -k" in (failure.text or "")
    assert [child.tag for child in cases["test_unproven"]] == ["error"]
    assert [child.tag for child in cases["test_green"]] == []


def test_what_no_xml_may_hold_is_replaced(tmp_path: Path) -> None:
    run = the_run(tmp_path)
    write_records(run.outcomes_file, [outcome("odd", "failed", "E   a \x00 and \x1b[31m & <b>")])
    write_reports(run, None, environment={})
    (case,) = ElementTree.parse(run.root / JUNIT).getroot()[0]
    assert case[0].get("message") == "a � and �[31m & <b>"


# --- summary.md -------------------------------------------------------------------------------------------------


def test_the_summary_tells_the_verdict_the_causes_the_worst_flow_and_what_is_not_green(run: RunDirectory) -> None:
    write_reports(run, verdict_of(run), environment={})
    text = (run.root / SUMMARY).read_text(encoding="utf-8")
    assert text.startswith("## ❌ FAIL   gauntlet: 6 scenarios (2 pass,")
    assert "### 1. CRITICAL: no deal, although" in text
    assert '- again: `gauntlet gate -k "test_broken" --seed 1`' in text
    assert "```mermaid\nsequenceDiagram\n" in text
    assert "| test\\_a.py::test\\_crashed | environment | worker 'gw0' crashed |" in text
    assert "test\\_green" not in text


def test_a_job_of_github_gets_the_summary_and_an_annotation_at_each_scenario_that_is_not_green(
    run: RunDirectory, tmp_path: Path
) -> None:
    page = tmp_path / "step.md"
    page.write_text("before\n", encoding="utf-8")
    said = write_reports(run, verdict_of(run), environment={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(page)})
    assert page.read_text(encoding="utf-8").startswith("before\n## ❌ FAIL")
    assert len(said) == 4
    assert said[0].startswith(
        "::error file=scenarios/test_a.py,line=7,title=broken promise%3A test_broken::FAIL  test_a.py::test_broken%0A"
    )
    assert all("\n" not in line for line in said)


def test_annotations_are_as_many_as_github_shows_and_no_text_ends_one(run: RunDirectory) -> None:
    broken = results(run)["test_broken"]
    many = list(error_annotations([broken] * (MOST + 5)))
    assert len(many) == MOST
    assert all(line.count("::") >= 2 and "%0A" in line for line in many)


def test_what_cannot_be_written_is_said_and_takes_nothing_else_with_it(run: RunDirectory) -> None:
    (run.root / JUNIT).mkdir()
    said = write_reports(run, verdict_of(run), environment={})
    assert len(said) == 1
    assert said[0].startswith("junit.xml could not be written: IsADirectoryError")
    assert (run.root / SUMMARY).exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        ("<script>", "&lt;script>"),
        ("two\nlines", "two lines"),
        ("`code` *bold* [link](x)", r"\`code\` \*bold\* \[link\]\(x\)"),
        ("@everyone #1", r"\@everyone \#1"),
    ],
)
def test_text_of_anybody_is_text_in_markdown(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_no_line_closes_the_fence_around_it() -> None:
    assert list(fenced(["a ```` b"])) == ["`````", "a ```` b", "`````"]


# --- the picture ------------------------------------------------------------------------------------------------

CLAIM = Finding(property="p", says="no deal", service="automation")
_ARROW = re.compile(
    r"    (client|crm|pipeline|automation|other|database|broker)(->>|-->>|-x|--x)"
    r"(client|crm|pipeline|automation|other|database|broker): [^\n;#]*(#\d+;[^\n;#]*)*"
)
_NOTE = re.compile(r"    Note over (client|crm|pipeline|automation|other|database|broker): [^\n;#]*(#\d+;[^\n;#]*)*")


def drawn(story: Story) -> list[str]:
    """The arrows and notes of a diagram, each of which is one that Mermaid's grammar has."""
    first, *lines = sequence_diagram(judged(story.lines), CLAIM).splitlines()
    assert first == "sequenceDiagram"
    steps = [line for line in lines if not line.startswith("    participant ")]
    assert [line for line in steps if not (_ARROW.fullmatch(line) or _NOTE.fullmatch(line))] == []
    return [line.strip() for line in steps]


def test_the_picture_shows_who_asked_whom_and_what_went_through_the_broker() -> None:
    steps = drawn(qualified_lead())
    assert steps[0] == "client->>pipeline: POST /things"
    assert "pipeline->>broker: lead.stage.changed confirmed" in steps
    assert "broker->>automation: automation.events" in steps
    assert steps.index("automation->>crm: POST /deals") < steps.index("crm-->>automation: 201")
    assert "client->>crm: POST /things" not in steps  # a call of another service is one arrow


def test_a_flow_that_broke_shows_what_is_missing_and_another_what_is_claimed_of_it() -> None:
    broken = Story(moved_lead(Story()).without("event.published"))
    assert "Note over pipeline: ✗ stored → published MISSING event.published#44; confirmed" in drawn(broken)
    assert drawn(qualified_lead())[-1] == "Note over automation: ✗ no deal"


def test_a_long_flow_is_cut_to_60_arrows_around_its_break() -> None:
    story = moved_lead(Story())
    for number in range(60):
        received(story, "moved", f"d{number}", redelivered=True)
        settled(story, "moved", f"d{number}", "requeued")
    steps = drawn(story)
    assert len(steps) == MOST_ARROWS + 1
    assert "earlier steps are left out" in steps[0]
    assert any("✗" in step for step in steps)


def test_of_what_came_after_the_break_of_a_long_flow_only_the_beginning_is_shown() -> None:
    story = Story(moved_lead(Story()).without("event.published"))
    for number in range(60):
        received(story, "poison", f"d{number}", redelivered=True)
    steps = drawn(story)
    assert len(steps) == MOST_ARROWS + 1
    assert "later steps are left out" in steps[-1]
    assert any("✗ stored → published MISSING" in step for step in steps)


def test_no_text_of_a_log_line_becomes_syntax() -> None:
    story = Story()
    story.write("pipeline", "call.sent", "call", peer="end", route="/a;b\n    crm->>crm: #x", method="GET")
    steps = drawn(story)
    assert "pipeline->>other: GET /a#59;b crm-#62;#62;crm#58; #35;x" in steps


# --- outcomes, as pytest's hooks write them ---------------------------------------------------------------------

_SCENARIOS = """
import os, pytest
def test_green(record_property): record_property("bug", "A01")
def test_red(): assert 1 == 2
@pytest.fixture
def stack(): raise RuntimeError("no stack")
def test_bare(stack): pass
def test_doomed(): os._exit(1)
"""
_CONFTEST = """
import pathlib
from harness.evidence.run_directory import RunDirectory
from scenarios.outcomes import OutcomeWriter
def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(OutcomeWriter(lambda: RunDirectory(pathlib.Path("run"))))
"""


def test_what_became_of_each_scenario_is_written_down_even_if_its_worker_crashes(tmp_path: Path) -> None:
    for name, text in {"scenarios/test_b.py": _SCENARIOS, "conftest.py": _CONFTEST, "pytest.ini": "[pytest]"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "xdist"]
    alone = os.environ | {"PYTHONPATH": str(PROJECT_ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, check=False, timeout=60)
    found = {one.scenario.rpartition("_")[2]: one for one in read_outcomes(RunDirectory(tmp_path / "run"))}
    assert {name: one.how for name, one in found.items()} == {
        "green": "passed",
        "red": "failed",
        "bare": "not set up",
        "doomed": "crashed",
    }
    assert found["green"].told == {"bug": "A01"}
    assert (found["red"].file, found["red"].line) == ("scenarios/test_b.py", 4)
    assert "assert 1 == 2" in found["red"].says
    assert found["doomed"].says.startswith("worker 'gw0' crashed while running")
    assert found["doomed"].worker == "gw0"


# --- the workflows ----------------------------------------------------------------------------------------------


def test_the_workflow_pins_its_actions_and_keeps_the_run_whatever_comes_out() -> None:
    jobs = yaml.safe_load((PROJECT_ROOT / ".github/workflows/gate.yml").read_text(encoding="utf-8"))["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    kept = [step for step in steps if step.get("uses", "").startswith("actions/upload-artifact@")]
    assert [step["if"] for step in kept] == ["always()"] * len(jobs)


def test_gitlabs_twin_runs_the_same_commands() -> None:
    def commands(text: str) -> set[str]:
        return set(re.findall(r"make (?:test|gate)\S*|gauntlet (?:report|explore)", text))

    ours = (PROJECT_ROOT / ".github/workflows/gate.yml").read_text(encoding="utf-8")
    twin = (PROJECT_ROOT / ".gitlab-ci.yml").read_text(encoding="utf-8")
    assert commands(ours) == commands(twin)
    gate = yaml.safe_load(twin)
    assert gate["default"]["artifacts"]["when"] == "always"
    assert {"gate", "nightly"} < set(gate)
