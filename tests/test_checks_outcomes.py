"""What was refused left nothing; what nobody was told of is wholly there or wholly absent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from harness.checks.refused_leaves_nothing import PROPERTY as REFUSED
from harness.checks.unknown_is_atomic import PROPERTY as ATOMIC
from harness.checks.verdict import Result
from harness.contract.log_lines import Line
from harness.evidence.records import AlertRow, DealRow, ExecutionRow, LeadRow, Operation, Received, Rows, StageRow
from tests.builders import (
    EMAIL,
    RULE,
    Story,
    a_deal,
    a_lead,
    deal_asked,
    evidence,
    lead_asked,
    move_asked,
    now_in,
    operation,
    planted,
    processed,
    resting,
    step,
    stored,
    tapped,
    the_finding,
    uid,
)

LEAD = f"lead {uid('lead')}"
CHANGED = "lead.updated"


def change_asked(http_status: int | None, *, flow: str = "moved") -> Operation:
    return operation("change_lead", http_status, flow=flow, arguments={"name": "Ada"})


def asked_raw(http_status: int | None, *, flow: str = "moved") -> Operation:
    return msgspec.structs.replace(operation("raw", http_status, flow=flow), entity_type=None)


def line(kind: str, service: str = "pipeline", **fields: Any) -> Line:
    return Story().write(service, kind, "span", **({"entity": ("lead", "lead")} | fields))


def execution() -> ExecutionRow:
    return ExecutionRow(RULE, "lead", uid("lead"), uid("moved"), "succeeded", 1, uid("moved"))


def webhook() -> Received:
    return Received(
        kind="webhook", place="/hooks", received_at="", key="k", signed=True, status=200, digest="", body="",
        correlation_id=uid("moved"),
    )  # fmt: skip


# --- refused_leaves_nothing -------------------------------------------------------------------------------------


def refused(
    *asked: Operation, lines: tuple[Line, ...] = (), plan: Any = (), rows: Rows | None = None, **parts: Any
) -> Result:
    return REFUSED.check(evidence(lines, operations=asked, rows=rows, plan=plan, **parts))


def test_a_refused_move_that_stands_in_history_all_the_same_fails() -> None:
    rows = Rows(history=(step(1, "new", "qualified"),), outbox=(stored("moved"),))
    finding = the_finding(refused(move_asked(409), rows=rows))
    assert finding.says == (
        "move_stage was refused with 409 and left a row of history (version 1, qualified), "
        "an outbox row (lead.stage.changed)"
    )
    assert (finding.service, finding.edge, finding.entity) == ("pipeline", "client→pipeline", LEAD)
    assert finding.correlation_id == uid("moved")


@pytest.mark.parametrize(
    ("left", "what"),
    [
        ({"rows": Rows(history=(step(1, "new", "demo"),))}, "a row of history (version 1, demo)"),
        ({"rows": Rows(outbox=(stored("moved"),))}, "an outbox row (lead.stage.changed)"),
        ({"rows": Rows(executions=(execution(),))}, f"an execution of rule {RULE}"),
        ({"rows": Rows(processed=(processed("moved"),))}, "a processed lead.stage.changed"),
        ({"rows": Rows(alerts=(AlertRow("1", None, uid("moved"), "exhausted", True),))}, "an alert (exhausted)"),
        ({"tap": (tapped("moved"),)}, "a message (lead.stage.changed)"),
        ({"resting": (resting("moved"),)}, "a message in automation.dlq"),
        ({"received": (webhook(),)}, "a webhook that was received"),
        ({"lines": (line("change.committed"),)}, "a line change.committed"),
        ({"lines": (line("event.stored", event="moved"),)}, "a line event.stored"),
        ({"lines": (line("call.sent", method="POST"),)}, "a line call.sent"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whatever_a_refused_flow_left_anywhere_is_found(left: dict[str, Any], what: str) -> None:
    assert the_finding(refused(move_asked(422), **left)).says == f"move_stage was refused with 422 and left {what}"
    raw = the_finding(refused(asked_raw(422), **left))
    assert (raw.correlation_id, raw.edge, raw.entity) == (uid("moved"), None, None)


def test_what_is_left_often_is_told_once_and_what_is_left_of_much_is_cut() -> None:
    twice = the_finding(refused(move_asked(409), tap=(tapped("moved"), tapped("moved"))))
    assert twice.says.count("a message") == 1
    rows = Rows(history=tuple(step(v, "new", "demo") for v in range(1, 7)))
    assert the_finding(refused(move_asked(409), rows=rows)).says.endswith("(version 4, demo), …")


def test_a_lead_of_which_no_event_tells_and_that_only_a_refused_client_asked_for_fails() -> None:
    finding = the_finding(refused(lead_asked(422), rows=Rows(leads=(a_lead(),))))
    assert finding.says == f"create_lead was refused with 422 and left lead {uid('lead')}"
    again = msgspec.structs.replace(lead_asked(422), correlation_id=uid("again"))
    assert the_finding(refused(lead_asked(422), again, rows=Rows(leads=(a_lead(),))))


def test_of_several_refused_requests_in_one_flow_each_has_to_leave_nothing() -> None:
    result = refused(asked_raw(422, flow="created"), lead_asked(422), rows=Rows(leads=(a_lead(),)))
    assert the_finding(result).says == f"create_lead was refused with 422 and left lead {uid('lead')}"
    assert result.seen == 2


def test_a_deal_of_which_no_event_tells_fails() -> None:
    finding = the_finding(refused(deal_asked(404), rows=Rows(leads=(a_lead(),), deals=(a_deal(),))))
    assert f"left deal {uid('deal')}" in finding.says


def test_a_version_or_a_stage_of_which_no_event_tells_fails() -> None:
    lead = LeadRow(uid("lead"), EMAIL, None, 2)
    other = stored("moved", correlation_id=uid("other"))
    rows = Rows(leads=(lead,), outbox=(stored("created"), other), stages=(now_in("qualified", 1),))
    assert "left version 2 of the lead" in the_finding(refused(change_asked(409), rows=rows)).says
    assert "left qualified as the stage at version 1" in the_finding(refused(move_asked(409), rows=rows)).says


def test_a_stage_of_a_lead_that_does_not_exist_fails() -> None:
    finding = the_finding(refused(move_asked(404), rows=Rows(stages=(now_in("new", 0),))))
    assert finding.says == "move_stage was refused with 404 and left a stage of a lead that does not exist"
    assert refused(move_asked(409), rows=Rows(stages=(now_in("new", 0),))).status == "pass"


def test_a_refusal_that_left_nothing_passes_and_is_counted() -> None:
    asked = (move_asked(409), lead_asked(422), asked_raw(401, flow="raw"))
    result = refused(*asked)
    assert (result.status, result.seen) == ("pass", 3)


def test_a_request_and_a_look_into_crm_are_no_traces() -> None:
    refusal: dict[str, Any] = {"http_status": 404, "status": "client_error"}
    asked = (line("http.request.received"), line("http.request.completed", **refusal), line("library.message"))
    looked = (line("call.sent", method="GET"), line("call.completed", **refusal))
    lines = (*asked, *looked)
    assert refused(move_asked(409), lines=lines).status == "pass"


def test_a_lead_that_the_pipeline_met_when_it_refused_has_its_first_stage() -> None:
    rows = Rows(leads=(a_lead(),), outbox=(stored("created"),), stages=(now_in("new", 0),))
    assert refused(move_asked(409), rows=rows).status == "pass"
    assert refused(move_asked(404), rows=rows).status == "pass"


def test_a_duplicate_is_refused_because_of_a_lead_that_somebody_else_made() -> None:
    first, second = lead_asked(), msgspec.structs.replace(lead_asked(409), correlation_id=uid("second"))
    rows = Rows(leads=(a_lead(),), outbox=(stored("created"),))
    assert refused(first, second, rows=rows).status == "pass"
    silent = msgspec.structs.replace(rows, outbox=())  # then the event is missing, but not because of the second one
    assert refused(first, second, rows=silent).status == "pass"
    assert refused(lead_asked(None), second, rows=silent).status == "pass"


def test_a_deal_that_a_rule_made_is_no_trace_of_a_refused_one() -> None:
    rows = Rows(leads=(a_lead(),), deals=(a_deal(),), outbox=(stored("created"), stored("deal")))
    assert refused(deal_asked(409), rows=rows).status == "pass"


def test_a_flow_that_several_requests_share_is_judged_only_if_all_were_refused() -> None:
    rows = Rows(history=(step(1, "new", "qualified"),), outbox=(stored("moved"),))
    assert refused(move_asked(200), asked_raw(409), rows=rows).status == "idle"
    assert refused(move_asked(None), asked_raw(409), rows=rows).status == "idle"
    assert refused(move_asked(409), asked_raw(409), rows=rows).status == "fail"


def test_what_we_planted_ourselves_is_nobodys_trace() -> None:
    told = planted("processed", name="moved")
    assert refused(move_asked(409), tap=(tapped("moved"),), plan=(told,)).status == "idle"


def test_what_was_not_refused_is_idle() -> None:
    assert refused(lead_asked(), move_asked(None), rows=Rows(leads=(a_lead(),))).status == "idle"


# --- unknown_is_atomic ------------------------------------------------------------------------------------------

CREATED = {"leads": (a_lead(),), "outbox": (stored("created"),)}
DEALT = {
    "leads": (a_lead(),),
    "deals": (a_deal(),),
    "outbox": (stored("deal", correlation_id=uid("dealt"), causation_id=None),),
}
UPDATED = {
    "leads": (LeadRow(uid("lead"), EMAIL, None, 2),),
    "outbox": (
        stored("created"),
        stored("moved", service="crm", event_type=CHANGED, entity_version=2),
    ),
}  # fmt: skip
MOVED = {"stages": (now_in("qualified", 1),), "history": (step(1, "new", "qualified"),), "outbox": (stored("moved"),)}
WHOLE: dict[str, tuple[Callable[[int | None], Operation], dict[str, Any]]] = {
    "create_lead": (lead_asked, CREATED),
    "create_deal": (deal_asked, DEALT),
    "change_lead": (change_asked, UPDATED),
    "move_stage": (move_asked, MOVED),
}


def atomic(*asked: Operation, lines: tuple[Line, ...] = (), rows: dict[str, Any] | None = None, **parts: Any) -> Result:
    return ATOMIC.check(evidence(lines, operations=asked, rows=Rows(**(rows or {})), **parts))


def half(*asked: Operation, rows: dict[str, Any], **changes: Any) -> str:
    """What is said of the one operation of which only a half is there."""
    return the_finding(atomic(*asked, rows=rows | changes)).says


@pytest.mark.parametrize("http_status", [None, 500, 503])
@pytest.mark.parametrize("action", WHOLE)
def test_what_is_wholly_there_and_what_is_wholly_absent_passes(action: str, http_status: int | None) -> None:
    ask, rows = WHOLE[action]
    for there in (rows, {}):
        result = atomic(ask(http_status), rows=there)
        assert (result.status, result.seen) == ("pass", 1)


def test_a_lead_without_its_event_fails() -> None:
    result = atomic(lead_asked(503), rows=CREATED | {"outbox": ()})
    finding = the_finding(result)
    assert finding.says == f"create_lead, answered 503, left lead {uid('lead')} without an event of it"
    assert (finding.service, finding.edge, finding.correlation_id) == ("crm", "crm→database", uid("created"))


def test_an_event_without_its_lead_fails() -> None:
    says = half(lead_asked(None), rows=CREATED, leads=())
    assert says == "create_lead, not answered, has a lead.created in the outbox, but there is no such lead"


def test_an_event_of_another_lead_than_was_asked_for_fails() -> None:
    assert half(lead_asked(None), rows=CREATED, leads=(a_lead(email="eve@example.test"),)).endswith("another address")


def test_a_deal_without_its_event_and_an_event_without_its_deal_fail() -> None:
    assert f"left deal {uid('deal')} without an event" in half(
        deal_asked(None), rows=DEALT, outbox=(stored("created"),)
    )
    assert half(deal_asked(None), rows=DEALT, deals=()).endswith("but the lead has no such deal")
    other = DealRow(uid("deal"), uid("other"), 1)
    assert half(deal_asked(None), rows=DEALT, deals=(other,)).endswith("but the lead has no such deal")


def test_a_changed_lead_without_its_event_and_an_event_without_its_version_fail() -> None:
    assert "left version 2 of the lead without an event" in half(
        change_asked(None), rows=UPDATED, outbox=(stored("created"),)
    )
    assert half(change_asked(None), rows=UPDATED, leads=(a_lead(),)).endswith("but the lead is at version 1")


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ({"outbox": ()}, "has version 1 in history, but no event in the outbox"),
        ({"history": ()}, "has an event of version 1 in the outbox, but no row of history"),
        ({"stages": (now_in("new", 0),)}, "has version 1 in history, but the stage is at version 0"),
        ({"stages": ()}, "has version 1 in history, but the stage is at version None"),
        ({"outbox": (stored("moved", entity_version=2),)}, "has version 1 in history, but no event in the outbox"),
        ({"history": (), "outbox": ()}, "left qualified as the stage at version 1 without an event of it"),
    ],
)
def test_a_move_of_which_a_part_is_missing_fails(missing: dict[str, Any], says: str) -> None:
    findings = atomic(move_asked(503), rows=MOVED | missing).findings
    assert f"move_stage, answered 503, {says}" in [finding.says for finding in findings]
    assert {finding.correlation_id for finding in findings} == {uid("moved")}
    assert findings[0].entity == LEAD
    assert not any("in no table" in finding.says for finding in findings)


def test_a_change_that_has_happened_twice_fails() -> None:
    history = (step(1, "new", "qualified"), step(2, "qualified", "new"), step(3, "new", "qualified"))
    outbox = tuple(stored("moved", entity_version=version) for version in (1, 3))
    rows = {"history": (history[0], history[2]), "outbox": outbox, "stages": (now_in("qualified", 3),)}
    assert half(move_asked(None), rows=rows) == "move_stage, not answered, has happened 2 times"
    assert atomic(move_asked(None), move_asked(None), rows=rows).status == "pass"


def test_an_event_of_something_that_was_not_asked_for_fails() -> None:
    assert "which is not what was asked for" in half(change_asked(None), rows=MOVED, history=(), stages=())


@pytest.mark.parametrize(
    "left",
    [
        {"tap": (tapped("moved"),)},
        {"received": (webhook(),)},
        {"lines": (line("change.committed"),)},
        {"rows": {"executions": (execution(),)}},
        {"rows": {"processed": (processed("moved"),)}},
    ],
)
def test_what_is_absent_and_has_followers_all_the_same_fails(left: dict[str, Any]) -> None:
    """Announced before it was committed, and then rolled back."""
    assert "is in no table, yet left a" in the_finding(atomic(move_asked(None), **left)).says


def test_what_follows_from_a_change_that_is_there_is_its_own_matter() -> None:
    """A rule's changes bear the same correlation id, and the event that caused them."""
    deal_rows = {"leads": (a_lead(),), "deals": (a_deal(),), "outbox": (stored("moved"), stored("deal"))}
    told = (
        line("change.committed"),
        line("event.stored", event="moved"),
        line("rule.evaluated", "automation", event="moved", cause="moved"),
    )
    moved_on = msgspec.structs.replace(step(2, "qualified", "proposal"), causation_id=uid("deal"))
    rows = MOVED | deal_rows | {"history": (*MOVED["history"], moved_on), "stages": (now_in("proposal", 2),)}
    assert atomic(move_asked(None), lines=told, rows=rows, tap=(tapped("moved"), tapped("deal"))).status == "pass"


