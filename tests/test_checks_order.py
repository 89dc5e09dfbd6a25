"""The order in which the events of one entity are published and received."""

from __future__ import annotations

from typing import Any

from harness.checks.entity_event_order import PROPERTY
from harness.checks.verdict import Result
from harness.evidence.records import Fault, Rows
from tests.builders import (
    Story,
    evidence,
    happy_evidence,
    published,
    received,
    settled,
    stored,
    tapped,
    the_finding,
    uid,
)

FIRST = stored("moved", entity_version=1)
SECOND = stored("poison", service="pipeline", entity_id=uid("lead"), entity_version=2)


def ordered(*published: str, received_: tuple[str, ...] = (), **changes: Any) -> Result:
    story = Story()
    for number, event in enumerate(received_):
        received(story, event, f"delivery {number}")
    rows = Rows(outbox=(FIRST, SECOND))
    return PROPERTY.check(evidence(story.lines, rows=rows, tap=tuple(tapped(name, **changes) for name in published)))


def test_events_in_order_pass_and_are_counted() -> None:
    result = ordered("moved", "poison", received_=("moved", "poison"))
    assert (result.status, result.seen) == ("pass", 4)
    assert PROPERTY.check(happy_evidence()).status == "pass"


def test_an_event_published_after_its_successor_fails_and_is_named() -> None:
    finding = the_finding(ordered("poison", "moved"))
    assert finding.says == "lead.stage.changed version 1 was published after version 2"
    assert (finding.edge, finding.entity) == ("pipeline→broker", f"lead {uid('lead')}")
    assert finding.correlation_id == uid("moved")


def test_an_event_received_after_its_successor_fails() -> None:
    finding = the_finding(ordered("moved", "poison", received_=("poison", "moved")))
    assert finding.says == "lead.stage.changed version 1 was received after version 2"
    assert finding.edge == "automation→broker"


def test_each_event_that_comes_after_the_newest_one_fails() -> None:
    third = stored("deal", service="pipeline", entity_type="lead", entity_id=uid("lead"), entity_version=3)
    rows = Rows(outbox=(FIRST, SECOND, third))
    result = PROPERTY.check(evidence(rows=rows, tap=(tapped("deal"), tapped("moved"), tapped("poison"))))
    assert [finding.says.partition(" version ")[2] for finding in result.findings] == [
        "1 was published after version 3",
        "2 was published after version 3",
    ]


def test_a_copy_that_comes_late_is_no_break() -> None:
    assert ordered("moved", "moved", "poison", "moved", received_=("moved", "poison", "moved")).status == "pass"


def test_what_no_queue_took_was_not_published() -> None:
    assert ordered("poison", "moved", queues=()).status == "idle"


def test_each_service_counts_versions_of_its_own() -> None:
    lead = stored("created", entity_version=1)
    rows = Rows(outbox=(SECOND, lead))
    assert PROPERTY.check(evidence(rows=rows, tap=(tapped("poison"), tapped("created")))).status == "pass"


def test_an_event_handled_before_the_last_one_is_settled_fails() -> None:
    def handled(*steps: str, status: str = "acked") -> Result:
        story = Story()
        for event in ("moved", "poison"):
            received(story, event, event)
        for step in steps:
            if step == "settled":
                settled(story, "moved", "moved", status)
            else:
                story.write("automation", "rule.evaluated", "rule", parent="poison", event="poison", cause="poison")
        return PROPERTY.check(evidence(story.lines, rows=Rows(outbox=(FIRST, SECOND))))

    assert handled("settled", "looked at").status == "pass"
    assert handled("looked at", "settled", status="retried").status == "pass"
    finding = the_finding(handled("looked at", "settled"))
    assert finding.says == "lead.stage.changed version 2 was handled before version 1 was settled"


def test_another_entity_has_an_order_of_its_own() -> None:
    rows = Rows(outbox=(stored("moved"), stored("poison", service="pipeline", entity_version=2)))
    assert PROPERTY.check(evidence(rows=rows, tap=(tapped("poison"), tapped("moved")))).status == "pass"


def reordered_after(*before: str, received_: tuple[str, ...]) -> Result:
    """``before``: what was done when a fault of ours turned the queue around; then these were received and handled."""
    story = Story()
    for step in before:
        if step.startswith("receive "):
            received(story, step.removeprefix("receive "), f"before {step}")
        else:
            published(story, step)
    since = story.write("crm", "metrics.snapshot").ts
    for event in received_:
        received(story, event, event)
        story.write("automation", "rule.evaluated", f"rule {event}", parent=event, event=event, cause=event)
        settled(story, event, event)
    fault = Fault(kind="reordered", place="the work queue", injected_at=since, healed_at=since, hits=2, proof="")
    return PROPERTY.check(evidence(story.lines, rows=Rows(outbox=(FIRST, SECOND)), faults=(fault,)))


def test_what_waited_in_a_queue_that_we_turned_around_is_received_and_handled_as_it_lies_there() -> None:
    assert reordered_after("moved", "poison", received_=("poison", "moved")).status != "fail"


def test_what_was_published_or_received_otherwise_keeps_its_order_although_we_turned_a_queue_around() -> None:
    assert reordered_after("moved", received_=("poison", "moved")).status == "fail"
    again = reordered_after("moved", "poison", "receive poison", "receive moved", received_=())
    assert the_finding(again).says == "lead.stage.changed version 1 was received after version 2"
