"""The properties that the log decides, whether there was enough to see, and what all of them say together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.checks import ALL
from harness.checks.evidence_sufficient import PROPERTY as SUFFICIENT
from harness.checks.judge import idle_everywhere, judge, worst
from harness.checks.log_contract import PROPERTY as LOG_CONTRACT
from harness.checks.trace_complete import PROPERTY as TRACE
from harness.checks.trace_complete import surroundings_of
from harness.checks.verdict import Finding, answer
from harness.contract.log_lines import kind_of
from harness.evidence.evidence import Evidence
from harness.evidence.log_files import BrokenLine, LostLines, ProcessLog
from harness.evidence.records import Fault
from tests.builders import (
    IDLE_WHEN_HAPPY,
    RULE,
    RULES,
    Story,
    created_lead,
    duplicated_lead,
    evidence,
    happy_evidence,
    happy_rows,
    lead_asked,
    lost_from,
    moment,
    move_asked,
    moved_lead,
    planted,
    qualified_lead,
    received,
    replayed_lead,
    scenario,
    settled,
    the_finding,
    uid,
)

# --- trace_complete ---------------------------------------------------------------------------------------------


def whole_log() -> Story:
    return qualified_lead(created_lead(Story()))


def test_flows_that_are_whole_pass() -> None:
    result = TRACE.check(happy_evidence())
    assert (result.status, result.seen, result.floor) == ("pass", 2, 2)


def test_a_dead_branch_fails_and_shows_service_edge_entity_and_the_shortest_trace() -> None:
    lines = whole_log().without("event.received", "event.settled", event="deal")
    finding = the_finding(TRACE.check(happy_evidence(lines)))
    assert (finding.service, finding.edge) == ("automation", "published → received")
    assert (finding.entity, finding.correlation_id) == (f"deal {uid('deal')}", uid("moved"))
    assert 3 <= len(finding.trace) <= 15
    assert "✗ MISSING  event.received" in finding.trace[-1]


def test_an_effect_too_many_is_told_as_such() -> None:
    story = whole_log()
    settled(story, "moved", "d1")
    says = [finding.says for finding in TRACE.check(happy_evidence(story.lines)).findings]
    assert "received → settled: expected event.settled" in says


def test_many_lines_that_miss_the_same_thing_are_one_finding() -> None:
    story = whole_log()
    for number in range(3):
        received(story, "moved", f"open {number}", redelivered=True)
    finding = the_finding(TRACE.check(happy_evidence(story.lines)))
    assert finding.edge == "received → settled"


def test_only_the_broken_flow_is_named() -> None:
    lines = [
        line for line in whole_log().lines if not (kind_of(line) == "event.settled" and line.event_id == uid("created"))
    ]
    assert the_finding(TRACE.check(happy_evidence(lines))).correlation_id == uid("created")


def test_lines_whose_beginning_nobody_logged_fail() -> None:
    """Whatever had to follow is there."""
    lines = [
        line
        for line in whole_log().lines
        if not (kind_of(line) == "http.request.received" and line.correlation_id == uid("created"))
    ]
    result = TRACE.check(happy_evidence(lines))
    assert result.status == "fail"
    assert {finding.edge for finding in result.findings} == {
        "root",
        "request received → completed",
        "request → change committed",
    }


def test_an_answered_request_that_left_no_line_fails() -> None:
    finding = the_finding(TRACE.check(happy_evidence(qualified_lead().lines)))
    assert finding.correlation_id == uid("created")
    assert "no line of the log tells of it" in finding.says


def test_a_refused_request_that_left_no_line_fails() -> None:
    asked = (lead_asked(409), move_asked())
    finding = the_finding(TRACE.check(happy_evidence(qualified_lead().lines, operations=asked)))
    assert finding.correlation_id == uid("created")


@pytest.mark.parametrize(("event_type", "flow"), [("lead.created", "created"), ("lead.stage.changed", "moved")])
def test_an_enabled_rule_that_nobody_looked_at_fails_in_a_flow_that_is_whole_otherwise(
    event_type: str, flow: str
) -> None:
    """Also where another rule has looked at the same event."""
    rules = (*RULES, replace_rule(rule_id="the unseen one", event_type=event_type))
    finding = the_finding(TRACE.check(happy_evidence(rows=happy_rows(rules=rules))))
    assert finding.says == "received → rule evaluated: missing rule.evaluated of the unseen one"
    assert finding.correlation_id == uid(flow)


def test_an_answered_request_whose_lines_may_be_lost_is_unknown(tmp_path: Path) -> None:
    story = whole_log()
    gone = [index for index, line in enumerate(story.lines) if line.correlation_id == uid("created")]
    kept = [line for line in story.lines if line.correlation_id != uid("created")]
    result = TRACE.check(happy_evidence(kept, lost=lost_from(tmp_path, story.lines, gone)))
    assert result.status == "unknown"
    assert uid("created") in result.doubts[0]


def test_a_lost_line_makes_its_flow_unknown_and_is_named(tmp_path: Path) -> None:
    story = whole_log()
    index = next(i for i, line in enumerate(story.lines) if kind_of(line) == "action.completed")
    kept = story.lines[:index] + story.lines[index + 1 :]
    result = TRACE.check(happy_evidence(kept, lost=lost_from(tmp_path, story.lines, [index])))
    assert (result.status, len(result.doubts)) == ("unknown", 1)
    assert f"flow {uid('moved')}" in result.doubts[0]
    assert f"seq {story.lines[index].seq} of instance automation-1" in result.doubts[0]


def test_a_flow_that_a_kill_explains_passes_and_without_the_kill_fails() -> None:
    story = created_lead(Story())
    moved_lead(story)
    received(story, "moved", "d0")
    story.restart("automation")
    received(story, "moved", "d1", redelivered=True)
    rows = happy_rows(rules=())
    settled(story, "moved", "d1")
    assert TRACE.check(happy_evidence(story.lines, rows=rows, killed=["automation-1"])).status == "pass"
    assert TRACE.check(happy_evidence(story.lines, rows=rows)).status == "fail"


@pytest.mark.parametrize("story", [duplicated_lead(), replayed_lead()], ids=["duplicated", "replayed"])
def test_duplicates_and_replays_pass(story: Story) -> None:
    result = TRACE.check(happy_evidence(story.lines, operations=(move_asked(),)))
    assert (result.status, result.findings) == ("pass", ())


def test_an_unanswered_request_may_have_left_no_line() -> None:
    asked = (lead_asked(None), move_asked())
    assert TRACE.check(happy_evidence(qualified_lead().lines, operations=asked)).status == "pass"


def test_only_enabled_rules_have_to_be_evaluated_and_only_for_their_event_type() -> None:
    off = [replace_rule(enabled=False), replace_rule(rule_id="another", event_type="deal.created")]
    around = surroundings_of(off, [planted()], {"crm-1": "later"})
    assert around.rules_by_event_type == {"deal.created": frozenset({"another"})}
    assert around.planted_correlations == around.planted_events == {uid("poison")}
    assert around.killed_instances == {"crm-1": "later"}
    assert surroundings_of(RULES, [], {}).rules_by_event_type == {"lead.stage.changed": {RULE}}


def test_only_a_fault_that_repeats_lets_a_call_arrive_twice() -> None:
    times: dict[str, Any] = {"injected_at": moment(1), "healed_at": moment(2), "proof": ""}
    faults = [
        Fault(kind="duplicate before request", place="automation→crm", hits=1, **times),
        Fault(kind="cut", place="automation→pipeline", hits=1, **times),
    ]
    assert surroundings_of(RULES, [], {}, faults=faults).repeating_edges == {"automation→crm"}


def replace_rule(**changes: Any) -> Any:
    return msgspec.structs.replace(RULES[0], **changes)


def test_no_flow_and_none_asked_for_is_idle() -> None:
    assert TRACE.check(evidence()).status == "idle"


# --- log_contract -----------------------------------------------------------------------------------------------


def with_log(broken: tuple[BrokenLine, ...] = (), lost: tuple[LostLines, ...] = ()) -> Evidence:
    log = ProcessLog("crm", "crm-1", "crm-1.ndjson", False, tuple(qualified_lead().lines), broken, lost)
    return replace(evidence(), logs=(log,))


BROKEN = BrokenLine("crm-1.ndjson", 7, "", "Object contains unknown field `color`", '{"color":')
LOST = LostLines("crm", "crm-1", "crm-1.ndjson", 4, 4, "a", "b")


def test_a_broken_line_fails_and_is_shown_with_its_place() -> None:
    finding = the_finding(LOG_CONTRACT.check(with_log(broken=(BROKEN,))))
    assert finding.says == "crm-1.ndjson:7: Object contains unknown field `color`"
    assert (finding.service, finding.trace) == ("crm", ('{"color":',))


def test_a_broken_line_knows_its_moment_and_a_crash_is_graver_than_a_line() -> None:
    at_its_time = replace(BROKEN, ts=moment(3))
    assert the_finding(LOG_CONTRACT.check(with_log(broken=(at_its_time,)))).at == moment(3)
    crash = replace(BROKEN, ts="~", problem="it ended by itself: the log just stops")
    finding = the_finding(LOG_CONTRACT.check(with_log(broken=(crash,))))
    assert (finding.at, finding.severity) == (None, "major")


def test_each_broken_line_is_a_finding_of_its_own() -> None:
    assert len(LOG_CONTRACT.check(with_log(broken=(BROKEN, BROKEN))).findings) == 2


def test_what_stands_past_the_log_fails_and_names_its_service() -> None:
    past = replace(BROKEN, file="crm-1.stderr", problem="it stands on stderr, past the log")
    finding = the_finding(LOG_CONTRACT.check(with_log(broken=(past,))))
    assert (finding.service, finding.says) == ("crm", "crm-1.stderr:7: it stands on stderr, past the log")


@pytest.mark.parametrize(
    ("kind", "its_begin"),
    [
        ("event.settled", "event.received"),
        ("action.completed", "action.started"),
        ("call.completed", "call.sent"),
        ("http.request.completed", "http.request.received"),
    ],
)
@pytest.mark.parametrize("name", ["causation_id", "entity_id", "parent_span_id"])
def test_an_end_that_is_about_something_else_than_its_beginning_fails_and_names_what_differs(
    kind: str, its_begin: str, name: str
) -> None:
    story = whole_log()
    line = next(line for line in reversed(story.lines) if kind_of(line) == kind)
    setattr(line, name, uid("another") if name != "parent_span_id" else "0123456789abcdef")
    finding = the_finding(LOG_CONTRACT.check(evidence(story.lines)))
    assert finding.says == f"{kind} has another {name} than its {its_begin}"
    assert (finding.service, finding.correlation_id) == (line.service, line.correlation_id)


def test_a_delivery_that_is_settled_in_the_span_of_its_action_fails() -> None:
    story = whole_log()
    line = next(line for line in story.lines if kind_of(line) == "event.settled")
    line.span_id, line.parent_span_id = "0123456789abcdef", line.span_id
    finding = the_finding(LOG_CONTRACT.check(evidence(story.lines)))
    assert finding.says == "event.settled has another span_id, parent_span_id than its event.received"


def test_ends_that_are_about_the_same_as_their_beginnings_pass() -> None:
    for story in (whole_log(), duplicated_lead(), replayed_lead()):
        assert LOG_CONTRACT.check(evidence(story.lines)).status == "pass"


def test_a_lost_line_is_unknown_and_is_named() -> None:
    result = LOG_CONTRACT.check(with_log(lost=(LOST,)))
    assert (result.status, result.findings) == ("unknown", ())
    assert "line seq 4 of instance crm-1 is missing" in result.doubts[0]


def test_a_broken_line_beside_a_lost_one_fails() -> None:
    result = LOG_CONTRACT.check(with_log(broken=(BROKEN,), lost=(LOST,)))
    assert (result.status, len(result.doubts)) == ("fail", 1)


def test_a_log_without_remark_passes_and_no_log_is_unknown() -> None:
    assert LOG_CONTRACT.check(with_log()).status == "pass"
    result = LOG_CONTRACT.check(evidence())
    assert (result.status, result.doubts) == ("unknown", ("saw 0, needed at least 1",))


# --- evidence_sufficient ----------------------------------------------------------------------------------------


def fault(hits: int, place: str = "crm→database") -> Fault:
    return Fault(
        kind="cut", place=place, injected_at=moment(0), healed_at=moment(1), hits=hits, proof="2 open sessions"
    )


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"faults": (fault(1), fault(0))}, "fault cut on crm→database hit nothing in flight: 2 open sessions"),
        ({"operations": ()}, "no client asked for anything and no message was planted"),
        ({"tap": ()}, "the tap saw no message although the outbox holds events"),
        ({"scenario": scenario(quiet=False, awaited=("a line by crm",))}, "still awaited: a line by crm"),
        ({"scenario": scenario(quiet=False)}, "the system did not come to rest"),
        ({"lines": created_lead(Story()).lines}, "pipeline has written no log"),
    ],
)  # fmt: skip
def test_too_little_evidence_is_unknown_and_says_what_is_missing(changes: Any, doubt: str) -> None:
    result = SUFFICIENT.check(happy_evidence(**changes))
    assert (result.status, result.findings) == ("unknown", ())
    assert len(result.doubts) == 1
    assert doubt in result.doubts[0]


def test_a_process_whose_log_is_empty_has_written_none() -> None:
    silent = ProcessLog("crm", "", "crm-2.ndjson", False, (), (), ())
    without_crm = [log for log in happy_evidence().logs if log.service != "crm"]
    result = SUFFICIENT.check(replace(happy_evidence(), logs=(*without_crm, silent)))
    assert result.doubts == ("crm has written no log",)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"faults": (fault(3),)},
        {"operations": (), "plan": [planted()]},
        {"tap": (), "rows": happy_rows(outbox=())},
        {"tap": (), "faults": (fault(1, "broker"),)},
    ],
)
def test_enough_evidence_passes(changes: Any) -> None:
    assert SUFFICIENT.check(happy_evidence(**changes)).status == "pass"


# --- the answer of one property, and of all ---------------------------------------------------------------------

FINDING = Finding(property="p", says="no")


def test_an_answer_is_a_failure_then_a_doubt_then_its_floor_then_a_pass() -> None:
    assert answer("p", seen=9, floor=1, findings=[FINDING], doubts=["?"]).status == "fail"
    assert answer("p", seen=9, floor=1, doubts=["?"]).status == "unknown"
    assert answer("p", seen=1, floor=2).status == "unknown"
    assert answer("p", seen=2, floor=2).status == "pass"
    assert answer("p", seen=0, floor=0).status == "idle"


def test_a_floor_that_is_missed_says_so() -> None:
    assert answer("p", seen=1, floor=2).doubts == ("saw 1, needed at least 2",)
    assert answer("p", seen=1, floor=2, doubts=["?"]).doubts == ("?",)


def test_the_happy_flow_is_green_for_every_property() -> None:
    verdict = judge(happy_evidence())
    assert verdict.verdict == "pass"
    assert [result.property for result in verdict.results] == [prop.name for prop in ALL]
    idle = [result.property for result in verdict.results if result.status == "idle"]
    assert idle == list(IDLE_WHEN_HAPPY)


def test_every_property_has_a_name_of_its_own_and_says_what_it_promises_and_what_it_reads() -> None:
    assert len({prop.name for prop in ALL}) == len(ALL)
    assert all(prop.statement and prop.reads for prop in ALL)


def test_one_failure_fails_a_scenario_and_is_named() -> None:
    verdict = judge(happy_evidence(rows=happy_rows(deals=())))
    assert verdict.verdict == "fail"
    assert "one_deal_per_lead" in verdict.failed
    assert verdict.findings


def test_a_doubt_makes_a_scenario_unknown_and_a_failure_outweighs_it() -> None:
    assert judge(happy_evidence(faults=(fault(0),))).verdict == "unknown"
    assert judge(happy_evidence(faults=(fault(0),), rows=happy_rows(deals=()))).verdict == "fail"


def test_an_error_of_the_scenario_itself_fails_it() -> None:
    verdict = judge(happy_evidence(scenario=scenario(error="AssertionError: no")))
    assert (verdict.verdict, verdict.error, verdict.failed) == ("fail", "AssertionError: no", [])


def test_a_verdict_tells_which_faults_hit() -> None:
    assert judge(happy_evidence(faults=(fault(3),))).faults == ("cut on crm→database (3 hits)",)


def test_the_worst_verdict_decides_and_nothing_at_all_is_unknown() -> None:
    assert worst([]) == "unknown"
    assert worst(["pass", "pass"]) == "pass"
    assert worst(["pass", "unknown"]) == "unknown"
    assert worst(["unknown", "fail", "pass"]) == "fail"


def test_a_property_that_no_scenario_exercised_is_named() -> None:
    assert idle_everywhere([judge(happy_evidence())]) == list(IDLE_WHEN_HAPPY)
    race = happy_evidence(
        operations=(lead_asked(), move_asked(expected=0), move_asked(409, expected=0, flow="created"))
    )
    still_idle = [name for name in IDLE_WHEN_HAPPY if name != "one_winner"]
    assert idle_everywhere([judge(happy_evidence()), judge(race)]) == still_idle
    assert idle_everywhere([]) == [prop.name for prop in ALL]
