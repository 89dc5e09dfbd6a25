"""The faults of a schedule beside each other: none may keep another from being undone. Without stacks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.faults.site import Attestation, FaultSite
from chaos.proxy.triggers import Fired, Trigger
from chaos.schedule.kind import Kind
from chaos.schedule.kinds import KINDS
from chaos.schedule.schedule import Moment, PlannedFault
from harness.target import load_target
from scenarios.explore.faults import Faults

WITHIN_S = 20.0
TARGET = load_target()


@dataclass
class Wire:
    """A proxy on which every event comes at once, and is held up until it is let go."""

    let_go: threading.Event = field(default_factory=threading.Event)

    def arm(self, edge: str, trigger: Trigger) -> Wire:
        return self

    def fired(self, within_s: float = 0) -> list[Fired]:
        return [Fired(at="2026-01-01T00:00:00.000000Z", connection=1, detail="a publish")]

    disarmed = False

    def disarm(self) -> None:
        self.let_go.set()


def site(proxy: object) -> Any:
    recording = SimpleNamespace(broken=lambda what: nullcontext(), faults=[])
    return SimpleNamespace(proxy=proxy, recording=recording, drawn=True, look=lambda fault: None, target=TARGET)


def kind(name: str, inject: Any) -> Kind:
    return Kind(name=name, group="broker", places=lambda target: ("the broker",), inject=inject, needs="rabbitmq")


def test_who_waits_for_a_seat_holds_nothing_up_that_its_present_owner_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    wire, sits = Wire(), threading.Event()
    told: list[object] = []

    @contextmanager
    def undone_by_traffic(site: FaultSite, planned: PlannedFault) -> Iterator[Attestation]:
        sits.set()
        yield Attestation()
        told.append(wire.let_go.wait(WITHIN_S))

    @contextmanager
    def comes_later(site: FaultSite, planned: PlannedFault) -> Iterator[Attestation]:
        told.append("came")
        yield Attestation()

    monkeypatch.setitem(KINDS, "slow", kind("slow", undone_by_traffic))
    monkeypatch.setitem(KINDS, "ambush", kind("ambush", comes_later))
    on_the_wire = Moment(edge="crm→broker", stream="upstream", event="publish")
    first = PlannedFault(kind="slow", place="the broker", at=Moment(step=0))
    second = PlannedFault(kind="ambush", place="the broker", at=on_the_wire)
    faults = Faults(site(wire), TARGET, [first, second])
    monkeypatch.setattr(faults, "_wait_for_its_event", _after(sits, faults._wait_for_its_event))
    with faults.at_work() as at_work:
        at_work.step_done(1, 0)
    assert told == [True, "came"]


@dataclass
class Often:
    """A proxy at which the event comes again and again: with every look, once more."""

    disarmed: bool = False
    looks: int = 0

    def arm(self, edge: str, trigger: Trigger) -> Often:
        self.times = trigger.times
        return self

    def fired(self, within_s: float = 0) -> list[Fired]:
        self.looks += not self.disarmed
        return [Fired(at="2026-01-01T00:00:00.000000Z", connection=1, detail="")] * min(self.looks, self.times)

    def disarm(self) -> None:
        self.disarmed = True


def test_a_fault_that_is_to_strike_several_times_lies_in_wait_until_it_has() -> None:
    request = Moment(edge="automation→crm", stream="upstream", event="request")
    cut = PlannedFault(kind="cut at", place="automation→crm", at=request, parameters={"times": 4})
    faults = Faults(site(Often()), TARGET, [cut])
    with faults.at_work():
        pass
    (outcome,) = faults.outcomes()
    (excuse,) = faults.excuses()
    assert (outcome.hits, excuse.most) == (4, 4)


@pytest.mark.parametrize(
    ("kind", "place", "parameters", "most"),
    [
        ("limit_data", "automation→pipeline", {"stream": "upstream", "bytes": 200}, None),
        ("limit_data", "automation→database", {"stream": "upstream", "bytes": 200}, 1),
        ("limit_data", "pipeline→crm", {"stream": "upstream", "bytes": 200}, 1),
        ("cut", "automation→crm", {}, 1),
        ("cut", "automation→webhook", {}, None),
        ("SIGKILL", "crm", {}, 1),
    ],
)
def test_what_lets_a_probe_through_may_cost_an_event_all_its_attempts_and_an_outage_one(
    monkeypatch: pytest.MonkeyPatch, kind: str, place: str, parameters: dict[str, Any], most: int | None
) -> None:
    @contextmanager
    def comes(site: FaultSite, planned: PlannedFault) -> Iterator[Attestation]:
        yield Attestation()

    monkeypatch.setitem(KINDS, kind, replace(KINDS[kind], inject=comes))
    planned = PlannedFault(kind=kind, place=place, at=Moment(step=0), parameters=parameters, for_ms=1)
    faults = Faults(site(Wire()), TARGET, [planned])
    with faults.at_work() as at_work:
        at_work.step_done(1, 0)
    assert [excuse.most for excuse in faults.excuses()] == [most]


def _after(sits: threading.Event, method: Any) -> Any:
    def wait(one: Any) -> None:
        one.ready.set()
        assert sits.wait(WITHIN_S)
        method(one)

    return wait
