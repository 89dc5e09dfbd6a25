"""How much of the contract a run has exercised: kinds, statuses, fields that may be null, causal edges, faults by edge.

A property that is green over lines that were never written proves nothing about them. What a run never showed is
reported and fails nothing: not every run can show everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct, inspect

from harness.checks.run_verdict import RunRecord
from harness.contract.export import log_schema, values_of
from harness.contract.log_lines import (
    KINDS,
    ActionStarted,
    CallSent,
    ContractViolation,
    EventDeduplicated,
    HttpRequestReceived,
    InBand,
    Line,
    RuleEvaluated,
    decode_line,
    kind_of,
)
from harness.evidence.records import Fault
from harness.evidence.run_directory import RunDirectory, read_json, read_records
from harness.target import load_target
from harness.trace.edges import obligations
from harness.trace.flow import Flow, Surroundings, flows_of

CLOSED_EDGES = (
    "request received → completed",
    "request → change committed",
    "change → event stored",
    "stored → published",
    "published → received",
    "received → settled",
    "received → rule evaluated",
    "matched → action started → completed",
    "call sent → completed",
    "call sent → request received at the peer",
    "retried → received again",
    "requeued → received again",
    "dead-lettered → alert",
    "replayed → received",
    "timer scheduled → fired or cancelled",
)
"""Edges that say so when they are closed."""
ROOT, HANDLED, CAUSED = "root", "received → handled once", "event X → event Y it caused"
PARENT = "span → its parent"
"""Edges that only say when they are broken: a line shows that there was something to judge."""
EDGE_NAMES = (ROOT, *CLOSED_EDGES, HANDLED, CAUSED, PARENT)
EDGE_FAULTS = ("cut", "slow")
"""What can be done to any edge; other kinds of fault on an edge are added as they are met."""


class FieldSeen(Struct, frozen=True):
    """How often a field that may be null was null, and how often it had a value."""

    null: int
    value: int


class KindSeen(Struct, frozen=True):
    """One kind: how many lines, how many of each status, and its fields that may be null."""

    lines: int
    statuses: dict[str, int]
    fields: dict[str, FieldSeen]


class Coverage(Struct, frozen=True):
    """What a run has exercised. Zeros stand for what it never showed.

    ``edges``: how often each causal edge was closed. ``cells``: edge between processes → kind of fault → hits.
    ``places``: the other faults, by kind and place.
    """

    kinds: dict[str, KindSeen]
    edges: dict[str, int]
    cells: dict[str, dict[str, int]]
    places: dict[str, int]

    @property
    def unseen_kinds(self) -> list[str]:
        return [name for name, kind in self.kinds.items() if not kind.lines]

    @property
    def unseen_statuses(self) -> list[str]:
        """``"event.published nacked"``, also of kinds that were never seen at all."""
        return [f"{name} {status}" for name, kind in self.kinds.items() for status, n in kind.statuses.items() if not n]

    @property
    def unseen_edges(self) -> list[str]:
        return [name for name, closed in self.edges.items() if not closed]

    @property
    def unseen_cells(self) -> list[str]:
        return [f"{kind} on {edge}" for edge, kinds in self.cells.items() for kind, hits in kinds.items() if not hits]


def coverage_of(run: RunDirectory) -> Coverage:
    """What a run has exercised, from its logs and its faults alone. Raises EvidenceError, TargetError."""
    target = load_target(Path(read_json(run.run_file, RunRecord).target_file))
    faults = [fault for scenario in run.scenarios() for fault in read_records(scenario.faults_file, Fault)]
    stacks = sorted(path for path in (run.root / "logs").glob("*") if path.is_dir())
    return coverage([list(_lines(stack)) for stack in stacks], faults, target.edges)


def coverage(stacks: Iterable[Iterable[Line]], faults: Iterable[Fault], edges: Iterable[str]) -> Coverage:
    """The same from lines, one collection a stack. ``edges``: the arrows between processes."""
    kinds, closed = _Tally(), Counter[str]()
    for lines in stacks:
        lines = list(lines)
        for line in lines:
            kinds.add(line)
        closed += _closed(lines)
    cells, places = _cells(faults, edges)
    return Coverage(kinds.seen(), {name: closed[name] for name in EDGE_NAMES}, cells, places)


def _lines(stack: Path) -> Iterator[Line]:
    """Whole lines that keep the contract: those that do not are the business of a property."""
    for path in sorted(stack.glob("*.ndjson")):
        with path.open("rb") as file:
            for raw in file:
                try:
                    yield decode_line(raw)
                except ContractViolation:
                    continue


class _Tally:
    """Counts lines by kind and status, and nulls by field."""

    def __init__(self) -> None:
        self._nullable = {kind: _nullable(kind) for kind in KINDS}
        self._statuses: Counter[tuple[str, str]] = Counter()
        self._values: Counter[tuple[str, str]] = Counter()
        self._lines: Counter[str] = Counter()

    def add(self, line: Line) -> None:
        name = kind_of(line)
        self._lines[name] += 1
        self._statuses[name, line.status] += 1
        for field in self._nullable[type(line)]:
            if getattr(line, field) is not None:
                self._values[name, field] += 1

    def seen(self) -> dict[str, KindSeen]:
        known = log_schema()["$defs"]
        return {
            tag: KindSeen(
                self._lines[tag],
                {status: self._statuses[tag, status] for status in values_of(known[tag]["properties"]["status"])},
                {field: self._field(tag, field) for field in self._nullable[kind]},
            )
            for kind in KINDS
            for tag in (str(kind.__struct_config__.tag),)
        }

    def _field(self, tag: str, field: str) -> FieldSeen:
        values = self._values[tag, field]
        return FieldSeen(self._lines[tag] - values, values)


def _nullable(kind: type[Struct]) -> tuple[str, ...]:
    """Fields that may be null or have a value; one that is always null says nothing."""
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    return tuple(
        field.name
        for field in described.fields
        if isinstance(field.type, inspect.UnionType) and field.type.includes_none
    )


def _closed(lines: list[Line]) -> Counter[str]:
    """How often each causal edge held in the flows of one stack."""
    rules: dict[str, set[str]] = {}
    for line in lines:
        if isinstance(line, RuleEvaluated):
            rules.setdefault(line.event_type, set()).add(line.rule_id)
    around = Surroundings(rules_by_event_type={event_type: frozenset(ids) for event_type, ids in rules.items()})
    found: Counter[str] = Counter()
    for flow in flows_of(lines).values():
        found.update(o.edge for o in obligations(flow, around) if o.state in ("closed", "duplicated"))
        found.update(_shown(flow))
    return found


def _shown(flow: Flow) -> Mapping[str, int]:
    return {
        ROOT: sum(line.parent_span_id is None for line in flow.of(HttpRequestReceived)),
        HANDLED: len(flow.of(EventDeduplicated)),
        CAUSED: sum(_names_another_cause(line) for line in flow.lines),
        PARENT: sum(len(flow.of(kind)) for kind in (RuleEvaluated, ActionStarted, CallSent)),
    }


def _names_another_cause(line: InBand) -> bool:
    return line.causation_id is not None and line.causation_id != line.event_id


def _cells(faults: Iterable[Fault], edges: Iterable[str]) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Hits by edge and kind of fault (``slow``, however slow), and those of faults on something else than an edge."""
    on_edges: dict[str, Counter[str]] = {edge: Counter() for edge in edges}
    places: Counter[str] = Counter()
    for fault in faults:
        if fault.place in on_edges:
            on_edges[fault.place][fault.kind.split()[0]] += fault.hits
        else:
            places[f"{fault.kind} on {fault.place}"] += fault.hits
    more = {kind for counts in on_edges.values() for kind in counts} - set(EDGE_FAULTS)
    kinds = (*EDGE_FAULTS, *sorted(more))
    return {edge: {kind: hits[kind] for kind in kinds} for edge, hits in on_edges.items()}, dict(sorted(places.items()))
