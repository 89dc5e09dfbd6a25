"""What a flow is found to be, once nothing more is to come: complete, dead-lettered, broken, orphan or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.contract.log_lines import EventDeadLettered
from harness.evidence.log_files import LostLines
from harness.trace.edges import obligations
from harness.trace.flow import Flow, Surroundings
from harness.trace.obligations import Obligation

FlowState = Literal[
    "complete", "complete_with_duplicates", "dead_lettered", "broken", "orphan", "unknown"
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class FlowFinding:
    """One flow's state, its broken obligations, and the lost lines that forbid to call them broken."""

    flow: Flow
    state: FlowState
    broken: tuple[Obligation, ...]
    lost: tuple[LostLines, ...]


def judge_flow(flow: Flow, around: Surroundings, lost: Sequence[LostLines]) -> FlowFinding:
    """Judge a flow at rest. A broken edge whose missing line may have been lost is unknown, not broken."""
    all_obligations = obligations(flow, around)
    broken = tuple(obligation for obligation in all_obligations if not obligation.holds)
    doubts = tuple(hole for hole in lost if any(_may_hide(hole, obligation) for obligation in broken))
    certain = tuple(o for o in broken if not any(_may_hide(hole, o) for hole in doubts))
    if certain:
        state: FlowState = "broken" if any(o.state != "orphan" for o in certain) else "orphan"
        return FlowFinding(flow, state, certain, doubts)
    if broken:
        return FlowFinding(flow, "unknown", broken, doubts)
    if flow.of(EventDeadLettered):
        return FlowFinding(flow, "dead_lettered", (), ())
    duplicated = any(obligation.state == "duplicated" for obligation in all_obligations)
    return FlowFinding(flow, "complete_with_duplicates" if duplicated else "complete", (), ())


def _may_hide(hole: LostLines, obligation: Obligation) -> bool:
    """Could the line that this obligation misses be one of those that were lost?

    What must follow can only be lost after the line that demands it, what must have gone before only before it;
    but what another service has to write may come before it, as a message is received before its confirm is logged.
    A line too many (``excess``) is there: no lost line explains it away.
    """
    if obligation.state == "open":
        follows = hole.until >= obligation.line.ts or obligation.by != obligation.line.service
        return hole.service == obligation.by and follows
    if obligation.state == "orphan":
        return hole.since <= obligation.line.ts
    return False
