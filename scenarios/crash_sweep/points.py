"""The points of the sweep, made from what the proxy saw of one run: the same list whenever the same things are done.

A boundary event is one after which the world outside of a service is another: a commit that wrote something, a publish,
a request, and the word that comes back of each. What the system does by itself while nobody asks for anything (polls,
health checks) is noise: it is heard while the system is at rest, and left out.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from chaos.proxy.client import WireEvent
from chaos.proxy.triggers import Trigger
from harness.target import Target

Stream = Literal["upstream", "downstream"]
When = Literal["before", "after"]
Kind = tuple[str, str, str, str]
"""Edge, stream, name and detail of an event."""

_BOUNDARIES = {
    ("upstream", "commit"), ("downstream", "committed"),
    ("upstream", "publish"), ("downstream", "confirm"),
    ("downstream", "deliver"), ("upstream", "ack"),
    ("upstream", "request"), ("downstream", "response"),
}  # fmt: skip
_CALLS = ("request", "response")
_MARKS: dict[str, str] = {"upstream": "↑", "downstream": "↓"}


@dataclass(frozen=True, slots=True)
class Point:
    """One kill: this service dies right before or right after the ``nth`` event of its kind."""

    service: str
    edge: str
    stream: Stream
    event: str
    detail: str
    nth: int
    when: When

    @property
    def name(self) -> str:
        """The same in every run, and its own."""
        return f"crash {self.when} · {self.place} #{self.nth}"

    @property
    def place(self) -> str:
        """Who dies, and of what; the same for all of its kind."""
        return f"{self.service} · {self.edge} {_MARKS[self.stream]} {self.event} {self.detail}"

    @property
    def trigger(self) -> Trigger:
        """What the proxy is to wait for."""
        return Trigger(
            event=self.event,
            stream=self.stream,
            detail=glob.escape(self.detail),
            nth=self.nth,
            when=self.when,
            action="hold",
        )


def points(at_rest: Iterable[WireEvent], at_work: Sequence[WireEvent], target: Target) -> list[Point]:
    """All points of a run, in the order in which its events came first. ``at_rest``: what was seen before it began."""
    noise = {kind_of(event) for event in at_rest}
    counted: Counter[Kind] = Counter()
    found = []
    for event in at_work:
        kind = kind_of(event)
        if not _is_boundary(event) or kind in noise:
            continue
        counted[kind] += 1
        found += [
            Point(service, *kind, nth=counted[kind], when=when)  # type: ignore[arg-type]
            for service in victims(event, target)
            for when in ("before", "after")
        ]
    return sorted(found, key=_order)


def kind_of(event: WireEvent) -> Kind:
    return event.edge, event.stream, event.name, event.detail


def victims(event: WireEvent, target: Target) -> list[str]:
    """The services that may die of it: the one whose edge it is, and of a call also the one that is called."""
    near, far = target.edge_parts(event.edge)
    ends = (near, far) if event.name in _CALLS else (near,)
    return [end for end in ends if end in target.services]


def _is_boundary(event: WireEvent) -> bool:
    writes = bool(event.detail) or event.name not in ("commit", "committed")
    return (event.stream, event.name) in _BOUNDARIES and writes


def _order(point: Point) -> tuple[str, ...]:
    """By name: what happens on two edges at the same time has no order that stays the same."""
    return point.service, point.edge, point.event, point.detail, f"{point.nth:05}", "ab"[point.when == "after"]