def test_a_killed_process_may_have_logged_nothing_of_what_it_committed() -> None:
    assert atomic(move_asked(None), lines=(line("http.request.received"),), rows=MOVED).status == "pass"


def test_a_lead_that_has_moved_on_since_has_the_version_still() -> None:
    history = (*MOVED["history"], step(2, "qualified", "demo", by="later"))
    outbox = (*MOVED["outbox"], stored("poison", entity_id=uid("lead"), entity_version=2, correlation_id=uid("later")))
    rows = {"history": history, "outbox": outbox, "stages": (now_in("demo", 2),)}
    assert atomic(move_asked(None), rows=rows).status == "pass"


def test_what_was_asked_for_again_and_acknowledged_is_not_the_first_ones_trace() -> None:
    again = msgspec.structs.replace(lead_asked(), correlation_id=uid("again"))
    rows = {"leads": (a_lead(),), "outbox": (stored("created", correlation_id=uid("again")),)}
    assert atomic(lead_asked(None), again, rows=rows).status == "pass"
    assert atomic(lead_asked(None), again, rows=rows | {"outbox": ()}).status == "pass"


def test_a_flow_that_was_answered_as_well_is_not_judged() -> None:
    assert atomic(move_asked(None), asked_raw(200), rows=MOVED | {"outbox": ()}).status == "idle"


def test_a_look_that_nobody_answered_is_idle() -> None:
    assert atomic(operation("read", None, flow="look"), asked_raw(None), lead_asked()).status == "idle"


def test_a_stage_that_another_lead_has_is_no_half() -> None:
    other = StageRow("lead", uid("another lead"), "qualified", 1)
    assert atomic(move_asked(None), rows={"stages": (other,)}).status == "pass"
