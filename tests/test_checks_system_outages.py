"""An outage is nobody's failed attempt: it buries nothing, and what it holds up has all its attempts left."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from harness.checks.outage_dead_letters_nothing import AFTER_S, PROPERTY
from harness.checks.verdict import Result
from harness.contract.log_lines import Line
from harness.evidence.outages import outages
from harness.evidence.records import ExpectedDeadLetter, Fault, OutboxRow, Rows
from tests.builders import (
    Story,
    called,
    died,
    evaluated,
    evidence,
    exhausted_lead,
    moment,
    moved_lead,
    planted,
    received,
    resting,
    retried_lead,
    scenario,
    settled,
    started,
    stored,
    target,
    the_finding,
    uid,
)


def fault(
    kind: str = "cut", place: str = "automation→crm", *, since: int = 1, until: int = 60, known: bool = True
) -> Fault:
    """In effect from its first second on, and until its last."""
    times: dict[str, Any] = {"effective_at": moment(since), "healing_at": moment(until)} if known else {}
    return Fault(kind=kind, place=place, injected_at=moment(since), healed_at=moment(until), hits=1, proof="", **times)


def judged(lines: list[Line], *faults: Fault, outbox: tuple[OutboxRow, ...] = (), **parts: Any) -> Result:
    return PROPERTY.check(evidence(lines, faults=faults, rows=Rows(outbox=outbox), **parts))


def announced(reason: str = "exhausted") -> Any:
    return scenario(expected_dead_letters=(ExpectedDeadLetter(correlation_id=uid("moved"), reason=reason),))


def died_at_once(reason: str = "non_retryable") -> list[Line]:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    died(story, "d1", attempts=1, reason=reason, error="crm: connection_error")
    return story.lines


def climbing(http_status: int | None = None) -> list[Line]:
    """One delivery whose call to crm was answered so, or not at all, and that went up the ladder."""
    story = moved_lead(Story())
    received(story, "moved", "d1")
    evaluated(story, "d1")
    started(story, "d1")
    called(story, "d1", http_status=http_status)
    settled(story, "moved", "d1", "retried")
    return story.lines


# --- what died --------------------------------------------------------------------------------------------------


def test_an_event_exhausted_by_an_outage_is_blamed_on_it_with_fault_and_dependency() -> None:
    result = judged(exhausted_lead().lines, fault(known=False))
    assert the_finding(result).says == (
        "1 event(s) were dead-lettered by the outage of crm (cut on automation→crm): "
        f"event {uid('moved')}, exhausted (crm: timeout)"
    )
    assert (result.findings[0].edge, result.findings[0].correlation_id) == ("automation→crm", uid("moved"))


def test_two_that_died_of_one_outage_are_one_finding() -> None:
    story = exhausted_lead()
    received(story, "deal", "x1")
    died(story, "x1", event="deal", attempts=1, reason="non_retryable")
    assert "2 event(s) were dead-lettered" in the_finding(judged(story.lines, fault(known=False))).says


def test_an_event_given_up_at_once_because_nobody_answered_is_blamed_on_the_outage() -> None:
    assert "non_retryable (crm: connection_error)" in the_finding(judged(died_at_once(), fault())).says


@pytest.mark.parametrize(
    ("kind", "place", "dependency"),
    [
        ("SIGKILL", "postgres", "database"),
        ("SIGSTOP", "rabbitmq", "broker"),
        ("SIGTERM", "pipeline", "pipeline"),
        ("memory alarm", "the broker's memory", "broker"),
        ("deleted", "the work queue", "broker"),
        ("cut", "automation→database", "database"),
        ("restart", "postgres", "database"),
        ("clock", "crm", "crm"),
        ("read-only", "postgres", "database"),
        ("terminated", "automation→database", "database"),
        ("exhausted", "postgres", "database"),
        ("closed", "automation→broker", "broker"),
        ("deleted", "the exchange", "broker"),
        ("full at 1", "the work queue", "broker"),
    ],
)
def test_every_fault_that_takes_a_dependency_away_is_an_outage(kind: str, place: str, dependency: str) -> None:
    assert (
        f"the outage of {dependency} ({kind} on {place})"
        in the_finding(judged(died_at_once(), fault(kind, place))).says
    )


def test_what_dies_because_a_peer_has_lost_its_database_is_blamed_on_that() -> None:
    finding = the_finding(judged(died_at_once("exhausted"), fault(place="crm→database")))
    assert "the outage of database (cut on crm→database)" in finding.says
    assert finding.edge == "crm→database"


def test_a_peer_without_its_database_is_not_gone() -> None:
    assert judged(climbing(), fault(place="crm→database")).status == "pass"


@pytest.mark.parametrize(("http_status", "verdict"), [(503, "fail"), (500, "pass"), (404, "pass")])
def test_an_attempt_turned_away_by_a_peer_without_its_database_fails(http_status: int, verdict: str) -> None:
    assert judged(climbing(http_status), fault(place="crm→database")).status == verdict


def test_a_call_that_was_sent_before_the_outage_may_have_been_turned_away_for_something_else() -> None:
    sent = next(line for line in climbing(503) if line.status == "sent")
    outage = fault(place="crm→database", since=int(sent.ts[17:19]) + 1)
    assert judged(climbing(503), outage).status == "pass"


def test_a_dead_letter_that_nobody_told_of_is_blamed_on_the_outage_too() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    finding = the_finding(judged(story.lines, fault(), resting=(resting("moved"),)))
    assert finding.says.endswith(f"event {uid('moved')}, without a word")


def test_what_is_tried_shortly_after_the_outage_and_dies_is_blamed_on_it() -> None:
    assert judged(died_at_once(), fault(since=1, until=3)).status == "fail"


def test_an_event_that_was_tried_before_the_outage_as_well_and_dies_in_it_is_blamed_on_it() -> None:
    lines = exhausted_lead().lines
    second_try = [line for line in lines if line.status == "received"][1]
    assert judged(lines, fault(since=int(second_try.ts[17:19]), known=False)).status == "fail"


def test_what_was_announced_has_its_own_reason() -> None:
    result = judged(died_at_once("exhausted"), fault(), scenario=announced())
    assert result.status == "pass"


def test_poison_dies_on_any_day() -> None:
    assert judged(died_at_once("schema_invalid"), fault()).status == "pass"
    story = Story(flow="poison")
    received(story, "poison", "p1")
    died(story, "p1", event="poison", attempts=1, reason="non_retryable")
    assert judged(story.lines, fault(), plan=[planted("non_retryable")]).status == "pass"


@pytest.mark.parametrize("since", [-30, 100])
def test_a_death_long_before_or_after_an_outage_is_not_blamed_on_it(since: int) -> None:
    lines = died_at_once()
    for line in lines:
        line.ts = moment(40 + int(line.ts[17:19]))
    assert judged(lines, fault(since=max(0, since), until=max(0, since) + 5)).status == "pass"
    assert AFTER_S < 35


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("cut", "automation→webhook"),
        ("slow 50 ms each way", "automation→crm"),
        ("cut", "client→crm"),
        ("cut", "pipeline→broker"),
        ("writes to crm.deals refused", "database rows"),
        ("SIGKILL", "automation"),
        ("table locked", "automation.timers"),
        ("planted malformed", "lead.stage.changed"),
        ("reordered", "the queue's order"),
    ],
)
def test_what_takes_no_dependency_from_automation_is_no_outage_of_its(kind: str, place: str) -> None:
    assert judged(died_at_once(), fault(kind, place)).status == "idle"


# --- what lost an attempt ---------------------------------------------------------------------------------------


def test_an_attempt_spent_on_a_peer_that_is_gone_fails_and_is_named() -> None:
    finding = the_finding(judged(climbing(), fault()))
    assert finding.says == (
        "1 attempt(s) of 1 event(s) were spent on the outage of crm (cut on automation→crm): "
        f"attempt 1 of event {uid('moved')}"
    )


def test_an_attempt_that_came_and_went_without_any_database_fails() -> None:
    assert "the outage of database" in the_finding(judged(climbing(), fault("SIGKILL", "postgres"))).says


def test_a_retry_after_the_undoing_began_may_have_found_it_up_again() -> None:
    healing = moment(int(climbing()[-1].ts[17:19]) - 1)
    assert judged(climbing(), replace(fault(), healing_at=healing)).status == "pass"


def test_a_call_that_failed_before_the_fault_was_in_effect_is_not_blamed_on_it() -> None:
    call = next(line for line in climbing() if line.status == "connection_error")
    assert judged(climbing(), fault(since=int(call.ts[17:19]) + 1)).status == "pass"


def test_a_refusal_of_the_peer_itself_is_an_attempt_outage_or_not() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    called(story, "d1", http_status=503)
    settled(story, "moved", "d1", "retried")
    assert judged(story.lines, fault()).status == "pass"


@pytest.mark.parametrize(("calls", "verdict"), [((201, None), "fail"), ((None, 201), "pass")])
def test_the_last_call_before_it_climbed_tells_why(calls: tuple[int | None, ...], verdict: str) -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    for http_status in calls:
        called(story, "d1", http_status=http_status)
    settled(story, "moved", "d1", "retried")
    assert judged(story.lines, fault()).status == verdict


def test_another_peer_that_did_not_answer_is_not_the_one_that_was_taken_away() -> None:
    assert judged(climbing(), fault(place="automation→pipeline")).status == "pass"


def test_a_delivery_that_was_in_hand_when_the_database_went_may_fail_of_something_else() -> None:
    arrived = next(line for line in climbing() if line.status == "received")
    outage = fault("SIGKILL", "postgres", since=int(arrived.ts[17:19]) + 1)
    assert judged(climbing(), outage).status != "fail"


def test_a_fault_that_does_not_say_since_when_it_was_in_effect_proves_no_attempt_burnt() -> None:
    assert judged(climbing(), fault(known=False)).status == "pass"


def test_an_event_that_is_held_and_then_handled_passes() -> None:
    story = moved_lead(Story())
    received(story, "moved", "d1")
    called(story, "d1", http_status=None)
    called(story, "d1", http_status=201)
    settled(story, "moved", "d1")
    assert judged(story.lines, fault()).status == "pass"


def test_without_an_outage_it_is_idle() -> None:
    assert judged(retried_lead().lines).status == "idle"


def test_events_and_no_delivery_to_look_at_are_unknown() -> None:
    assert judged([], fault(), outbox=(stored("moved"),)).status == "unknown"


# --- outages ----------------------------------------------------------------------------------------------------


def test_healing_an_edge_ends_every_fault_on_it() -> None:
    first, second = fault(since=10, until=60), fault("slow 9 ms each way", since=20, until=30)
    (outage,) = outages(target(), [first, second])
    assert (outage.since, outage.until, outage.last) == (moment(10), moment(30), moment(60))


def test_a_server_is_lost_by_all_and_a_service_by_who_calls_it() -> None:
    servers = outages(target(), [fault("SIGKILL", "postgres"), fault("SIGKILL", "crm")])
    assert [(o.dependency, sorted(o.services)) for o in servers] == [
        ("database", ["automation", "crm", "pipeline"]),
        ("crm", ["automation", "pipeline"]),
    ]


@pytest.mark.parametrize(("kind", "place"), [("cut", "crm→database"), ("read-only", "postgres")])
def test_what_is_wholly_gone_must_be_seen_by_whoever_looks(kind: str, place: str) -> None:
    (outage,) = outages(target(), [fault(kind, place)])
    assert outage.total


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("restart", "rabbitmq"),
        ("clock", "pipeline"),
        ("terminated", "crm→database"),
        ("exhausted", "postgres"),
        ("closed", "rabbitmq"),
        ("deleted", "the exchange"),
        ("full at 1", "the work queue"),
    ],
)
def test_what_is_there_again_at_once_or_for_some_may_be_missed(kind: str, place: str) -> None:
    (outage,) = outages(target(), [fault(kind, place)])
    assert not outage.total
