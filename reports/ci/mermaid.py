"""One flow as a Mermaid sequence diagram, which GitHub and GitLab draw where they show Markdown.

https://mermaid.js.org/syntax/sequenceDiagram.html: a message ends with its line or at ``;``, and what may be taken for
syntax is written as an entity, ``#59;``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from harness.checks.verdict import Finding
from harness.contract.log_lines import (
    SERVICES,
    ActionCompleted,
    CallCompleted,
    CallSent,
    ChangeCommitted,
    EventDeadLettered,
    EventPublished,
    EventReceived,
    EventSettled,
    EventStored,
    HttpRequestCompleted,
    HttpRequestReceived,
    InBand,
    RuleEvaluated,
    kind_of,
)
from harness.trace.findings import FlowFinding
from harness.trace.obligations import Obligation

MOST_ARROWS = 60
_BEFORE = 40
"""Of a longer flow, so many arrows before its first break are shown, and the rest after it."""
_PLAIN = re.compile(r"[^A-Za-z0-9 _./(){}→×✗…-]")
_CLIENT, _DATABASE, _BROKER, _OTHER = "client", "database", "broker", "other"


def sequence_diagram(found: FlowFinding, claim: Finding) -> str:
    """The whole diagram, without a fence around it; at most 60 arrows, around the first break.

    ``claim``: what is wrong with the flow, for one in which no causal edge is broken.
    """
    arrows = [arrow for arrow in _arrows(found) if arrow]
    if not found.broken:
        arrows.append(_note(claim.service or found.flow.lines[-1].service, f"✗ {claim.says}"))
    first_break = next((at for at, arrow in enumerate(arrows) if "✗" in arrow), 0)
    begin = max(0, min(first_break - _BEFORE, len(arrows) - MOST_ARROWS))
    shown = arrows[begin : begin + MOST_ARROWS]
    told = "\n".join(shown)
    ends = [name for name in (_CLIENT, *SERVICES, _OTHER, _DATABASE, _BROKER) if re.search(rf"\b{name}\b", told)]
    lines = ["sequenceDiagram", *(f"    participant {name}" for name in ends)]
    lines += [_note(ends[0], f"{begin} earlier steps are left out")] if begin else []
    lines += shown
    after = len(arrows) - begin - len(shown)
    lines += [_note(ends[0], f"{after} later steps are left out")] if after else []
    return "\n".join(lines)


def _arrows(found: FlowFinding) -> Iterator[str]:
    broken: dict[int, list[Obligation]] = defaultdict(list)
    for obligation in found.broken:
        broken[id(obligation.line)].append(obligation)
    calls = {line.span_id for line in found.flow.of(CallSent)}
    for line in found.flow.lines:
        orphaned = [one for one in broken.get(id(line), ()) if one.state == "orphan"]
        yield from (_missing(one) for one in orphaned)
        yield _arrow(line, calls)
        yield from (_missing(one) for one in broken.get(id(line), ()) if one.state != "orphan")


def _arrow(line: InBand, calls: set[str]) -> str:
    """What a line tells of, as an arrow between two ends; empty for what another line tells as well."""
    me = line.service
    match line:
        case HttpRequestReceived():
            return "" if line.parent_span_id in calls else _from_to(_CLIENT, "->>", me, f"{line.method} {line.route}")
        case HttpRequestCompleted():
            return "" if line.parent_span_id in calls else _from_to(me, "-->>", _CLIENT, str(line.http_status))
        case CallSent():
            return _from_to(me, "->>", line.peer, f"{line.method} {line.route}{_again(line.attempt)}")
        case CallCompleted():
            lost = line.http_status is None
            return _from_to(line.peer, "--x" if lost else "-->>", me, line.status if lost else str(line.http_status))
        case ChangeCommitted():
            stages = f" {line.from_stage or ''} → {line.to_stage}" if line.to_stage else ""
            return _from_to(me, "->>", _DATABASE, f"commit {line.entity_type} version {line.entity_version}{stages}")
        case EventStored():
            return _from_to(me, "->>", _DATABASE, f"outbox {line.event_type}")
        case EventPublished():
            how = "->>" if line.status == "confirmed" else "-x"
            return _from_to(me, how, _BROKER, f"{line.event_type} {line.status}{_again(line.attempt)}")
        case EventReceived():
            return _from_to(_BROKER, "->>", me, f"{line.queue}{_again(line.attempt)}")
        case RuleEvaluated() | ActionCompleted():
            return "" if line.status == "not_matched" else _note(me, f"{kind_of(line)} {line.rule_id} {line.status}")
        case EventSettled():
            return _from_to(me, "-->>", _BROKER, line.status)
        case EventDeadLettered():
            return _from_to(me, "->>", _BROKER, f"dead letter {line.reason} {line.error}")
        case _:
            return ""


def _again(attempt: int) -> str:
    return f" (attempt {attempt})" if attempt > 1 else ""


def _missing(obligation: Obligation) -> str:
    verb = "EXCESS" if obligation.state == "excess" else "MISSING"
    return _note(obligation.by, f"✗ {obligation.edge} {verb} {obligation.missing}")


def _from_to(one: str, arrow: str, other: str, text: str) -> str:
    return f"    {_name(one)}{arrow}{_name(other)}: {_escaped(text)}"


def _note(over: str, text: str) -> str:
    return f"    Note over {_name(over)}: {_escaped(text)}"


def _name(text: str) -> str:
    """An end's name: what a service has logged as its peer may be any text, and ``end`` would be syntax."""
    return text if text in (*SERVICES, _CLIENT, _DATABASE, _BROKER) else _OTHER


def _escaped(text: str) -> str:
    cut = text if len(text) <= 120 else f"{text[:120]}…"
    return _PLAIN.sub(lambda found: f"#{ord(found[0])};", " ".join(cut.split())) or "#32;"
