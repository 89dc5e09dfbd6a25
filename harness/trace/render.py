"""A flow as text: the shortest causal trace that shows where it broke, and the whole tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.contract.log_lines import InBand, as_fields, kind_of
from harness.trace.flow import Flow
from harness.trace.obligations import Obligation

MOST_LINES = 15
_WORTH_SHOWING = (
    "method", "route", "http_status", "event_type", "from_stage", "to_stage", "entity_version", "queue", "attempt",
    "redelivered", "rule_id", "action", "peer", "reason", "error", "actor",
)  # fmt: skip


def line_text(line: InBand) -> str:
    """``08:12:03.123456  pipeline    event.stored  pending  lead.stage.changed``"""
    fields = as_fields(line)
    shown = (fields.get(name) for name in _WORTH_SHOWING)
    details = " ".join(str(value) for value in shown if value is not None and value is not False)
    return f"{line.ts[11:26]}  {line.service:<10}  {kind_of(line)}  {line.status}  {details}".rstrip()


def shortest_trace(flow: Flow, broken: Obligation) -> list[str]:
    """At most 15 lines: the root, the way to the broken edge, the missing step, and what came after it."""
    related = [line for line in flow.lines if _related(line, broken.line)] or flow.lines
    at = next((index for index, line in enumerate(related) if line is broken.line), len(related) - 1)
    room = MOST_LINES - 2
    start = max(0, at - room + 3)
    shown = related[start : start + room]
    texts = [line_text(line) for line in shown]
    mark = f"{'':>15}  {broken.by:<10}  ✗ {_claim(broken)}"
    place = at - start + (0 if broken.state == "orphan" else 1)
    texts.insert(place, mark)
    if start:
        texts.insert(0, f"{'':>15}  … {start} earlier line{'s' if start > 1 else ''} of this flow")
    return texts


def _claim(broken: Obligation) -> str:
    if broken.state == "excess":
        return f"EXCESS  expected {broken.missing}"
    return f"MISSING  {broken.missing}"


def _related(line: InBand, broken: InBand) -> bool:
    """The event in question, its cause, and requests around it; other events' lines only make the trace longer."""
    ids = {broken.event_id, broken.causation_id} - {None}
    return (
        not ids
        or line is broken
        or line.event_id in ids
        or (line.event_id is None and line.causation_id is None)
        or line.span_id in (broken.span_id, broken.parent_span_id)
    )


def tree(flow: Flow, broken: Sequence[Obligation] = ()) -> Iterator[str]:
    """Every line of a flow, indented under the span that caused it, with broken edges marked where they broke."""
    depth: dict[str, int] = {}
    for line in flow.lines:
        level = depth.setdefault(line.span_id, depth.get(line.parent_span_id or "", -1) + 1)
        yield "  " * level + line_text(line)
        for obligation in broken:
            if obligation.line is line:
                yield "  " * level + f"  ✗ {obligation.edge}: {_claim(obligation)} (by {obligation.by})"
