"""The points of the crash sweep: made from what the proxy saw, the same whenever the same was done."""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Sequence
from typing import Literal

from chaos.proxy.client import WireEvent
from harness.target import load_target
from scenarios.crash_sweep.points import Point, points, victims
from scenarios.crash_sweep.strike import differing

TARGET = load_target()


def _event(edge: str, stream: Literal["upstream", "downstream"], name: str, detail: str) -> WireEvent:
    at = "2026-01-01T00:00:00.000000Z"
    return WireEvent(n=0, at=at, edge=edge, connection=1, stream=stream, name=name, detail=detail)


COMMIT = _event("crm→database", "upstream", "commit", "INSERT crm.leads, INSERT crm.outbox")
PUBLISH = _event("crm→broker", "upstream", "publish", "crm.events/lead.created")
CALL = _event("automation→crm", "upstream", "request", "POST /deals")
ASKED = _event("client→crm", "upstream", "request", "POST /leads")
PROBE = _event("automation→crm", "upstream", "request", "GET /health/ready")
POLL = _event("automation→database", "upstream", "commit", "UPDATE automation.timers")


def _points(*events: WireEvent, at_rest: Sequence[WireEvent] = ()) -> list[Point]:
    return points(at_rest, events, TARGET)


def test_each_boundary_event_has_a_point_before_it_and_one_after_it() -> None:
    assert [(point.when, point.event) for point in _points(COMMIT)] == [("before", "commit"), ("after", "commit")]


def test_equals_are_told_apart_by_their_ordinal() -> None:
    assert [point.nth for point in _points(PUBLISH, COMMIT, PUBLISH) if point.event == "publish"] == [1, 1, 2, 2]


def test_who_may_die_is_the_near_end_and_of_a_call_between_services_either() -> None:
    assert victims(COMMIT, TARGET) == ["crm"]
    assert victims(CALL, TARGET) == ["automation", "crm"]
    assert victims(ASKED, TARGET) == ["crm"]
    assert victims(_event("automation→webhook", "upstream", "request", "POST /hooks"), TARGET) == ["automation"]


def test_what_the_system_does_by_itself_is_no_point() -> None:
    assert _points(PROBE, POLL, COMMIT, at_rest=[PROBE, POLL]) == _points(COMMIT)


def test_what_changes_nothing_outside_is_no_point() -> None:
    nothing = [
        _event("crm→database", "upstream", "commit", ""),
        _event("crm→database", "upstream", "statement", "SELECT crm.leads"),
        _event("crm→database", "downstream", "result", "INSERT crm.leads"),
        _event("crm→broker", "upstream", "heartbeat", ""),
        _event("crm→broker", "downstream", "commit", "not from that side"),
    ]
    assert _points(*nothing) == []


def test_the_list_does_not_depend_on_what_came_first_on_different_edges() -> None:
    events = [COMMIT, PUBLISH, CALL, ASKED, COMMIT]
    other = events[:]
    random.Random(3).shuffle(other)
    assert _points(*events) == _points(*other)


def test_every_point_has_a_name_of_its_own_without_ids() -> None:
    names = [point.name for point in _points(COMMIT, COMMIT, PUBLISH, CALL, ASKED)]
    assert len(set(names)) == len(names)
    assert "crash before · crm · crm→database ↑ commit INSERT crm.leads, INSERT crm.outbox #2" in names


def test_a_point_waits_for_its_event_literally() -> None:
    odd = _event("automation→crm", "upstream", "request", "GET /a[b]/*/{id}")
    [point, _] = [p for p in _points(odd) if p.service == "crm"]
    assert fnmatch.fnmatchcase(odd.detail, point.trigger.detail)
    assert not fnmatch.fnmatchcase("GET /ab/x/{id}", point.trigger.detail)
    assert (point.trigger.nth, point.trigger.when, point.trigger.action) == (1, "before", "hold")


def test_recordings_that_differ_are_told_apart_by_name() -> None:
    whole, lacking = _points(COMMIT, PUBLISH), _points(COMMIT)
    assert differing([whole, whole, whole]) == []
    [first, second] = differing([whole, lacking])
    assert "publish crm.events/lead.created #1: in run 1 of 2, not in all" in first
    assert second.startswith("crash after")
