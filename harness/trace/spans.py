"""Flows as spans, the way tracing tools speak of them: who did what from when until when, under which other span.

A span is all lines of one ``span_id``. What a client asked is a span too, above the request that it made. A publish,
which has no parent in the log, stands under the change that stored its event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import md5
from typing import Literal

from harness.contract.log_lines import (
    ActionStarted,
    CallCompleted,
    CallSent,
    EventPublished,
    EventReceived,
    EventStored,
    HttpRequestReceived,
    InBand,
    RuleEvaluated,
    kind_of,
)
from harness.evidence.clock import unix_ns
from harness.evidence.evidence import Evidence
from harness.evidence.records import Operation
from harness.trace.flow import lines_by_flow

Role = Literal["internal", "server", "client", "producer", "consumer"]
CLIENT = "client"
_FAILED = ("server_error", "timeout", "connection_error", "failed", "error", "nacked", "returned", "dead_lettered")


@dataclass(frozen=True, slots=True)
class Span:
    """Times are nanoseconds since 1970. ``causes``: other spans that led to it, besides its parent. ``problem``: what
    went wrong in it; empty if nothing did. ``told``: what is worth knowing of one that has no lines."""

    span_id: str
    parent_id: str | None
    correlation_id: str
    service: str
    instance: str
    name: str
    role: Role
    began_ns: int
    ended_ns: int
    lines: tuple[InBand, ...] = ()
    causes: tuple[str, ...] = ()
    problem: str = ""
    told: Mapping[str, str] | None = None


def moment_ns(ts: str) -> int | None:
    """None for what is written as a timestamp and is no date."""
    try:
        return unix_ns(ts)
    except ValueError:
        return None


def spans_of(evidence: Evidence, only: str | None = None) -> Iterator[Span]:
    """All spans of a scenario, flow by flow; of one flow with ``only``."""
    asked: dict[str, list[Span]] = {}
    for operation in evidence.operations:
        if (only is None or operation.correlation_id == only) and (span := _asked(evidence, operation)):
            asked.setdefault(operation.correlation_id, []).append(span)
    flows = lines_by_flow(evidence.lines, None if only is None else {only})
    for correlation_id in dict.fromkeys([*flows, *asked]):
        above = asked.get(correlation_id, [])
        yield from above
        yield from _logged(correlation_id, flows.get(correlation_id, []), above)


def _asked(evidence: Evidence, operation: Operation) -> Span | None:
    """None where nobody has compared the clocks."""
    if evidence.scenario.clock is None or (wall_ns := moment_ns(evidence.scenario.clock[0])) is None:
        return None
    shift_ns = wall_ns - evidence.scenario.clock[1]
    name = f"{operation.correlation_id} {operation.operation_id}"
    status = str(operation.http_status or "no answer")
    return Span(
        span_id=md5(name.encode(), usedforsecurity=False).hexdigest()[:16],
        parent_id=None,
        correlation_id=operation.correlation_id,
        service=CLIENT,
        instance=f"{CLIENT}-{evidence.scenario.stack}",
        name=operation.action,
        role="client",
        began_ns=operation.invoked_ns + shift_ns,
        ended_ns=operation.returned_ns + shift_ns,
        problem=f"outcome unknown: {status}" if operation.outcome == "unknown" else "",
        told={"outcome": operation.outcome, "http_status": status, "scenario": evidence.scenario.name},
    )


def _logged(correlation_id: str, lines: Sequence[InBand], above: Sequence[Span]) -> Iterator[Span]:
    grouped: dict[str, list[InBand]] = {}
    stored_in: dict[str | None, str] = {}
    published_in: dict[str | None, str] = {}
    for line in lines:
        if moment_ns(line.ts) is None:
            continue
        grouped.setdefault(line.span_id, []).append(line)
        if isinstance(line, EventStored):
            stored_in.setdefault(line.event_id, line.span_id)
        elif isinstance(line, EventPublished):
            published_in.setdefault(line.event_id, line.span_id)
    spans = [_span(correlation_id, span_id, members) for span_id, members in grouped.items()]
    spans = [_under(span, stored_in, above) for span in spans]
    parents = {span.span_id: span.parent_id for span in spans}
    for span in spans:
        causes = dict.fromkeys(published_in.get(line.causation_id) for line in span.lines if line.causation_id)
        known = set(_ancestry(span.span_id, parents))
        yield replace(span, causes=tuple(cause for cause in causes if cause and cause not in known))


def _under(span: Span, stored_in: Mapping[str | None, str], above: Sequence[Span]) -> Span:
    """The same, with the parent that its log leaves out."""
    first = span.lines[0]
    if span.parent_id is None and isinstance(first, EventPublished):
        return replace(span, parent_id=stored_in.get(first.event_id))
    if span.parent_id is None and isinstance(first, HttpRequestReceived) and len(above) == 1:
        return replace(span, parent_id=above[0].span_id)
    return span


def _ancestry(span_id: str, parents: Mapping[str, str | None]) -> Iterator[str]:
    """A span and all above it, each once: a log may claim a circle."""
    seen: set[str] = set()
    above: str | None = span_id
    while above is not None and above not in seen:
        seen.add(above)
        yield above
        above = parents.get(above)


def _span(correlation_id: str, span_id: str, members: Sequence[InBand]) -> Span:
    first, last = members[0], members[-1]
    began_ns, ended_ns = moment_ns(first.ts) or 0, moment_ns(last.ts) or 0
    if isinstance(first, EventPublished) and first.confirm_ms:
        began_ns -= round(first.confirm_ms * 1e6)  # its one line is written when the confirm has come
    name, role = _known_as(first)
    problems = (f"{kind_of(line)} {line.status}" for line in members if line.status in _FAILED)
    return Span(
        span_id=span_id,
        parent_id=first.parent_span_id,
        correlation_id=correlation_id,
        service=first.service,
        instance=first.instance,
        name=name,
        role=role,
        began_ns=began_ns,
        ended_ns=max(began_ns, ended_ns),
        lines=tuple(members),
        problem=next(problems, ""),
    )


def _known_as(first: InBand) -> tuple[str, Role]:
    match first:
        case HttpRequestReceived():
            return f"{first.method} {first.route}", "server"
        case CallSent():
            return f"{first.method} {first.route}", "client"
        case CallCompleted():
            return f"call of {first.peer}", "client"
        case EventPublished():
            return f"publish {first.event_type}", "producer"
        case EventReceived():
            return f"process {first.queue}", "consumer"
        case RuleEvaluated():
            return f"rule {first.rule_id}", "internal"
        case ActionStarted():
            return f"action {first.action}", "internal"
        case _:
            return kind_of(first), "internal"
