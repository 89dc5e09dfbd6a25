"""Where every message ends, and what lies in the dead-letter queue."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checks.dead_letter_accounting import PROPERTY as ACCOUNTING
from harness.checks.message_conservation import PROPERTY as CONSERVATION
from harness.checks.verdict import Result
from harness.contract.log_lines import Line
from harness.evidence.records import ExpectedDeadLetter, Fault, Rows, TapMessage
from tests.builders import (
    Story,
    died,
    evaluated,
    evidence,
    exhausted_lead,
    failed,
    happy_evidence,
    happy_rows,
    moved_lead,
    planted,
    processed,
    received,
    replayed_lead,
    resting,
    retried,
    scenario,
    settled,
    stored,
    tapped,
    the_finding,
    uid,
)

# --- message_conservation ---------------------------------------------------------------------------------------


def conserved(*, made: tuple[str, ...] = ("moved",), done: tuple[str, ...] = (), **parts: Any) -> Result:
    rows = Rows(outbox=tuple(stored(name) for name in made), processed=tuple(processed(name) for name in done))
    return CONSERVATION.check(evidence(rows=rows, **parts))


def test_every_event_of_the_happy_flow_is_processed() -> None:
    result = CONSERVATION.check(happy_evidence())
    assert (result.status, result.seen) == ("pass", 3)


def test_an_event_that_is_nowhere_is_lost_and_named() -> None:
    finding = the_finding(conserved(made=("created", "moved"), done=("created",)))
    assert f"event {uid('moved')} is lost" in finding.says
    assert (finding.entity, finding.correlation_id) == (f"lead {uid('lead')}", uid("moved"))


def test_a_planted_message_that_is_nowhere_is_lost_and_named() -> None:
    finding = the_finding(conserved(made=(), plan=[planted()]))
    assert (finding.entity, finding.correlation_id) == ("planted: a broken body", uid("poison"))


@pytest.mark.parametrize("queue", ["automation.dlq", "automation.events", "automation.retry.2"])
def test_an_event_in_two_places_fails_and_both_are_named(queue: str) -> None:
    finding = the_finding(conserved(done=("moved",), resting=(resting("moved", queue),)))
    assert "in more than one place" in finding.says
    assert queue in finding.says
    assert "processed" in finding.says


@pytest.mark.parametrize("parts", [{"done": ("moved", "deal")}, {"done": ("moved",), "resting": (resting("poison"),)}])
def test_an_event_that_nobody_made_fails(parts: Any) -> None:
    finding = the_finding(conserved(**parts))
    assert "but nobody made it" in finding.says


def test_a_message_without_an_id_fails() -> None:
    finding = the_finding(conserved(done=("moved",), resting=(resting("poison", message_id=None),)))
    assert "(a message without id)" in finding.says


def test_a_discarded_event_that_still_lies_in_the_queue_fails() -> None:
    assert "in more than one place" in the_finding(conserved(lines=discarded(), resting=(resting("moved"),))).says


def discarded() -> list[Line]:
    story = exhausted_lead()
    story.write("automation", "dead_letter.discarded", "discard", event="moved")
    return story.lines


@pytest.mark.parametrize("queue", ["automation.dlq", "automation.events", "automation.retry.4"])
def test_an_event_that_rests_in_a_queue_is_in_its_place(queue: str) -> None:
    assert conserved(resting=(resting("moved", queue),)).status == "pass"


def test_two_copies_of_one_event_in_one_queue_are_one_place() -> None:
    assert conserved(resting=(resting("moved"), resting("moved"))).status == "pass"


def test_a_discarded_event_is_in_its_place() -> None:
    assert conserved(lines=discarded()).status == "pass"


def test_a_replayed_dead_letter_that_was_processed_is_in_one_place() -> None:
    assert conserved(made=("moved", "deal"), done=("moved", "deal"), lines=replayed_lead().lines).status == "pass"


def test_a_planted_message_may_be_processed_or_dead_lettered() -> None:
    assert conserved(made=(), done=("poison",), plan=[planted("processed")]).status == "pass"
    assert conserved(made=(), resting=(resting("poison"),), plan=[planted()]).status == "pass"


def test_no_event_at_all_is_idle() -> None:
    assert conserved(made=()).status == "idle"


def copied(queue: str = "automation.retry.1", name: str = "deal", **changes: Any) -> Any:
    """What the tap saw of a copy that automation itself published into a queue."""
    return tapped(name, **({"exchange": "", "routing_key": queue, "queues": (queue,)} | changes))


def copies(*tap: Any, made: tuple[str, ...] = ("deal",), **parts: Any) -> Result:
    return conserved(made=made, done=made, tap=tap, **parts)


@pytest.mark.parametrize("queue", ["automation.retry.1", "automation.retry.4", "automation.dlq", "automation.events"])
def test_a_copy_that_carries_the_ids_of_its_original_passes(queue: str) -> None:
    assert copies(copied(queue)).status == "pass"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"correlation_id": uid("other")}, f"made with ('{uid('moved')}', '{uid('moved')}')"),
        (
            {"headers": {"causation_id": uid("other")}},
            f"correlation and causation ('{uid('moved')}', '{uid('other')}')",
        ),
        ({"headers": {}}, "None)"),
        ({"message_id": uid("fresh")}, "nobody made that"),
        ({"message_id": None}, "has message id None"),
    ],
)
def test_a_copy_that_lost_its_papers_fails(changes: Any, says: str) -> None:
    finding = the_finding(copies(copied(**changes)))
    assert says in finding.says
    assert "a copy into automation.retry.1" in finding.says


@pytest.mark.parametrize(
    "elsewhere", [{"what": "delivered"}, {"exchange": "crm.events"}, {"routing_key": "somebody.elses.queue"}]
)
def test_what_is_no_copy_into_one_of_our_queues_needs_no_papers(elsewhere: Any) -> None:
    assert copies(copied(**({"headers": {}} | elsewhere))).status == "pass"


def test_a_copy_of_a_planted_message_carries_what_it_was_planted_with() -> None:
    assert copies(copied("automation.dlq", "poison"), plan=[planted("processed")], made=("poison",)).status == "pass"
    strange = copied("automation.dlq", "poison", correlation_id=uid("other"))
    assert uid("poison") in the_finding(copies(strange, plan=[planted("processed")], made=("poison",))).says


@pytest.mark.parametrize("queue", ["automation.retry.1", "automation.dlq", "automation.events"])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"type": None}, "another type"),
        ({"app_id": "automation"}, "another app_id"),
        ({"body": "{}"}, "another body"),
        ({"body": '{"cut":'}, "another body"),
        ({"headers": {"causation_id": uid("moved"), "schema_version": 2}}, "another schema_version"),
        ({"body": "{}", "type": "strange"}, "another type and body"),
    ],
)
def test_a_copy_that_says_something_else_than_its_original_fails(queue: str, changes: Any, says: str) -> None:
    finding = the_finding(copies(tapped("deal"), copied(queue, **changes)))
    assert finding.says == f"a copy into {queue} of {uid('deal')} has {says} than the event had"


def test_a_copy_may_be_written_in_another_way_and_say_the_same() -> None:
    original, again = tapped("deal", body='{"a": 1, "b": [2]}'), copied(body='{"b":[2],"a":1}')
    assert copies(original, again).status == "pass"


def test_a_copy_of_what_no_parser_reads_is_the_same_or_is_not() -> None:
    deep = "[" * 100_000
    assert copies(tapped("deal", body=deep), copied(body=deep)).status == "pass"
    assert copies(tapped("deal", body=deep), copied(body=deep[:-1])).status == "fail"


def test_the_first_of_several_originals_counts_and_none_at_all_proves_nothing() -> None:
    assert copies(tapped("deal"), copied(), tapped("deal", body="{}")).status == "pass"
    assert copies(copied(body="{}")).status == "pass"


def counted(*queues: str, **parts: Any) -> Result:
    """The copies of an event that was retried four times, buried, and replayed once."""
    tap = tuple(copied(queue, "moved", headers={"causation_id": None}) for queue in queues)
    return copies(*tap, made=("moved", "deal"), lines=replayed_lead().lines, **parts)


ALL_COPIES = (
    "automation.retry.1",
    "automation.retry.2",
    "automation.retry.3",
    "automation.retry.4",
    "automation.events",
)


def test_one_copy_for_each_retry_and_each_replay_passes() -> None:
    assert counted(*ALL_COPIES).status == "pass"


@pytest.mark.parametrize(
    ("queue", "says"),
    [
        ("automation.retry.2", "is one of 5 of {}, which was retried 4 times"),
        ("automation.events", "is one of 2 of {}, which was replayed 1 times"),
    ],
)
def test_a_copy_more_than_there_were_retries_or_replays_fails(queue: str, says: str) -> None:
    finding = the_finding(counted(*ALL_COPIES, queue))
    assert says.format(uid("moved")) in finding.says


def test_a_copy_may_come_again_where_a_fault_took_its_confirm() -> None:
    twice = (*ALL_COPIES, "automation.retry.2")
    assert counted(*twice, faults=(repeated("automation→broker"),)).status == "pass"
    assert counted(*twice, faults=(repeated("pipeline→broker"),)).status == "fail"


def test_a_copy_may_come_again_where_the_broker_was_out_of_sight() -> None:
    twice = tuple(
        copied(queue, "moved", headers={"causation_id": None}) for queue in (*ALL_COPIES, "automation.retry.2")
    )
    for dependency, status in (("broker", "pass"), ("database", "fail")):
        story = replayed_lead()
        story.write("automation", "dependency.changed", "health", dependency=dependency)
        assert copies(*twice, made=("moved", "deal"), lines=story.lines).status == status


def test_a_copy_may_come_again_of_whoever_was_killed_before_it_said_so() -> None:
    assert counted(*ALL_COPIES, "automation.retry.2", killed=("automation-1",)).status == "pass"


# --- dead_letter_accounting -------------------------------------------------------------------------------------


def accounted(story: Story, *names: str, expect: str | None = "exhausted", **parts: Any) -> Result:
    """A story after which these dead letters lie in the queue; it was announced that the flow dies of ``expect``."""
    announced = (ExpectedDeadLetter(correlation_id=uid("moved"), reason=expect),) if expect else ()
    record = scenario(expected_dead_letters=announced, planted=tuple(parts.pop("plan", ())))
    whole: dict[str, Any] = {"rows": happy_rows(), "resting": tuple(resting(name) for name in names)} | parts
    return ACCOUNTING.check(evidence(story.lines, scenario=record, **whole))


def poisoned(reason: str = "schema_invalid", *, alert: bool = True) -> Story:
    story = Story(flow="poison")
    received(story, "poison", "x1")
    if alert:
        died(story, "x1", event="poison", attempts=1, reason=reason)
    else:
        settled(story, "poison", "x1")
    return story


def test_an_exhausted_event_with_its_alert_and_its_dead_letter_passes() -> None:
    result = accounted(exhausted_lead(), "moved")
    assert (result.status, result.findings, result.floor) == ("pass", (), 1)


def test_a_planted_poison_with_its_alert_and_its_dead_letter_passes() -> None:
    assert accounted(poisoned(), "poison", expect=None, plan=[planted()]).status == "pass"


def test_a_dead_letter_that_nobody_announced_fails_and_names_its_flow() -> None:
    finding = the_finding(accounted(exhausted_lead(), "moved", expect=None))
    assert "and nothing had to be" in finding.says
    assert (finding.correlation_id, finding.edge) == (uid("moved"), "automation→broker")


def test_a_planted_message_that_was_to_be_processed_must_not_die() -> None:
    finding = the_finding(accounted(poisoned(), "poison", expect=None, plan=[planted("processed")]))
    assert "and nothing had to be" in finding.says


def test_an_event_that_died_of_something_else_fails() -> None:
    finding = the_finding(accounted(exhausted_lead(), "moved", expect="loop_guard"))
    assert finding.says == f"event {uid('moved')} died of exhausted, expected loop_guard"


def test_two_that_died_each_of_the_others_reason_fail() -> None:
    story = exhausted_lead()
    story.flow = "poison"
    received(story, "poison", "x1")
    died(story, "x1", event="poison", attempts=1, reason="schema_invalid")
    swapped = accounted(story, "moved", "poison", expect="schema_invalid", plan=[planted("exhausted")])
    assert {finding.says.partition(" died ")[2] for finding in swapped.findings} >= {
        "of exhausted, expected schema_invalid",
        "of schema_invalid, expected exhausted",
    }
    assert accounted(story, "moved", "poison", plan=[planted("schema_invalid")]).status == "pass"


def test_a_poison_that_was_swallowed_fails() -> None:
    finding = the_finding(accounted(poisoned(alert=False), expect=None, plan=[planted()]))
    assert "had to be dead-lettered (schema_invalid)" in finding.says
    assert finding.correlation_id == uid("poison")


def test_an_announced_death_that_never_came_fails() -> None:
    assert "had to be dead-lettered (exhausted)" in the_finding(accounted(moved_lead(Story()))).says


def test_a_dead_letter_without_an_alert_fails() -> None:
    says = {finding.says for finding in accounted(moved_lead(Story()), "moved", expect=None).findings}
    assert says == {
        f"message {uid('moved')} lies in the dead-letter queue unannounced",
        f"dead letter {uid('moved')} raised no alert",
    }


def test_an_alert_without_its_dead_letter_fails() -> None:
    finding = the_finding(accounted(exhausted_lead()))
    assert "1 alert(s), 0 replayed or discarded, but 0 dead letter(s)" in finding.says
    assert finding.correlation_id == uid("moved")


def test_two_dead_letters_with_one_alert_fail() -> None:
    finding = the_finding(accounted(exhausted_lead(), "moved", "moved"))
    assert "1 alert(s), 0 replayed or discarded, but 2 dead letter(s)" in finding.says


def repeated(place: str, began: str = "2026-01-01T00:00:00.000000Z") -> Fault:
    """A fault that made somebody publish twice."""
    return Fault(kind="cut", place=place, injected_at=began, healed_at="2027-01-01T00:00:00.000000Z", hits=1, proof="")


BURIED_TWICE = (tapped("moved", routing_key="automation.dlq", exchange=""),) * 2


@pytest.mark.parametrize("place", ["automation→broker", "automation", "rabbitmq", "the broker's memory"])
def test_a_burial_whose_confirm_a_fault_took_may_be_done_twice(place: str) -> None:
    twice = accounted(exhausted_lead(), "moved", "moved", tap=BURIED_TWICE, faults=(repeated(place),))
    assert twice.status == "pass"


@pytest.mark.parametrize(
    ("fault", "tap"),
    [
        (repeated("pipeline→broker"), BURIED_TWICE),
        (repeated("automation→broker", "2026-12-31T00:00:00.000000Z"), BURIED_TWICE),
        (repeated("automation→broker"), BURIED_TWICE[:1]),
    ],
    ids=["of-somebody-else", "at-another-time", "but-it-was-done-once"],
)
def test_other_faults_explain_no_second_dead_letter(fault: Fault, tap: tuple[TapMessage, ...]) -> None:
    finding = the_finding(accounted(exhausted_lead(), "moved", "moved", tap=tap, faults=(fault,)))
    assert "but 2 dead letter(s)" in finding.says


def test_a_dead_letter_that_was_replayed_and_lies_there_still_fails() -> None:
    assert "1 alert(s), 1 replayed" in the_finding(accounted(replayed_lead(), "moved")).says


def dead(**changes: Any) -> Any:
    return resting(
        "deal",
        headers={"causation_id": uid("moved"), "dead_letter_reason": "exhausted"} | changes.pop("headers", {}),
        **changes,
    )


@pytest.mark.parametrize(
    ("letter", "says"),
    [
        (dead(correlation_id=uid("other")), f"has correlation {uid('other')}, made as {uid('moved')}"),
        (dead(type="lead.created"), "is a lead.created caused by"),
        (dead(headers={"causation_id": None}), f"caused by None, made as a deal.created caused by {uid('moved')}"),
        (dead(message_id=uid("ghost")), "which nobody made"),
        (dead(message_id=None), "a dead letter with message id None"),
        (resting("deal", headers={"causation_id": uid("moved")}), "says no reason"),
    ],
)
def test_a_dead_letter_that_lost_what_it_was_made_with_fails(letter: Any, says: str) -> None:
    findings = accounted(deal_died(), resting=(letter,)).findings
    assert any(says in finding.says for finding in findings), [finding.says for finding in findings]


def deal_died() -> Story:
    story = Story()
    received(story, "deal", "deal 1")
    died(story, "deal 1", event="deal", attempts=1, reason="non_retryable")
    return story


def test_a_dead_letter_with_all_that_it_was_made_with_passes() -> None:
    assert accounted(deal_died(), expect="non_retryable", resting=(dead(),)).status == "pass"


def test_a_dead_letter_that_the_broker_itself_put_there_says_its_reason_in_its_own_way() -> None:
    letter = resting("poison", headers={"x-death": [{"reason": "delivery_limit"}]})
    story = poisoned("delivery_limit")
    assert accounted(story, expect=None, plan=[planted("delivery_limit")], resting=(letter,)).status == "pass"


@pytest.mark.parametrize("attempts", [1, 4, 6])
def test_an_event_given_up_after_another_number_of_attempts_fails(attempts: int) -> None:
    story = moved_lead(Story())
    retried(story, until=attempts)
    died(story, f"d{attempts}", attempts=attempts)
    finding = the_finding(accounted(story, "moved"))
    assert f"given up after {attempts} attempts (received: {list(range(1, attempts + 1))}), expected 5" in finding.says


def test_an_event_that_claims_five_attempts_but_came_four_times_fails() -> None:
    story = moved_lead(Story())
    retried(story, until=4)
    died(story, "d4", attempts=5)
    assert "given up after 5 attempts (received: [1, 2, 3, 4])" in the_finding(accounted(story, "moved")).says


def test_an_event_that_came_five_times_but_never_at_its_fourth_attempt_fails() -> None:
    story = moved_lead(Story())
    retried(story, until=3)
    retried(story, first=5, until=6)
    died(story, "d6", attempts=5)
    assert "given up after 5 attempts (received: [1, 2, 3, 5, 6])" in the_finding(accounted(story, "moved")).says


def test_an_event_given_up_although_nothing_failed_fails() -> None:
    story = moved_lead(Story())
    for attempt in range(1, 6):
        received(story, "moved", f"d{attempt}", attempt=attempt)
    died(story)
    assert "was given up although no action of it failed" in the_finding(accounted(story, "moved")).says


def test_a_poison_needs_no_five_attempts() -> None:
    assert accounted(poisoned("non_retryable"), "poison", expect=None, plan=[planted("non_retryable")]).status == "pass"


def test_a_replayed_dead_letter_leaves_the_queue_and_passes() -> None:
    assert accounted(replayed_lead()).status == "pass"


def test_a_discarded_dead_letter_leaves_the_queue_and_passes() -> None:
    story = exhausted_lead()
    story.write("automation", "dead_letter.discarded", "discard", event="moved")
    assert accounted(story).status == "pass"


def test_a_replay_that_dies_again_lies_there_once() -> None:
    story = exhausted_lead()
    story.write("automation", "dead_letter.replayed", "replay", event="moved")
    retried(story)
    died(story, "r5")
    assert accounted(story, "moved").status == "pass"


def test_an_alert_logged_twice_around_a_kill_may_have_one_dead_letter() -> None:
    story = exhausted_lead()
    story.restart("automation")
    received(story, "moved", "d6", attempt=5)
    died(story, "d6")
    assert accounted(story, "moved", killed=["automation-1"]).status == "pass"
    assert accounted(story, "moved").status == "fail"


def test_a_kill_explains_no_dead_letter_too_many() -> None:
    finding = the_finding(accounted(exhausted_lead(), "moved", "moved", killed=["automation-1"]))
    assert "1 alert(s), 0 replayed or discarded, but 2 dead letter(s)" in finding.says


def test_a_delivery_that_was_retried_twice_by_a_lost_confirm_passes() -> None:
    story = moved_lead(Story())
    retried(story)
    received(story, "moved", "again", attempt=3)
    settled(story, "moved", "again", "retried", attempt=3)
    died(story)
    assert accounted(story, "moved").status == "pass"


def test_a_message_in_another_queue_is_no_dead_letter() -> None:
    waiting = (resting("moved", "automation.retry.1"),)
    assert accounted(moved_lead(Story()), expect=None, resting=waiting).status == "idle"


def test_no_dead_letter_and_none_expected_is_idle() -> None:
    assert accounted(moved_lead(Story()), expect=None).status == "idle"


def test_the_floor_counts_what_had_to_die_but_not_what_was_to_be_processed() -> None:
    plan = [planted(), planted("processed", name="created")]
    assert accounted(poisoned(), "poison", expect=None, plan=plan).floor == 1
    assert accounted(exhausted_lead(), "moved").floor == 1


def _timed_out(failures: int, story: Story | None = None) -> Story:
    """An event is handled, the timer that it set fires, and what it had to do fails so many times."""
    story = moved_lead(story or Story())
    received(story, "moved", "d1")
    evaluated(story, "d1")
    settled(story, "moved", "d1")
    for kind in ("timer.scheduled", "timer.fired"):
        story.write("automation", kind, "timer", event="moved", cause="moved")
    for number in range(failures):
        failed(story, f"t{number}")
    story.write("automation", "event.dead_lettered", "timer", event="moved", attempts=failures)
    return story


def test_a_timer_that_was_given_up_after_all_its_attempts_passes() -> None:
    assert accounted(_timed_out(5), "moved").status == "pass"


def test_a_timer_that_was_given_up_early_fails() -> None:
    assert "given up after 3 attempts" in the_finding(accounted(_timed_out(3), "moved")).says
