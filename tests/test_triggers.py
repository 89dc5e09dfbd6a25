"""Triggers: which events they act on, and what the relay is told to do at which byte."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chaos.proxy.triggers import Armed, NamedTrigger, Step, plan
from chaos.proxy.wire import PROTOCOLS, known_events
from chaos.proxy.wire.events import Edit, Event


def trigger(**fields: Any) -> NamedTrigger:
    return msgspec.convert(
        {"name": "t1", "stream": "upstream", "event": "publish", "action": "cut", **fields}, type=NamedTrigger
    )


def events(*details: str, name: str = "publish", size: int = 10) -> list[Event]:
    """One behind the other, each of this many bytes."""
    return [Event(name, detail, at * size, (at + 1) * size) for at, detail in enumerate(details)]


def planned(steps: list[Step]) -> list[tuple[str, int, int]]:
    return [(step.action, step.at, step.until) for step in steps]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ({"action": "explode"}, "explode"),
        ({"stream": "sideways"}, "sideways"),
        ({"nth": 0}, ">= 1"),
        ({"times": -1}, ">= 0"),
        ({"surprise": 1}, "unknown field `surprise`"),
        ({"name": ""}, "needs a name"),
        ({"name": "a/b"}, "without '/'"),
        ({"action": "delay"}, "delay_ms goes with action 'delay'"),
        ({"delay_ms": 5}, "delay_ms goes with action 'delay'"),
        ({"action": "drop", "when": "after"}, "cannot be dropped"),
        ({"hold": ["crm-to-database"]}, "are for action 'hold'"),
    ],
)
def test_a_trigger_that_could_not_be_carried_out_is_refused(fields: dict[str, Any], because: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=because):
        trigger(**fields)


@pytest.mark.parametrize(
    ("protocol", "fields", "because"),
    [
        ("amqp", {"event": "publsh"}, "no event 'publsh' upstream of amqp: it knows a"),
        ("amqp", {"stream": "downstream"}, "no event 'publish' downstream of amqp"),
        (None, {}, "create the proxy with a protocol"),
        ("postgres", {"event": "commit", "action": "duplicate"}, "postgres commit cannot be duplicated; what can"),
        ("http", {"event": "response", "stream": "downstream", "action": "duplicate"}, "cannot be duplicated"),
    ],
)
def test_a_trigger_that_could_never_act_on_its_proxy_is_refused(
    protocol: str | None, fields: dict[str, Any], because: str
) -> None:
    asked = trigger(**fields)
    refusal = asked.refusal(protocol, known_events(protocol, asked.stream))
    assert refusal is not None
    assert because in refusal


def test_what_can_be_duplicated_is_not_refused() -> None:
    for protocol, event in (("amqp", "publish"), ("amqp", "ack"), ("http", "request")):
        assert trigger(event=event, action="duplicate").refusal(protocol, known_events(protocol, "upstream")) is None


def test_every_protocol_has_events_both_ways() -> None:
    assert all(known_events(protocol, stream) for protocol in PROTOCOLS for stream in ("upstream", "downstream"))


# --- which events it acts on -----------------------------------------------------------------------------------------


def acted(told: list[Event], **fields: Any) -> list[int]:
    """The numbers of the events that are acted on."""
    armed = Armed(trigger(**fields))
    return [number for number, event in enumerate(told) if armed.acts_on(event)]


def test_it_acts_on_the_nth_match_and_then_so_many_times() -> None:
    told = events("crm/lead.created", "crm/deal.won", "crm/lead.created", "crm/lead.created", "x/lead.created")
    assert acted(told) == [0]
    assert acted(told, detail="*lead.created", nth=2) == [2]
    assert acted(told, detail="*lead.created", nth=2, times=2) == [2, 3]
    assert acted(told, detail="*/lead.created", times=0) == [0, 2, 3, 4]
    assert acted(told, detail="CRM/*") == []
    assert acted(told, event="ack") == []


def test_matches_are_counted_over_all_connections_and_shown_with_what_was_done() -> None:
    armed = Armed(trigger(nth=2, detail="*created"))
    told = events("lead.created", "lead.updated")
    heard: list[int] = []
    armed.listeners.add(lambda: heard.append(len(armed.fired)))
    assert plan(told, [armed]) == []  # on one connection
    (step,) = plan(told, [armed])  # and on another
    assert armed.shown()["fired"] == []  # not before the relay has done it
    assert step.event is not None
    armed.happened(7, step.event)
    shown = armed.shown()
    assert (shown["seen"], heard) == (2, [1])
    assert [(one["connection"], one["detail"]) for one in shown["fired"]] == [(7, "lead.created")]
    assert shown["name"] == "t1"
    assert shown["fired"][0]["at"].endswith("Z")


# --- what is to be done, and where -----------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["cut", "stall", "hold"])
def test_before_is_before_its_first_byte_and_after_is_behind_its_last(action: str) -> None:
    told = events("a", "b", "c")
    before, after = (Armed(trigger(action=action, detail="b", when=when)) for when in ("before", "after"))
    assert planned(plan(told, [before])) == [(action, 10, 10)]
    assert planned(plan(told, [after])) == [(action, 20, 20)]


def test_an_event_is_dropped_or_sent_twice_as_a_whole() -> None:
    drop, double = (Armed(trigger(action=action, detail="b")) for action in ("drop", "duplicate"))
    assert planned(plan(events("a", "b", "c"), [drop])) == [("drop", 10, 20)]
    assert planned(plan(events("a", "b", "c"), [double])) == [("duplicate", 10, 20)]
    again = [Armed(trigger(action=action, detail="b")) for action in ("drop", "duplicate")]
    (step,) = plan(events("a", "b", "c"), again)
    assert step.armed is again[0]  # the first of those that want to change it


def test_steps_come_in_the_order_of_their_bytes() -> None:
    armed = [
        Armed(trigger(action="stall", when="after", times=0)),
        Armed(trigger(action="drop", detail="b")),
        Armed(trigger(action="delay", delay_ms=5, times=0)),
    ]
    assert planned(plan(events("a", "b"), armed)) == [
        ("delay", 0, 0), ("stall", 10, 10), ("delay", 10, 10), ("drop", 10, 20), ("stall", 20, 20),
    ]  # fmt: skip


def test_nothing_is_seen_behind_a_cut() -> None:
    cut, later = Armed(trigger(detail="b")), Armed(trigger(detail="c"))
    assert planned(plan(events("a", "b", "c"), [cut, later])) == [("cut", 10, 10)]
    assert later.seen == 0


def test_an_event_that_has_escaped_in_part_does_not_count() -> None:
    armed = Armed(trigger())
    assert planned(plan(events("a", "b"), [armed], passed=4)) == [("cut", 10, 10)]
    assert armed.seen == 1


def test_edits_are_carried_out_unless_their_event_is_dropped() -> None:
    edits = [Edit(0, 10, b"other"), Edit(10, 20, b"")]
    drop = Armed(trigger(action="drop", detail="b"))
    steps = plan(events("a", "b", "c"), [drop], edits)
    assert planned(steps) == [("replace", 0, 10), ("drop", 10, 20)]
    assert [step.replacement for step in steps] == [b"other", b""]
