"""A flow as text: the shortest causal trace that shows where it broke, and the whole tree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from harness.contract.log_lines import EventPublished, InBand, as_fields, kind_of
from harness.trace.flow import Flow
from harness.trace.obligations import Obligation

MOST_LINES = 15
_WIDEST = 150
_NO_TIME = f"{'':>15}"
_WORTH_SHOWING = (
    "method", "route", "http_status", "event_type", "from_stage", "to_stage", "entity_version", "queue", "attempt",
    "redelivered", "rule_id", "action", "peer", "reason", "error", "actor",
)  # fmt: skip


def line_text(line: InBand, indent: str = "") -> str:
    """``08:12:03.123456  pipeline    event.stored  pending  lead.stage.changed``"""
    fields = as_fields(line)
    shown = (fields.get(name) for name in _WORTH_SHOWING)
    details = " ".join(str(value) for value in shown if value is not None and value is not False)
    return f"{line.ts[11:26]}  {line.service:<10}  {indent}{kind_of(line)}  {line.status}  {details}".rstrip()


def mark(service: str | None, claim: str, indent: str = "") -> str:
    """The line of a trace that says what is wrong, in the columns of the others."""
    return f"{_NO_TIME}  {service or '':<10}  {indent}✗ {claim}"


def shortest_trace(flow: Flow, broken: Obligation) -> list[str]:
    """At most 15 lines: the root, the way to the broken edge, the missing step, and what came after it."""
    related = [line for line in flow.lines if _related(line, broken.line)] or flow.lines
    at = next((index for index, line in enumerate(related) if line is broken.line), len(related) - 1)
    room = MOST_LINES - 2
    start = max(0, at - room + 3)
    shown = related[start : start + room]
    texts = [line_text(line) for line in shown]
    place = at - start + (0 if broken.state == "orphan" else 1)
    texts.insert(place, mark(broken.by, _claim(broken)))
    if start:
        texts.insert(0, _left_out(start, "earlier line"))
    return texts


def claim_trace(flow: Flow, about: Collection[str], service: str | None, claim: str) -> list[str]:
    """At most 15 lines of a flow in which no edge is broken: what it says of these ids, then what is wrong with it."""
    related = [line for line in flow.lines if line.event_id in about or line.entity_id in about] or flow.lines
    return trace_of_texts([line_text(line) for line in related], service, claim)


def trace_of_texts(texts: Sequence[str], service: str | None, claim: str) -> list[str]:
    """At most 15 lines: how it began, how it ended, and the claim."""
    head, room = 4, MOST_LINES - 1
    if len(texts) > room:
        cut = len(texts) - room + 1
        texts = [*texts[:head], _left_out(cut, "line"), *texts[head + cut :]]
    return [*texts, mark(service, claim if len(claim) <= _WIDEST else f"{claim[:_WIDEST]}…")]


def _left_out(count: int, what: str) -> str:
    return f"{_NO_TIME}  … {count} {what}{'s' if count > 1 else ''} of this flow"


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


# --- the whole flow ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Span:
    """The lines of one span, and the spans that it caused."""

    lines: list[InBand] = field(default_factory=list)
    children: list[_Span] = field(default_factory=list)

    @property
    def items(self) -> list[InBand | _Span]:
        """In the order of time: a child stands where it began."""
        return sorted(
            [*self.lines, *self.children], key=lambda item: item.began if isinstance(item, _Span) else item.ts
        )

    @property
    def began(self) -> str:
        return self.lines[0].ts


def tree(flow: Flow, broken: Sequence[Obligation] = ()) -> Iterator[str]:
    """Every line of a flow under the span that caused it, each span in one piece, with broken edges marked where they
    broke. A publish, which has no parent, stands under the change that stored its event."""
    marks: dict[int, list[Obligation]] = defaultdict(list)
    for obligation in broken:
        marks[id(obligation.line)].append(obligation)
    for span in _roots(flow):
        yield from _branch(span, 0, marks)


def _roots(flow: Flow) -> list[_Span]:
    spans: dict[str, _Span] = defaultdict(_Span)
    stored_in: dict[str | None, str] = {}
    for line in flow.lines:
        spans[line.span_id].lines.append(line)
        if kind_of(line) == "event.stored":
            stored_in.setdefault(line.event_id, line.span_id)
    parents: dict[str, str] = {}
    roots: list[_Span] = []
    for span_id, span in spans.items():  # in the order of their first lines
        first = span.lines[0]
        parent = first.parent_span_id or (stored_in.get(first.event_id) if isinstance(first, EventPublished) else None)
        if parent in spans and span_id not in _ancestry(parent, parents):
            parents[span_id] = parent
            spans[parent].children.append(span)
        else:
            roots.append(span)
    return roots


def _ancestry(span_id: str, parents: dict[str, str]) -> Iterator[str]:
    """A span and all above it: where a log claims a circle, none of its spans may come under itself."""
    above: str | None = span_id
    while above is not None:
        yield above
        above = parents.get(above)


def _branch(span: _Span, level: int, marks: dict[int, list[Obligation]]) -> Iterator[str]:
    indent = "  " * level
    for item in span.items:
        if isinstance(item, _Span):
            yield from _branch(item, level + 1, marks)
            continue
        orphaned = [o for o in marks.get(id(item), ()) if o.state == "orphan"]
        yield from (_marked(obligation, indent) for obligation in orphaned)
        yield line_text(item, indent)
        yield from (_marked(o, indent) for o in marks.get(id(item), ()) if o.state != "orphan")


def _marked(obligation: Obligation, indent: str) -> str:
    return mark(obligation.by, f"{obligation.edge}: {_claim(obligation)}", indent)
