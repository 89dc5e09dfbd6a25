"""A finding that a person can act on: how grave, when, while what was broken, its trace, and how to see it again."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checks import sources_agree
from harness.checks.causes import KEPT
from harness.checks.explain import explained, fault_text, gate_command
from harness.checks.judge import judge
from harness.checks.verdict import Finding, Property, Result, answer
from harness.evidence.records import Fault
from harness.trace.render import MOST_LINES
from tests.builders import (
    Story,
    created_lead,
    exhausted_lead,
    happy_evidence,
    happy_rows,
    moment,
    moved_lead,
    scenario,
    uid,
)


def fault(since: int, until: int, place: str = "a→b") -> Fault:
    return Fault(kind="cut", place=place, injected_at=moment(since), healed_at=moment(until), hits=1, proof="")


def made_ready(*findings: Finding, doubts: tuple[str, ...] = (), **parts: Any) -> Result:
    result = answer("p", seen=1, floor=1, findings=findings, doubts=doubts)
    (ready,) = explained([result], happy_evidence(**parts), {"p": "minor"})
    return ready


def ready(says: str = "no", *, flow: str | None = "moved", **parts: Any) -> Finding:
    about = {name: parts.pop(name) for name in ("at", "severity", "entity", "trace", "service") if name in parts}
    finding = Finding(property="p", says=says, correlation_id=uid(flow) if flow else None, **about)
    return made_ready(finding, **parts).findings[0]


# --- how grave --------------------------------------------------------------------------------------------------


def test_a_finding_is_as_grave_as_its_property_unless_it_says_so_itself() -> None:
    assert ready().severity == "minor"
    assert ready(severity="critical").severity == "critical"


def test_lost_data_is_critical_and_a_broken_line_minor() -> None:
    verdict = judge(happy_evidence(rows=happy_rows(deals=())))
    assert {f.property: f.severity for f in verdict.findings}["one_deal_per_lead"] == "critical"
    assert Property("p", "", (), sources_agree.check).severity == "major"


# --- while what was broken --------------------------------------------------------------------------------------

FAULTS = (fault(100, 110, "a→b"), fault(200, 210, "c→d"))


@pytest.mark.parametrize(
    ("since", "until", "text"),
    [
        (105, 105, "cut on a→b"),
        (99, 99, "cut on a→b"),  # it began just after the last line
        (115, 116, "cut on a→b"),  # its consequences may still be seen
        (90, 98, "none was active then"),
        (116, 198, "none was active then"),
        (105, 205, "cut on a→b; cut on c→d"),
    ],
)
def test_the_fault_is_the_one_that_was_active_at_that_moment(since: int, until: int, text: str) -> None:
    assert fault_text(FAULTS, (moment(since), moment(until))) == text


def test_without_a_moment_it_may_be_any_fault_and_without_a_fault_none() -> None:
    assert fault_text(FAULTS, None) == "cut on a→b; cut on c→d (at some time during the scenario)"
    assert fault_text((), None) is None


def test_a_moment_that_is_no_date_is_no_moment() -> None:
    no_date = "2026-13-45T99:99:99.000000Z"
    assert str(fault_text(FAULTS, (no_date, no_date))).endswith("(at some time during the scenario)")


def test_the_moment_is_that_of_the_flow_or_the_findings_own() -> None:
    faults = (fault(1000, 1001),)
    assert ready(faults=faults).fault == "none was active then"
    assert ready(faults=faults, at=moment(1000)).fault == "cut on a→b"
    assert ready(faults=faults, flow=None).fault == "cut on a→b (at some time during the scenario)"
    assert str(ready().at) > moment(0)


# --- the trace --------------------------------------------------------------------------------------------------


def test_a_broken_flow_shows_its_missing_step() -> None:
    lines = moved_lead(created_lead(Story())).lines
    trace = ready(lines=lines).trace
    assert "✗ MISSING  event.received" in trace[-1]
    assert len(trace) <= MOST_LINES


def test_a_flow_that_is_whole_shows_what_it_says_of_what_the_finding_names_and_then_the_claim() -> None:
    trace = ready("there is no deal", entity=f"deal {uid('deal')}", service="crm").trace
    assert trace[-1].split(maxsplit=1) == ["crm", "✗ there is no deal"]
    assert all("deal" in text or "lead" not in text for text in trace)


def test_a_long_flow_is_cut() -> None:
    trace = ready(lines=exhausted_lead().lines).trace
    assert len(trace) == MOST_LINES


def test_a_flow_that_nobody_logged_shows_what_the_client_was_told() -> None:
    trace = ready(lines=created_lead(Story()).lines).trace
    assert "client      move_stage" in trace[0]
    assert "→ 200 ok" in trace[0]
    assert "✗ no" in trace[-1]


def test_a_trace_of_the_propertys_own_is_kept() -> None:
    assert ready(trace=("mine",)).trace == ("mine",)


def test_a_finding_that_knows_no_flow_gets_the_first_that_tells_of_what_it_names() -> None:
    named = ready(f"event {uid('deal')} is nowhere", flow=None)
    assert named.correlation_id == uid("moved")
    assert any("event.stored  pending  deal.created" in text for text in named.trace)
    by_entity = ready(flow=None, entity=f"lead {uid('lead')}")
    assert by_entity.correlation_id == uid("created")
    nameless = ready(flow=None)
    assert (nameless.correlation_id, nameless.trace) == (None, ())


def test_every_finding_with_a_flow_has_a_trace_whatever_is_wrong() -> None:
    verdict = judge(happy_evidence(rows=happy_rows(deals=(), processed=(), history=())))
    assert len(verdict.findings) > 5
    assert all(1 <= len(finding.trace) <= MOST_LINES for finding in verdict.findings if finding.correlation_id)


# --- how to see it again, and how much of it --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("test_a.py::test_b", 'gauntlet gate -k "test_b" --seed 7'),
        ("test_a.py::test_b[a-to-b]", 'gauntlet gate -k "test_b[a-to-b]" --seed 7'),
        ("test_a.py::test_b[a→b c]", 'gauntlet gate -k "test_b[a and b and c]" --seed 7'),
        ("after the last scenario on stack main", None),
    ],
)
def test_the_command_runs_that_scenario_with_that_seed(name: str, command: str | None) -> None:
    assert gate_command(name, 7) == command


def test_a_finding_names_its_scenario_and_the_command() -> None:
    finding = ready(scenario=scenario(name="test_a.py::test_b", seed=3))
    assert (finding.scenario, finding.reproduce) == ("test_a.py::test_b", 'gauntlet gate -k "test_b" --seed 3')


def test_ten_thousand_findings_of_a_kind_and_as_many_doubts_are_cut_and_counted() -> None:
    findings = [
        Finding(property="p", says=f"event {number}", correlation_id=uid(str(number))) for number in range(9999)
    ]
    result = made_ready(*findings, doubts=("?",) * 9999)
    assert len(result.findings) == KEPT
    assert sum(finding.more for finding in result.findings) == 9999 - KEPT
    assert result.doubts[KEPT:] == (f"… and {9999 - KEPT} more doubts",)


def test_without_findings_a_result_is_left_as_it_is() -> None:
    assert made_ready() == answer("p", seen=1, floor=1)
