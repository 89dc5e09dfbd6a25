"""Which faults took a dependency away, from which services, and between which moments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.evidence.records import Fault
from harness.target import Target

_SERVERS = {"postgres": "database", "rabbitmq": "broker"}
_IN_THE_BROKER = ("the work queue", "the exchange", "the broker's memory")
_TAKES_AWAY = ("cut", "SIGKILL", "SIGTERM", "SIGSTOP", "read-only")
_SHAKES = ("restart", "clock", "closed", "terminated", "exhausted")
"""What is there again at once, or for those who have a connection all the time."""


@dataclass(frozen=True, slots=True)
class Outage:
    """``services`` lost ``dependency``: wholly between ``since`` and ``until``, perhaps from ``first`` to ``last``.

    ``total``: whoever looks must see it. A queue that comes back by itself, a connection that is made anew at once, or
    an alarm that only publishers hear of, is an outage that a service may miss.
    """

    fault: Fault
    dependency: str
    services: frozenset[str]
    total: bool
    until: str

    @property
    def first(self) -> str:
        return self.fault.injected_at

    @property
    def since(self) -> str:
        return self.fault.effective_at or self.fault.injected_at

    @property
    def last(self) -> str:
        return self.fault.healed_at

    def __str__(self) -> str:
        return f"{self.fault.kind} on {self.fault.place}"


def outages(target: Target, faults: Iterable[Fault]) -> list[Outage]:
    """In the order of their beginnings. What is outside (a receiver, a mail server) is no dependency."""
    faults = sorted(faults, key=lambda fault: fault.injected_at)
    found = []
    for fault in faults:
        dependency, losers = _taken_by(target, fault)
        services = frozenset(losers) & frozenset(target.services)
        if services and dependency in ("database", "broker", *target.services):
            total = fault.kind in _TAKES_AWAY and bool(fault.effective_at)  # older runs do not say since when
            found.append(Outage(fault, dependency, services, total, _until(fault, faults)))
    return found


def comes_between(target: Target, fault: Fault, service: str, dependency: str) -> bool:
    """Whether a fault may have kept these two from understanding each other: on their edge, or at one of its ends."""
    ends = (service, *(name for name, of in _SERVERS.items() if of == dependency))
    at_an_end = fault.place in (dependency, *ends, *(_IN_THE_BROKER if dependency == "broker" else ()))
    return at_an_end or fault.place == f"{service}→{dependency}"


def _taken_by(target: Target, fault: Fault) -> tuple[str, list[str]]:
    if fault.place in target.edges:
        service, dependency = target.edge_parts(fault.place)
        return dependency, [service] if fault.kind in (*_TAKES_AWAY, *_SHAKES) else []
    if fault.place in _IN_THE_BROKER:
        dependency = "broker"
    elif fault.kind in (*_TAKES_AWAY, *_SHAKES):
        dependency = _SERVERS.get(fault.place, fault.place)
    else:
        return "", []
    ends = (target.edge_parts(edge) for edge in target.edges)
    return dependency, [service for service, other_end in ends if other_end == dependency]


def _until(fault: Fault, faults: list[Fault]) -> str:
    """Its undoing, or that of another fault on the same place: healing an edge takes away all that lies on it."""
    began = fault.effective_at or fault.injected_at
    undone = [other.healing_at or other.healed_at for other in faults if other.place == fault.place]
    return min(moment for moment in undone if moment >= began)
