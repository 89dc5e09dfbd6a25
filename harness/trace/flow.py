"""One flow: all lines of one correlation id, indexed the ways in which causal edges join them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TypeVar

from harness.contract.log_lines import OF_NO_FLOW, Envelope, InBand, Line

Kind = TypeVar("Kind", bound=Envelope)
_ts = attrgetter("ts")
_NONE: list[InBand] = []


class Flow:
    """The lines of one correlation id in the order of their timestamps."""

    def __init__(self, correlation_id: str, lines: Iterable[InBand]) -> None:
        self.correlation_id = correlation_id
        self.lines = sorted(lines, key=_ts)
        self._by_kind = by_kind = dict[type[Envelope], list[InBand]]()
        for line in self.lines:
            kind = type(line)
            if kind in by_kind:
                by_kind[kind].append(line)
            else:
                by_kind[kind] = [line]

    def of(self, kind: type[Kind]) -> list[Kind]:
        """All lines of one kind."""
        return self._by_kind.get(kind, _NONE)  # type: ignore[return-value]  # keyed by the very type

    @property
    def kinds(self) -> frozenset[type[Envelope]]:
        """Which kinds of line it has."""
        return frozenset(self._by_kind)

    def event_ids(self) -> frozenset[str]:
        """Every event that a line of this flow is about."""
        return frozenset(line.event_id for line in self.lines if line.event_id)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a flow's own lines cannot know. All empty is a valid beginning: then nothing is excused."""

    killed_instances: Mapping[str, str] = field(default_factory=dict)
    """Instances that a fault of ours killed → the moment of their last line: what they could not do any more is
    explained, unless somebody else had to do it."""
    answered: Mapping[str, str] = field(default_factory=dict)
    """Correlation id of a client's request → a moment by which the client had its answer."""
    planted_correlations: frozenset[str] = frozenset()
    """Flows that the harness began by a message on the wire: they have no request as their root."""
    planted_events: frozenset[str] = frozenset()
    rules_by_event_type: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Enabled rules, by the event type that triggers them."""
    repeating_edges: frozenset[str] = frozenset()
    """Edges on which a fault of ours has repeated what passed."""
    in_doubt: frozenset[str] = frozenset()
    """Spans of requests of which their service never learned whether they were committed, because of faults of ours."""


def flow_names(lines: Iterable[Line]) -> set[str]:
    """The correlation ids of all flows among these lines."""
    return {line.correlation_id for line in lines if line.__class__ not in OF_NO_FLOW}  # type: ignore[misc]


def lines_by_flow(lines: Iterable[Line], only: Set[str] | None = None) -> dict[str, list[InBand]]:
    """Group in-band lines by correlation id, of all flows or of some. Out-of-band lines belong to no flow."""
    grouped: dict[str, list[InBand]] = {}
    for line in lines if only is None else [line for line in lines if line.correlation_id in only]:
        if isinstance(line, InBand):
            members = grouped.get(line.correlation_id)
            if members is None:
                grouped[line.correlation_id] = [line]
            else:
                members.append(line)
    return grouped


def flows_of(lines: Iterable[Line]) -> dict[str, Flow]:
    """Every flow, indexed. Of a hundred thousand, that is much to keep: they are better judged one after the other."""
    return {correlation_id: Flow(correlation_id, members) for correlation_id, members in lines_by_flow(lines).items()}
