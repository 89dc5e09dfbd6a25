"""Five witnesses, one story: each way in which they can contradict each other is named, with its edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.checks.sources_agree import PROPERTY
from harness.checks.verdict import Finding, Result
from harness.contract.log_lines import Line, kind_of
from harness.evidence.evidence import Evidence
from harness.evidence.log_files import LostLines
from harness.evidence.records import ExecutionRow, Fault, LeadRow, Received, Rows, RuleRow
from tests.builders import (
    EMAIL,
    RULE,
    Story,
    acted,
    answered,
    asked,
    body_of,
    created_lead,
    dealt,
    delivered,
    died,
    duplicated_lead,
    evidence,
    exhausted_lead,
    happy_evidence,
    happy_rows,
    lead_asked,
    lost_from,
    moment,
    move_asked,
    moved_lead,
    operation,
    passed,
    planted,
    processed,
    published,
    qualified_lead,
    received,
    replayed_lead,
    resting,
    settled,
    stored,
    tapped,
    the_finding,
    uid,
)

check = PROPERTY.check


def whole_log() -> Story:
    return qualified_lead(created_lead(Story()))


def without(*kinds: str, event: str) -> list[Line]:
    """The happy log without lines of these kinds about this event."""
    return whole_log().without(*kinds, event=event)


OF_DEAL = uid("deal")


def happy_but(*, of: str = "deal", unprocessed: bool = True, **changes: Any) -> Evidence:
    """The happy story, in which one event (the last, which nothing follows from) was not handled."""
    rows = happy_rows()
    if unprocessed:
        rows = msgspec.structs.replace(rows, processed=tuple(row for row in rows.processed if row.event_id != uid(of)))
    rows = changes.pop("rows", rows)
    return happy_evidence(**({"rows": rows} | changes))


# --- the hops of an event, one lost at each ---------------------------------------------------------------------

BOTH = ("created", "moved")
ALL = (*BOTH, "deal")


def unsent(**changes: Any) -> Rows:
    outbox = tuple(stored(name) for name in BOTH)
    done = tuple(processed(name) for name in BOTH)
    return happy_rows(outbox=(*outbox, stored("deal", **changes)), processed=done)


LOST: dict[str, tuple[Callable[[], Evidence], str, str, str]] = {
    "before the outbox": (
        lambda: happy_but(
            lines=without("event.published", "event.received", "event.settled", event="deal"),
            rows=happy_rows(outbox=tuple(stored(n) for n in BOTH), processed=tuple(processed(n) for n in BOTH)),
            tap=passed(*BOTH),
        ),
        "the outbox has no such row, and the broker never saw it: lost between crm and database",
        "crm",
        "crm→database",
    ),
    "in the outbox": (
        lambda: happy_but(
            lines=without("event.published", "event.received", "event.settled", event="deal"),
            rows=unsent(sent=False),
            tap=passed(*BOTH),
        ),
        "unsent; crm logged no try, and the broker never saw it: it stopped in crm",
        "crm",
        "crm→broker",
    ),
    "marked sent, on the way to the broker": (
        lambda: happy_but(
            lines=without("event.published", "event.received", "event.settled", event="deal"), tap=passed(*BOTH)
        ),
        "the database has the outbox row, marked sent; the broker never saw it: lost between crm and broker",
        "crm",
        "crm→broker",
    ),
    "confirmed, on the way to the broker": (
        lambda: happy_but(lines=without("event.received", "event.settled", event="deal"), tap=passed(*BOTH)),
        "marked sent, and crm logged it as confirmed; the broker never saw it: lost between crm and broker",
        "crm",
        "crm→broker",
    ),
    "on the way to a queue": (
        lambda: happy_but(
            lines=without("event.received", "event.settled", event="deal"),
            tap=(*passed(*BOTH), tapped("deal", queues=())),
        ),
        "marked sent; the broker saw it and had no queue for it: lost between crm and broker",
        "crm",
        "crm→broker",
    ),
    "in the broker": (
        lambda: happy_but(
            lines=without("event.received", "event.settled", event="deal"), tap=(*passed(*BOTH), tapped("deal"))
        ),
        "put it into automation.events; it was delivered to nobody and no queue holds it: lost in the broker",
        "broker",
        "automation→broker",
    ),
    "on the way to automation": (
        lambda: happy_but(lines=without("event.received", "event.settled", event="deal")),
        "delivered it to automation; automation logged nothing of it: lost in automation before event.received",
        "automation",
        "automation→broker",
    ),
    "in automation": (
        lambda: happy_but(lines=without("event.settled", event="deal")),
        "received, and no more; the database has no processed row and no queue holds it: lost in automation",
        "automation",
        "automation→broker",
    ),
    "on the way to automation's database": (
        lambda: happy_but(),
        "acked; the database has no processed row and no queue holds it: lost between automation and database",
        "automation",
        "automation→database",
    ),
}


@pytest.mark.parametrize("hop", LOST)
def test_an_event_that_is_lost_is_lost_at_the_hop_that_nobody_saw(hop: str) -> None:
    story, says, service, edge = LOST[hop]
    finding = the_finding(check(story()))
    assert says in finding.says
    assert OF_DEAL in finding.says
    assert (finding.service, finding.edge, finding.severity) == (service, edge, "critical")
    assert (finding.entity, finding.correlation_id) == (f"deal {OF_DEAL}", uid("moved"))
    assert 3 <= len(finding.trace) <= 15
    assert "✗" in finding.trace[-1]


@pytest.mark.parametrize(
    ("last", "says"),
    [("retried", "lost on the ladder"), ("requeued", "requeued;"), ("dead_lettered", "dead-lettered;")],
)
def test_an_event_that_left_automation_and_came_to_nowhere_is_lost_behind_it(last: str, says: str) -> None:
    story = created_lead(Story())
    moved_lead(story)
    received(story, "moved", "d1")
    if last == "dead_lettered":
        died(story, "d1", attempts=1)
    else:
        settled(story, "moved", "d1", last)
    rows = happy_rows(deals=(), outbox=(stored("created"), stored("moved")), processed=(processed("created"),))
    finding = the_finding(check(happy_evidence(story.lines, rows=rows, tap=passed(*BOTH))))
    assert says in finding.says
    assert (finding.service, finding.edge) == ("automation", "automation→broker")


def test_a_replayed_event_that_comes_to_nowhere_is_lost_behind_the_replay() -> None:
    story = exhausted_lead(created_lead(Story()))
    story.write("automation", "dead_letter.replayed", "replay", event="moved")
    rows = happy_rows(deals=(), outbox=(stored("created"), stored("moved")), processed=(processed("created"),))
    tap = (*passed(*BOTH), *[delivered("moved")] * 4)
    assert "replayed;" in the_finding(check(happy_evidence(story.lines, rows=rows, tap=tap))).says


# --- an event that arrived, of which two witnesses contradict each other ----------------------------------------


def test_a_publish_that_the_log_confirms_and_the_broker_never_saw_is_a_contradiction() -> None:
    result = check(happy_evidence(tap=(*passed(*BOTH), delivered("deal"))))
    finding = the_finding(result)
    assert "crm logged it as confirmed; the broker never saw it" in finding.says
    assert (finding.edge, finding.severity) == ("crm→broker", None)


def test_a_row_marked_sent_that_the_broker_never_saw_is_a_contradiction() -> None:
    story = happy_evidence(without("event.published", event="deal"), tap=(*passed(*BOTH), delivered("deal")))
    assert "marked sent; the broker never saw it" in the_finding(check(story)).says


def test_a_copy_on_the_ladder_is_no_publish_of_its_service() -> None:
    copy = tapped("deal", exchange="", routing_key="automation.retry.1", queues=("automation.retry.1",))
    story = happy_evidence(tap=(*passed(*BOTH), copy, delivered("deal")))
    assert "the broker never saw it" in the_finding(check(story)).says


def test_a_publish_that_only_the_broker_knows_of_is_a_contradiction() -> None:
    finding = the_finding(check(happy_evidence(without("event.published", event="deal"))))
    assert "the broker saw it; crm logged no event.published" in finding.says


def test_a_published_event_whose_row_is_unsent_is_a_contradiction() -> None:
    outbox = (*(stored(name) for name in BOTH), stored("deal", sent=False))
    finding = the_finding(check(happy_evidence(rows=happy_rows(outbox=outbox))))
    assert "the broker saw it 1 times; its outbox row is still unsent" in finding.says
    assert finding.edge == "crm→database"


def test_an_event_that_was_logged_as_stored_and_is_in_no_outbox_is_a_contradiction() -> None:
    finding = the_finding(check(happy_evidence(rows=happy_rows(outbox=tuple(stored(name) for name in BOTH)))))
    assert "crm logged event.stored; the outbox has no such row" in finding.says


def test_an_outbox_row_that_nobody_logged_is_a_contradiction() -> None:
    finding = the_finding(check(happy_evidence(without("event.stored", event="deal"))))
    assert "the outbox has its row; crm logged no event.stored" in finding.says


def test_a_reception_that_the_broker_never_made_is_a_contradiction() -> None:
    finding = the_finding(check(happy_evidence(tap=(*passed(*BOTH), tapped("deal")))))
    assert "automation logged event.received 1 times; the broker delivered it 0 times" in finding.says


def test_a_processed_row_of_an_event_that_was_never_received_is_a_contradiction() -> None:
    finding = the_finding(check(happy_evidence(without("event.received", "event.settled", event="deal"))))
    assert "the database has its processed row; automation logged nothing of it" in finding.says
    assert finding.edge == "automation→database"


@pytest.mark.parametrize("changes", [{"correlation_id": uid("another")}, {"entity_id": uid("another")}])
@pytest.mark.parametrize("kind", ["event.published", "event.received", "rule.evaluated", "event.settled"])
def test_a_line_about_an_event_that_names_another_flow_or_entity_is_a_contradiction(
    kind: str, changes: dict[str, str]
) -> None:
    story = whole_log()
    line = next(line for line in story.lines if kind_of(line) == kind and line.event_id == uid("moved"))
    for name, value in changes.items():
        setattr(line, name, value)
    finding = the_finding(check(happy_evidence(story.lines)))
    assert f"{kind} of {line.service} names" in finding.says
    assert uid("another") in finding.says


@pytest.mark.parametrize("kind", ["event.stored", "event.published"])
def test_a_line_about_an_event_that_names_another_cause_than_its_row_is_a_contradiction(kind: str) -> None:
    """As where the row has none: what the service knew while it worked, nobody behind the broker will."""
    story = whole_log()
    line = next(line for line in story.lines if kind_of(line) == kind and line.event_id == uid("deal"))
    line.causation_id = uid("created")
    finding = the_finding(check(happy_evidence(story.lines)))
    assert f"caused by {uid('created')}, unlike its outbox row" in finding.says


def test_an_event_that_only_a_log_line_knows_is_a_contradiction() -> None:
    story = whole_log()
    story.flow = "moved"
    published(story, "poison", status="unknown")
    finding = the_finding(check(happy_evidence(story.lines)))
    assert "event.published of crm tells of it; no outbox holds it, and the broker never saw it" in finding.says
    assert (finding.edge, finding.correlation_id) == ("crm→broker", uid("moved"))


def test_the_trace_shows_hop_by_hop_who_saw_the_event_pass() -> None:
    lines = without("event.settled", event="deal")
    stored_at = next(line.ts for line in lines if kind_of(line) == "event.stored" and line.event_id == OF_DEAL)
    trace = the_finding(check(happy_but(lines=lines))).trace
    assert [" ".join(text.split()) for text in trace[:-1]] == [
        f"log event.stored at {stored_at[11:26]}",
        "database outbox row, sent",
        "log event.published, confirmed",
        "broker published 1 times, routed to automation.events",
        "broker delivered 1 times",
        "log event.received 1 times, last received",
        "end neither processed, nor discarded, nor in any queue",
    ]
    assert trace[-1].strip().startswith("automation  ✗ automation logged that it was received")


# --- clients, log and database on changes -----------------------------------------------------------------------


def test_a_change_that_client_and_log_know_and_the_database_does_not_is_lost_between() -> None:
    rows = happy_rows(history=(), stages=())
    finding = the_finding(check(happy_evidence(rows=rows)))
    assert "told of version 1 and pipeline logged change.committed; the database has no such version" in finding.says
    assert "lost between pipeline and database" in finding.says
    assert (finding.edge, finding.entity) == ("pipeline→database", f"lead {uid('lead')}")


def test_a_change_that_only_the_client_knows_is_lost_in_the_service() -> None:
    lines = [
        line for line in whole_log().lines if not (kind_of(line) == "change.committed" and line.service == "pipeline")
    ]
    finding = the_finding(check(happy_evidence(lines, rows=happy_rows(history=(), stages=()))))
    assert "pipeline logged no change.committed" in finding.says
    assert "lost in pipeline" in finding.says


def test_a_change_that_only_the_log_knows_is_lost_between_service_and_database() -> None:
    rows = happy_rows(history=(), stages=())
    finding = the_finding(check(happy_evidence(rows=rows, operations=(lead_asked(), move_asked(None)))))
    assert "pipeline logged change.committed of version 1; the database has no such version" in finding.says


def test_a_lead_or_deal_that_only_the_log_knows_is_found_as_well() -> None:
    leads = happy_evidence(rows=happy_rows(leads=()), operations=(lead_asked(None), move_asked()))
    assert "crm logged change.committed of version 1" in the_finding(check(leads)).says
    deals = check(happy_evidence(rows=happy_rows(deals=())))
    assert any("crm logged change.committed" in finding.says for finding in deals.findings)


def test_a_version_that_only_the_database_knows_is_a_contradiction() -> None:
    rows = happy_rows(leads=(LeadRow(uid("lead"), EMAIL, None, 2),))
    finding = the_finding(check(happy_evidence(rows=rows)))
    assert "the database has version 2; crm logged no change.committed of it" in finding.says


def test_an_answer_that_differs_from_the_logged_one_is_a_contradiction() -> None:
    finding = the_finding(check(happy_evidence(operations=(lead_asked(), move_asked(409)))))
    assert finding.says == "a client was told 409; pipeline logged that it answered 200"
    assert finding.edge == "client→pipeline"


# --- effects ----------------------------------------------------------------------------------------------------


def ruled(action: str, **parameters: Any) -> RuleRow:
    return RuleRow(RULE, "lead.stage.changed", "qualified", action, True, parameters)


def done_by(action: str, *, status: str = "succeeded", rows: dict[str, Any] | None = None, **parts: Any) -> Result:
    """The log says that this action on the lead succeeded; the rest as it is given."""
    story = created_lead(Story())
    moved_lead(story)
    received(story, "moved", "d1")
    told: dict[str, Any] = {"event": "moved", "cause": "moved", "parent": "d1", "action": action}
    story.write("automation", "rule.evaluated", "rule", **{k: v for k, v in told.items() if k != "action"})
    story.write("automation", "action.started", "act", **told)
    for number, item in enumerate(parts.get("received", ())):
        called(story, str(number), item)
    story.write("automation", "action.completed", "act", status=status, **told)
    settled(story, "moved", "d1")
    parameters = parts.pop("parameters", {})
    whole = {
        "deals": (), "outbox": tuple(stored(n) for n in BOTH), "processed": tuple(processed(n) for n in BOTH),
        "rules": (ruled(action, **parameters),),
    }  # fmt: skip
    return check(
        happy_evidence(story.lines, rows=happy_rows(**(whole | (rows or {}))), **({"tap": passed(*BOTH)} | parts))
    )


def called(story: Story, span: str, item: Received) -> None:
    """The lines of a call that brought a receiver this message."""
    told: dict[str, Any] = {"event": "moved", "cause": "moved", "peer": item.kind}
    story.write("automation", "call.sent", f"call {span}", parent="act", **told)
    how = "ok" if item.accepted else "server_error"
    story.write(
        "automation", "call.completed", f"call {span}", parent="act", status=how, http_status=item.status, **told
    )


def sunk(status: int = 204, **changes: Any) -> Received:
    told: dict[str, Any] = {
        "kind": "webhook", "place": "/hooks", "received_at": moment(9), "key": "k", "signed": True, "status": status,
        "digest": "d", "body": "", "correlation_id": uid("moved"), "rule_id": RULE, "entity_id": uid("lead"),
    }  # fmt: skip
    return Received(**(told | changes))


@pytest.mark.parametrize("status", ["succeeded", "skipped"])
@pytest.mark.parametrize(
    ("action", "parts", "lacks", "edge"),
    [
        ("create_deal", {}, "crm has no deal for it", "automation→crm"),
        ("assign_user", {}, "in crm it has no owner", "automation→crm"),
        ("move_stage", {"parameters": {"stage": "proposal"}}, "never had it in proposal", "automation→pipeline"),
        ("notify", {}, "no receiver accepted a message of it", "automation→webhook"),
        ("notify", {"received": (sunk(500),)}, "no receiver accepted a message of it", "automation→webhook"),
        ("notify", {"parameters": {"channel": "mail"}}, "no receiver accepted", "automation→mail"),
        ("escalate", {"received": (sunk(rule_id="other"),)}, "no receiver accepted", "automation→webhook"),
    ],
)
def test_an_action_that_is_said_to_be_done_and_has_no_effect_is_lost_on_the_way(
    status: str, action: str, parts: dict[str, Any], lacks: str, edge: str
) -> None:
    finding = the_finding(done_by(action, status=status, **parts))
    assert finding.says.startswith(f"automation logged that {action} of rule {RULE} is done; ")
    assert lacks in finding.says
    assert (finding.edge, finding.severity, finding.entity) == (edge, "critical", f"lead {uid('lead')}")


def test_an_execution_row_is_a_claim_as_well() -> None:
    row = ExecutionRow(RULE, "lead", uid("lead"), uid("moved"), "succeeded", 1, uid("moved"))
    finding = the_finding(done_by("create_deal", status="failed", rows={"executions": (row,)}))
    assert finding.says.startswith("the database says that create_deal")
    started = msgspec.structs.replace(row, status="started")
    assert done_by("create_deal", status="failed", rows={"executions": (started,)}).status == "pass"


@pytest.mark.parametrize(
    ("action", "parts"),
    [
        ("assign_user", {"rows": {"leads": (LeadRow(uid("lead"), EMAIL, None, 1, uid("alice")),)}}),
        ("move_stage", {"parameters": {"stage": "qualified"}}),
        ("notify", {"received": (sunk(500), sunk(204))}),
        ("notify", {"received": (sunk(250, kind="mail", place="sales@crm.test"),), "parameters": {"channel": "mail"}}),
        ("escalate", {"received": (sunk(200),)}),
        ("an action of tomorrow", {}),
    ],
)
def test_an_action_whose_effect_shows_passes(action: str, parts: dict[str, Any]) -> None:
    assert done_by(action, **parts).status == "pass"


def test_an_owner_that_a_client_has_taken_away_again_is_no_lost_effect() -> None:
    taken = operation("change_lead", 200, flow="dealt", answer={"version": 1})
    assert done_by("assign_user", operations=(lead_asked(), move_asked(), taken)).status == "pass"


# --- receivers outside ------------------------------------------------------------------------------------------


def came(
    *received: Received, calls: int = 1, flow: str = "moved", lost_lines: bool = False, until: str = "", **parts: Any
) -> Result:
    """The happy story; automation logged so many calls of a webhook in it, and this is what came."""
    story = qualified_lead(created_lead(Story()))
    story.flow = flow
    for number in range(calls):
        called(story, str(number), sunk())
    whole = happy_evidence(story.lines, received=received, **parts)
    if until:
        whole = replace(whole, scenario=msgspec.structs.replace(whole.scenario, until=until))
    if lost_lines:
        whole = replace(whole, logs=tuple(replace(log, lost=(hole(log.service),)) for log in whole.logs))
    return check(whole)


def hole(service: str) -> LostLines:
    return LostLines(service, f"{service}-1", f"{service}-1.ndjson", 90, 91, moment(0), moment(99))


def test_each_attempt_that_was_logged_may_have_come() -> None:
    assert came(sunk(500), sunk(), calls=2).status == "pass"
    assert came(sunk(), calls=2).status == "pass"


def test_a_message_that_came_more_often_than_it_was_sent_is_a_contradiction() -> None:
    finding = the_finding(came(sunk(500), sunk()))
    assert finding.says == "webhook received 2 message(s) of one flow, for which automation logged 1 call(s)"
    assert (finding.edge, finding.correlation_id) == ("automation→webhook", uid("moved"))


def test_a_message_that_nobody_logged_a_call_for_is_a_contradiction() -> None:
    assert "automation logged 0 call(s)" in the_finding(came(sunk(), calls=0)).says


def test_a_call_in_one_flow_does_not_stand_for_a_message_in_another() -> None:
    assert "automation logged 0 call(s)" in the_finding(came(sunk(), flow="created")).says


def test_a_message_that_a_fault_has_repeated_came_more_often_and_passes() -> None:
    twice = Fault(
        kind="duplicate at request", place="automation→webhook", injected_at="", healed_at="", hits=1, proof=""
    )
    assert came(sunk(), sunk(), faults=(twice,)).status == "pass"


def test_a_message_that_came_after_the_last_line_was_read_contradicts_nobody() -> None:
    assert came(sunk(), sunk(received_at="2027"), until=moment(1000)).status == "pass"


def test_a_message_without_its_call_while_lines_of_automation_are_missing_is_a_doubt() -> None:
    assert came(sunk(), calls=0, lost_lines=True).status == "unknown"


@pytest.mark.parametrize("wrong", [{"correlation_id": uid("created")}, {"entity_id": uid("deal")}])
def test_a_message_that_names_another_flow_or_entity_than_its_event_is_a_contradiction(wrong: dict[str, Any]) -> None:
    assert came(sunk(event_id=uid("moved"))).status == "pass"
    flow = "created" if "correlation_id" in wrong else "moved"
    finding = the_finding(came(sunk(event_id=uid("moved"), **wrong), flow=flow))
    assert finding.says.startswith(f"webhook was told of event {uid('moved')} as one of flow")


# --- moments ----------------------------------------------------------------------------------------------------


def told_at(occurred_at: str, *, skew_s: float = 0.0) -> Result:
    """The happy story, with an event of pipeline, whose clock may be fast, that says it occurred then."""
    body = body_of("moved", occurred_at=occurred_at)
    tap = [msgspec.structs.replace(m, body=body) if m.message_id == uid("moved") else m for m in passed(*BOTH, "deal")]
    whole = happy_evidence(tap=tuple(tap))
    return check(
        replace(whole, logs=tuple(replace(log, skew_s=skew_s * (log.service == "pipeline")) for log in whole.logs))
    )


def answered_with(**answer: Any) -> Result:
    """The client was answered so at the end of a minute in which it had asked."""
    asked = msgspec.structs.replace(
        move_asked(), answer=move_asked().answer | answer, invoked_ns=0, returned_ns=60_000_000_000
    )
    whole = happy_evidence(operations=(lead_asked(), asked))
    return check(
        replace(whole, scenario=msgspec.structs.replace(whole.scenario, clock=("2026-01-01T12:00:00.000000Z", 0)))
    )


def test_an_event_that_occurred_when_its_request_was_handled_passes() -> None:
    assert told_at(moment(3)).status == "pass"
    assert told_at("2026-01-01T01:00:03.000000Z", skew_s=3600.0).status == "pass"


@pytest.mark.parametrize("hour", ["2025-12-31T14:30", "2026-01-01T09:30"])
def test_an_event_that_says_it_occurred_hours_before_or_after_is_a_contradiction(hour: str) -> None:
    finding = the_finding(told_at(f"{hour}:03.000000Z"))
    assert finding.says.startswith(f"event {uid('moved')} says that it occurred at {hour}:03")
    assert (finding.service, finding.entity) == ("pipeline", f"lead {uid('lead')}")


@pytest.mark.parametrize("when", [None, "2026-01-01T12:00:30Z", "2026-01-01T02:30:30.5-09:30"])
def test_an_answer_that_tells_when_it_was_asked_for_passes(when: str | None) -> None:
    assert answered_with(changed_at=when).status == "pass"


@pytest.mark.parametrize("when", ["2026-01-01T02:30:30Z", "2026-01-01T21:30:30Z", "2026-01-01T12:00:30", "noon"])
def test_an_answer_that_is_hours_wrong_or_has_no_zone_is_a_contradiction(when: str) -> None:
    finding = the_finding(answered_with(changed_at=when))
    assert finding.says.startswith(f"pipeline answers move_stage with changed_at {when}")
    assert finding.edge == "client→pipeline"


# --- good stories that look bad ---------------------------------------------------------------------------------


def test_the_happy_story_passes_and_counts_its_events() -> None:
    result = check(happy_evidence())
    assert (result.status, result.seen, result.floor) == ("pass", 3, 2)


def test_a_confirm_that_was_lost_makes_two_messages_and_no_contradiction() -> None:
    story = duplicated_lead()
    whole = [*created_lead(Story()).lines, *story.lines]
    tap = (*passed(*ALL), tapped("moved"), delivered("moved", redelivered=True))
    assert check(happy_evidence(whole, tap=tap)).status == "pass"


def test_a_delivery_that_a_cut_took_away_and_that_came_again_passes() -> None:
    assert check(happy_evidence(tap=(*passed(*ALL), delivered("moved")))).status == "pass"


def test_a_message_that_the_harness_published_again_passes() -> None:
    story = whole_log()
    story.flow = "moved"
    received(story, "deal", "again", redelivered=False)
    story.write("automation", "event.deduplicated", "again", event="deal")
    settled(story, "deal", "again")
    assert check(happy_evidence(story.lines, tap=(*passed(*ALL), *passed("deal")))).status == "pass"


def test_a_dead_letter_that_rests_or_was_discarded_or_replayed_has_arrived() -> None:
    rows = happy_rows(deals=(), outbox=(stored("created"), stored("moved")), processed=(processed("created"),))
    tap = (*passed(*BOTH), *[delivered("moved")] * 4)
    dead = exhausted_lead(created_lead(Story()))
    assert check(happy_evidence(dead.lines, rows=rows, tap=tap, resting=(resting("moved"),))).status == "pass"
    dead.write("automation", "dead_letter.discarded", "discard", event="moved")
    assert check(happy_evidence(dead.lines, rows=rows, tap=tap)).status == "pass"
    again = replayed_lead(created_lead(Story()))
    assert check(happy_evidence(again.lines, tap=(*passed(*ALL), *[delivered("moved")] * 5))).status == "pass"


@pytest.mark.parametrize("queue", ["automation.events", "automation.retry.3", "automation.undeliverable"])
def test_an_event_that_waits_in_a_queue_has_arrived(queue: str) -> None:
    lines = without("event.received", "event.settled", event="deal")
    waiting = happy_but(lines=lines, tap=(*passed(*BOTH), tapped("deal")), resting=(resting("deal", queue),))
    assert check(waiting).status == "pass"


def test_what_the_broker_itself_buried_was_received_by_nobody_and_has_arrived() -> None:
    story = Story(lines=without("event.received", "event.settled", event="deal"))
    story.flow = "moved"
    story.write("automation", "event.dead_lettered", "burial", event="deal", reason="delivery_limit", attempts=0)
    story.write("automation", "dead_letter.replayed", "replay", event="deal")
    many = (*passed(*BOTH), tapped("deal"), *[delivered("deal")] * 21)
    assert check(happy_but(lines=story.lines, tap=many, resting=(resting("deal"),))).status == "pass"


def killed_broker(place: str = "broker", kind: str = "SIGKILL") -> tuple[Fault, ...]:
    return (Fault(kind=kind, place=place, injected_at=moment(0), healed_at=moment(9), hits=1, proof=""),)


@pytest.mark.parametrize("place", ["broker", "rabbitmq"])
def test_a_tap_that_missed_messages_because_its_broker_was_killed_contradicts_nobody(place: str) -> None:
    assert check(happy_evidence(tap=(), faults=killed_broker(place))).status == "pass"
    for kind in ("SIGSTOP", "closed"):
        assert check(happy_evidence(tap=(), faults=killed_broker("rabbitmq", kind))).status == "fail"


def test_an_event_that_a_killed_broker_lost_for_good_is_lost_all_the_same() -> None:
    lost = happy_but(
        lines=without("event.received", "event.settled", event="deal"), tap=passed(*BOTH), faults=killed_broker()
    )
    finding = the_finding(check(lost))
    assert "lost in the broker, which was killed" in finding.says


def test_a_service_that_was_killed_after_its_commit_did_not_live_to_log_it() -> None:
    unlogged = ("change.committed", "event.stored", "event.published", "http.request.completed")
    lines = [line for line in whole_log().lines if not (line.service == "crm" and kind_of(line) in unlogged)]
    asked = (lead_asked(None), move_asked())
    assert check(happy_evidence(lines, killed=["crm-1"], operations=asked)).status == "pass"
    assert check(happy_evidence(lines, operations=asked)).status == "fail"


def test_a_service_that_answered_has_logged_its_commit_before_whatever_killed_it_then() -> None:
    lines = without("event.stored", event="deal")
    assert check(happy_evidence(lines, killed=["crm-1"])).status == "fail"


def test_a_kill_before_the_scenario_explains_nothing_in_it() -> None:
    before = happy_evidence(without("event.published", event="deal"))
    old = replace(before.logs[0], service="crm", instance="crm-0", killed=True, lines=())
    assert check(replace(before, logs=(*before.logs, old))).status == "fail"


def test_a_commit_whose_answer_was_lost_may_be_unknown_to_its_service() -> None:
    story = created_lead(Story())
    story.flow = "moved"
    asked(story, "pipeline", "patch")
    answered(story, "pipeline", "patch", 500)
    published(story, "moved")
    received(story, "moved", "d1")
    acted(story, "d1")
    settled(story, "moved", "d1")
    dealt(story)
    unknown = happy_evidence(story.lines, operations=(lead_asked(), move_asked(None)))
    assert check(unknown).status == "pass"


def test_a_database_that_was_cut_off_leaves_commits_that_nobody_knew_of() -> None:
    lines = without("event.stored", "change.committed", event="moved")
    assert check(happy_evidence(lines)).status == "fail"
    cut = killed_broker("pipeline→database", "cut")
    assert check(happy_evidence(lines, faults=cut)).status == "pass"


def test_a_planted_message_is_nobodys_to_account_for() -> None:
    story = whole_log()
    story.flow = "poison"
    story.write("automation", "event.received", "p1", event="poison")
    story.write("automation", "event.dead_lettered", "p1", event="poison", reason="schema_invalid", attempts=1)
    settled(story, "poison", "p1", "dead_lettered")
    tap = (*passed(*ALL), *passed("poison"))
    assert check(happy_evidence(story.lines, tap=tap, plan=[planted()])).status == "pass"


def test_a_client_that_was_told_nothing_or_refused_contradicts_nobody() -> None:
    refused = operation("create_lead", 409, flow="dealt")
    nothing = operation("create_lead", None, flow="poison")
    told = (lead_asked(), move_asked(), refused, nothing)
    assert check(happy_evidence(operations=told)).status == "pass"


def test_a_move_to_where_it_is_already_made_no_version() -> None:
    again = move_asked(flow="dealt", changed=False)
    assert check(happy_evidence(operations=(lead_asked(), move_asked(), again))).status == "pass"


def test_a_change_of_a_user_has_no_row_among_the_evidence() -> None:
    story = whole_log()
    story.flow = "users"
    asked(story, "crm", "patch")
    story.write("crm", "change.committed", "patch", entity=("user", "alice"))
    answered(story, "crm", "patch", 200)
    assert check(happy_evidence(story.lines)).status == "pass"


# --- lines that are missing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "event"),
    [
        (("event.stored",), "deal"),
        (("event.published",), "deal"),
        (("event.received", "event.settled"), "deal"),
        (("change.committed",), "moved"),
    ],
)
def test_a_contradiction_that_a_missing_line_explains_is_a_doubt_that_names_the_line(
    kinds: tuple[str, ...], event: str, tmp_path: Path
) -> None:
    story = whole_log()
    gone = [n for n, line in enumerate(story.lines) if kind_of(line) in kinds and line.event_id == uid(event)]
    if kinds == ("change.committed",):
        gone = [n for n, line in enumerate(story.lines) if kind_of(line) in kinds and line.service == "pipeline"]
    kept = [line for number, line in enumerate(story.lines) if number not in gone]
    result = check(happy_evidence(kept, lost=lost_from(tmp_path, story.lines, gone)))
    assert (result.status, result.findings) == ("unknown", ())
    assert f"seq {story.lines[gone[0]].seq}" in result.doubts[0]


def test_lines_that_one_service_lost_put_no_other_one_in_doubt(tmp_path: Path) -> None:
    story = whole_log()
    gone = [n for n, line in enumerate(story.lines) if kind_of(line) == "rule.evaluated"]
    kept = [line for n, line in enumerate(story.lines) if n not in gone]
    lost = lost_from(tmp_path, story.lines, gone)
    finding = the_finding(check(happy_evidence(kept, lost=lost, rows=happy_rows(history=(), stages=()))))
    assert "lost between pipeline and database" in finding.says


def test_an_event_lost_while_lines_of_its_consumer_are_missing_is_a_doubt(tmp_path: Path) -> None:
    story = whole_log()
    gone = [
        n for n, line in enumerate(story.lines) if line.service == "automation" and line.event_id == OF_DEAL
    ]  # fmt: skip
    kept = [line for number, line in enumerate(story.lines) if number not in gone]
    result = check(happy_but(lines=kept, lost=lost_from(tmp_path, story.lines, gone)))
    assert (result.status, len(result.doubts)) == ("unknown", 1)
    assert "automation logged nothing of it" in result.doubts[0]


# --- how much it has to see -------------------------------------------------------------------------------------


def test_nothing_at_all_is_idle_and_an_acknowledged_change_without_any_event_is_not() -> None:
    assert check(evidence()).status == "idle"
    nothing = check(evidence(operations=(move_asked(),)))
    assert (nothing.status, nothing.floor) == ("fail", 1)


def test_one_lost_event_is_one_finding_among_a_hundred_that_arrived() -> None:
    names = [f"e{number}" for number in range(100)]
    rows = Rows(
        outbox=tuple(stored("moved", event_id=uid(name)) for name in names),
        processed=tuple(msgspec.structs.replace(processed("moved"), event_id=uid(name)) for name in names[1:]),
    )
    tap = tuple(tapped("moved", message_id=uid(name)) for name in names)
    lost: list[Finding] = [f for f in check(evidence(rows=rows, tap=tap)).findings if f.severity == "critical"]
    assert [uid("e0") in finding.says for finding in lost] == [True]


# --- what a refusal says of itself ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"correlation_id": "another"}, "correlation_id another"),
        ({"status": 404}, "status 404"),
        ({"correlation_id": None, "status": None}, "status missing, correlation_id missing"),
    ],
)
def test_a_refusal_that_names_another_flow_or_status_than_its_own_fails(answer: dict[str, Any], says: str) -> None:
    refused = operation("move_stage", 409, flow="refused", answer=answer)
    finding = the_finding(check(happy_but(unprocessed=False, operations=(lead_asked(), move_asked(), refused))))
    assert finding.says == f"a client was answered 409, and the answer says of itself: {says}"
    assert finding.correlation_id == uid("refused")


@pytest.mark.parametrize(("told", "says"), [("", "missing"), ("another", "another")])
def test_an_answer_that_names_another_flow_in_its_headers_or_none_fails(told: str, says: str) -> None:
    asked = msgspec.structs.replace(move_asked(), flow_told=told)
    finding = the_finding(check(happy_but(unprocessed=False, operations=(lead_asked(), asked))))
    assert finding.says == f"a client was answered 200, and the answer says of itself: X-Correlation-Id {says}"


def test_a_refusal_that_says_what_it_is_in_its_flow_passes() -> None:
    refused = msgspec.structs.replace(operation("move_stage", 409, flow="refused"), flow_told=uid("refused"))
    result = check(happy_but(unprocessed=False, operations=(lead_asked(), move_asked(), refused)))
    assert result.findings == ()
