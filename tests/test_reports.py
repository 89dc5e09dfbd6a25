"""A verdict as text: what broke, where, in which flow, the proof, and the command that shows more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from harness.checks import ALL
from harness.checks.causes import causes_of
from harness.checks.judge import ScenarioVerdict, judge
from harness.checks.run_verdict import RunVerdict
from harness.checks.verdict import Finding, Result
from reports.terminal import MOST_CAUSES, MOST_DOUBTS, fuzz_text, run_text, scenario_text
from tests.builders import happy_evidence, happy_rows, scenario, uid

FINDING = Finding(
    property="stage_chain", says="version 2 is missing", service="pipeline", edge="pipeline→database",
    entity="lead 7", correlation_id="c-1", trace=("first step", "✗ MISSING  event.stored"), severity="critical",
    fault="cut on a→b", scenario="a scenario", reproduce='gauntlet gate -k "a" --seed 7',
)  # fmt: skip


def another(**changes: Any) -> Finding:
    return msgspec.structs.replace(FINDING, **changes)


def verdict_of(*findings: Finding, doubts: tuple[str, ...] = (), **parts: Any) -> ScenarioVerdict:
    status: Any = "fail" if findings else "unknown" if doubts else "pass"
    result = Result(property="stage_chain", status=status, seen=1, floor=1, findings=findings, doubts=doubts)
    return ScenarioVerdict(scenario="a scenario", verdict=status, results=(result,), **parts)


def run_of(*scenarios: ScenarioVerdict, **parts: Any) -> RunVerdict:
    worst: Any = "fail" if any(s.verdict == "fail" for s in scenarios) else "pass"
    causes = tuple(causes_of(finding for scenario in scenarios for finding in scenario.findings))
    return RunVerdict(**({"verdict": worst, "scenarios": scenarios, "causes": causes} | parts))


def test_a_failure_shows_how_grave_it_is_where_it_is_when_it_was_how_to_do_it_again_and_its_proof() -> None:
    assert scenario_text(verdict_of(FINDING), Path("runs/1")).splitlines() == [
        "FAIL  a scenario",
        "  broken: stage_chain",
        "",
        "✗ 1. CRITICAL: version 2 is missing",
        "    seen by      stage_chain",
        "    where        edge pipeline→database · service pipeline · lead 7",
        "    while        cut on a→b",
        '    again        gauntlet gate -k "a" --seed 7',
        "    look         gauntlet show runs/1 c-1",
        "    for example  the flow",
        "      │ first step",
        "      │ ✗ MISSING  event.stored",
    ]


def test_a_finding_that_knows_no_place_has_no_line_for_it() -> None:
    bare = Finding(property="stage_chain", says="no")
    assert scenario_text(verdict_of(bare)).splitlines()[3:] == ["✗ 1. MAJOR: no", "    seen by      stage_chain"]


def test_the_scenarios_own_error_and_its_faults_are_shown_in_one_line_each() -> None:
    text = scenario_text(
        verdict_of(FINDING, error="AssertionError: no\nmore", faults=("cut on a→b (1 hits)", "kill on crm (1 hits)"))
    )
    assert "  the scenario itself: AssertionError: no\n" in text
    assert "more" not in text
    assert "  faults: cut on a→b (1 hits); kill on crm (1 hits)\n" in text


def test_findings_that_say_the_same_of_many_flows_are_told_once_and_counted() -> None:
    findings = [another(says=f"version {n} is missing", correlation_id=f"c-{n}") for n in range(8)]
    text = scenario_text(verdict_of(*findings))
    assert text.count("is missing") == 1
    assert "stage_chain, and 7 more like it" in text
    assert "one of 8 flows" in text


def test_what_several_properties_see_of_one_flow_is_one_cause_that_names_them() -> None:
    other = another(property="one_winner", says="nobody won", severity="major", trace=())
    text = scenario_text(verdict_of(other, FINDING))
    assert "✗ 1. CRITICAL: version 2 is missing" in text
    assert "stage_chain; one cause, seen by 2 properties" in text
    assert "    and by       one_winner: nobody won" in text
    assert "✗ 2." not in text


def test_the_gravest_cause_comes_first_and_too_many_are_counted() -> None:
    findings = [
        another(says="x" * n, entity=None, correlation_id=f"c-{n}", severity="minor") for n in range(2, MOST_CAUSES + 4)
    ]
    text = scenario_text(verdict_of(*findings, FINDING))
    assert text.index("CRITICAL") < text.index("MINOR")
    assert "✗ … and 3 more causes" in text


def test_a_doubt_is_shown_as_unknown_and_too_many_are_counted() -> None:
    text = scenario_text(verdict_of(doubts=("line seq 4 was lost",)))
    assert text.splitlines() == ["UNKNOWN  a scenario", "  ? stage_chain: unknown: line seq 4 was lost"]
    many = scenario_text(verdict_of(doubts=("no",) * (MOST_DOUBTS + 2)))
    assert "… and 2 more doubts" in many


def test_a_green_run_shows_every_property_its_verdict_and_how_to_judge_it_again_on_half_a_screen() -> None:
    text = run_text(run_of(judge(happy_evidence())), Path("runs/1"))
    assert all(f"✓ {prop.name} " in text or f"· {prop.name} " in text for prop in ALL)
    assert "✓ stage_chain " in text
    assert "· one_winner " in text
    assert len(text.splitlines()) <= 18
    assert max(map(len, text.splitlines())) <= 80
    assert "verdict: PASS   1 scenarios, 0 not green" in text
    assert "gauntlet check runs/1" in text
    assert "gauntlet show" not in text
    assert "✗" not in text


def test_a_run_of_which_one_property_alone_was_asked_shows_that_one() -> None:
    text = run_text(run_of(verdict_of()), Path("x"))
    assert "✓ stage_chain" in text
    assert "one_winner" not in text


def test_a_red_run_shows_its_red_scenarios_only_and_a_flow_to_look_at() -> None:
    bad = judge(happy_evidence(scenario=scenario(name="the bad one"), rows=happy_rows(deals=())))
    text = run_text(run_of(judge(happy_evidence(scenario=scenario(name="the good one"))), bad), Path("runs/1"))
    assert "FAIL  the bad one" in text
    assert "the good one" not in text
    assert "verdict: FAIL   2 scenarios, 1 not green" in text
    assert f"gauntlet show runs/1 {uid('moved')}" in text


def test_of_several_red_scenarios_each_cause_says_in_which_it_was_seen() -> None:
    def red(name: str, *findings: Finding) -> ScenarioVerdict:
        return msgspec.structs.replace(verdict_of(*findings), scenario=name)

    first = red("first", another(scenario="a.py::first"))
    second = red("second", another(scenario="a.py::second", correlation_id="c-2"))
    other = red("third", another(scenario="a.py::third", says="odd", correlation_id="c-3"))
    text = run_text(run_of(first, second, other), Path("x"))
    assert "    in           2 scenarios: first, second\n" in text
    assert "    in           third\n" in text
    assert "    in  " not in run_text(run_of(first), Path("x"))


def test_each_property_counts_its_verdicts_over_all_scenarios() -> None:
    bad = judge(happy_evidence(rows=happy_rows(deals=())))
    line = next(
        t
        for t in run_text(run_of(judge(happy_evidence()), bad), Path("x")).splitlines()
        if t.startswith("  one_deal_per_lead")
    )
    assert line.split()[1:] == ["1", "✓", "pass", "1", "✗", "fail"]


def test_what_was_never_put_to_the_test_is_named() -> None:
    text = run_text(run_of(verdict_of(), verdict="unknown", idle=("one_winner", "stage_chain")), Path("x"))
    assert "never put to the test, so not proven: one_winner, stage_chain" in text


def test_what_failed_without_evidence_is_named() -> None:
    text = run_text(run_of(verdict_of(), verdict="fail", failures=("canary A03 survived",)), Path("x"))
    assert "  ✗ canary A03 survived" in text


def test_a_property_that_a_later_version_no_longer_knows_is_still_counted() -> None:
    old = ScenarioVerdict(
        scenario="old", verdict="pass", results=(Result(property="bygone", status="pass", seen=1, floor=0),)
    )
    assert "✓ bygone " in run_text(run_of(old), Path("x"))


def test_a_fuzz_run_shows_its_requests_by_operation_and_every_mistake() -> None:
    text = fuzz_text({"crm POST /leads": 7, "crm GET /leads": 5}, 1, 30, ["1 answers were server errors"])
    assert text.splitlines() == [
        "      5  crm GET /leads",
        "      7  crm POST /leads",
        "",
        "✗ 1 answers were server errors",
        "",
        "FAIL   12 requests, 1 server errors, 1 mistakes, 30 log lines read",
    ]
    assert fuzz_text({"crm GET /leads": 5}, 0, 30, []).splitlines()[-1].startswith("PASS   5 requests")


def test_of_a_run_the_gravest_cause_is_told_in_full_and_of_the_others_where_to_look() -> None:
    other = another(says="a name is logged", severity="minor", correlation_id="c-2", trace=("the other's step",))
    text = run_text(run_of(verdict_of(FINDING, other)), Path("runs/1"))
    assert "      │ ✗ MISSING  event.stored" in text
    brief = text.partition("✗ 2. MINOR: a name is logged\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in brief.splitlines()] == ["where", "again", "look"]
    assert "the other's step" in scenario_text(verdict_of(FINDING, other))


def test_what_pytest_said_is_shown_where_nothing_else_tells_why() -> None:
    said = {"a scenario": "\n".join(f"line {n}" for n in range(20)), "canary": "E   AssertionError: it lived"}
    mistaken = msgspec.structs.replace(verdict_of(), verdict="fail", error="AssertionError: no")
    text = run_text(run_of(mistaken, failures=("canary",)), Path("x"), said=said)
    assert "      │ line 19\n" in text
    assert "line 11\n" not in text
    assert "  ✗ canary\n      │ E   AssertionError: it lived" in text
    broken = msgspec.structs.replace(verdict_of(FINDING), error="AssertionError: no")
    assert "line 19" not in run_text(run_of(broken), Path("x"), said=said)
