"""Looking again at flows that the ledger doubts: all their lines, wherever they stand, judged by the edges."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from harness.audit.decode import DecodeLine, Fault, fault_of
from harness.audit.mapping import Mapping
from harness.audit.sequence import Hole, holes_of
from harness.audit.span import BlockIndex
from harness.contract.log_lines import ContractViolation, HttpRequestReceived, InBand, decode_line
from harness.evidence.clock import later
from harness.trace.findings import FlowFinding, judge_flow
from harness.trace.flow import Flow, Surroundings
from harness.trace.ledger import doubtful
from harness.trace.obligations import Obligation
from harness.trace.render import shortest_trace


class Candidate(Struct, frozen=True):
    """A block, and the flows in question that may stand in it."""

    block: BlockIndex
    flows: list[str]


class LookTask(Struct, frozen=True):
    """``in_flight_from``: what is only open, and has a line after this moment, is in flight."""

    paths: list[str]
    candidates: list[Candidate]
    holes: list[Hole]
    grace_s: float
    in_flight_from: str
    mapping: Mapping | None = None


class FlowReport(Struct, frozen=True, kw_only=True):
    """A flow that is not in order, by one edge. ``source`` and ``number``: where the line stands that demands it.

    ``because``: why nothing is proven, where lost lines may explain it.
    """

    correlation_id: str
    state: str
    edge: str
    says: str
    service: str
    source: int
    number: int
    instance: str
    seq: int
    ts: str
    trace: tuple[str, ...]
    because: str | None = None


class LookReport(Struct):
    """``states``: how many flows were found to be what. ``rootless``: those that no request began."""

    states: dict[str, int]
    flows: list[FlowReport]
    faults: list[tuple[int, Fault]]
    rootless: int = 0


class _Placed(Struct):
    line: InBand
    source: int
    number: int


def look_again(task: LookTask) -> LookReport:
    """Gather the flows' lines, and judge those that are not plainly complete."""
    report = LookReport({}, [], [])
    flows: dict[str, list[_Placed]] = defaultdict(list)
    for candidate in task.candidates:
        for placed in _lines_of(task, candidate, report.faults):
            flows[placed.line.correlation_id].append(placed)
    for flow, members in flows.items():
        flows[flow] = sorted(_without_repetitions(task, members), key=lambda member: member.line.ts)
    doubted = doubtful(member.line for members in flows.values() for member in members)
    states = Counter({"complete": len(flows) - len(doubted)})
    holes = _Holes(
        [*task.holes, *(hole for source, fault in report.faults for hole in holes_of(task.paths[source], fault))]
    )
    for flow in sorted(doubted):
        _judge(task, holes, flows[flow], states, report)
    report.states = dict(states)
    return report


def _lines_of(task: LookTask, candidate: Candidate, faults: list[tuple[int, Fault]]) -> Iterator[_Placed]:
    """The lines of the flows in question that stand in a block."""
    block = candidate.block
    decode: DecodeLine = task.mapping.decode_line if task.mapping else decode_line
    with Path(task.paths[block.source]).open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), block.length, block.offset)
    number, counted = block.number, 0
    for start in _starts(data, None if task.mapping else candidate.flows):
        end = data.find(b"\n", start)
        raw = data[start:end] if end >= 0 else data[start:]
        number, counted = number + data.count(b"\n", counted, start), start
        try:
            line = decode(raw)
        except ContractViolation as violation:
            faults.append((block.source, fault_of(number, raw, str(violation))))
        else:
            if isinstance(line, InBand) and line.correlation_id in candidate.flows:
                yield _Placed(line, block.source, number)


def _starts(data: bytes, flows: list[str] | None) -> list[int]:
    """Where the lines begin in which one of these texts occurs; all lines, if there are none."""
    if flows is None:
        return [0, *(newline.end() for newline in re.finditer(rb"\n(?=.)", data, re.DOTALL))]
    starts = set()
    for needle in (flow.encode() for flow in flows):
        at = data.find(needle)
        while at >= 0:
            starts.add(data.rfind(b"\n", 0, at) + 1)
            end = data.find(b"\n", at)
            at = data.find(needle, end) if end >= 0 else -1
    return sorted(starts)


def _without_repetitions(task: LookTask, members: list[_Placed]) -> Iterable[_Placed]:
    """A line that stands there twice is reported as that, and not as something that happened twice."""
    if task.mapping is not None and not task.mapping.numbers_lines:
        return members
    return {(member.line.instance, member.line.seq): member for member in reversed(members)}.values()


class _Holes:
    """The lines that are not there: those of a known flow, and those that may have been of any."""

    def __init__(self, holes: list[Hole]) -> None:
        self._of_flow: dict[str, list[Hole]] = defaultdict(list)
        self._of_any: list[Hole] = []
        for hole in holes:
            (self._of_any if hole.correlation_id is None else self._of_flow[hole.correlation_id]).append(hole)

    def that_may_concern(self, flow: Flow, grace_s: float) -> list[Hole]:
        """Those that overlap a flow, and the time in which it may have gone on."""
        known = self._of_flow.get(flow.correlation_id, [])
        if not self._of_any:
            return known
        since, until = flow.lines[0].ts, later(flow.lines[-1].ts, grace_s)
        return known + [hole for hole in self._of_any if hole.lost.since <= until and hole.lost.until >= since]


def _judge(task: LookTask, holes: _Holes, members: list[_Placed], states: Counter[str], report: LookReport) -> None:
    flow = Flow(members[0].line.correlation_id, [member.line for member in members])
    concerned = holes.that_may_concern(flow, task.grace_s)
    found = judge_flow(flow, Surroundings(), [hole.lost for hole in concerned])
    report.rootless += not any(line.parent_span_id is None for line in flow.of(HttpRequestReceived))
    state: str = found.state
    if found.broken and all(broken.state == "open" for broken in found.broken):
        state = "in_flight" if flow.lines[-1].ts > task.in_flight_from else state
    states[state] += 1
    reported = [hole.lost for hole in concerned if hole.reported]
    explained = found.state == "unknown" and not any(lost in reported for lost in found.lost)
    if state in ("broken", "orphan", "unknown") and not explained:
        place = {id(member.line): member for member in members}
        first_by_edge = {broken.edge: broken for broken in reversed(found.broken)}
        report.flows += [_reported(found, broken, place[id(broken.line)]) for broken in first_by_edge.values()]


def _reported(found: FlowFinding, broken: Obligation, at: _Placed) -> FlowReport:
    return FlowReport(
        correlation_id=found.flow.correlation_id,
        state=found.state,
        edge=broken.edge,
        says=f"{broken.edge}: {'expected' if broken.state == 'excess' else 'missing'} {broken.missing}",
        service=broken.by,
        source=at.source,
        number=at.number,
        instance=broken.line.instance,
        seq=broken.line.seq,
        ts=broken.line.ts,
        trace=tuple(shortest_trace(found.flow, broken)),
        because=str(found.lost[0]) if found.state == "unknown" else None,
    )
