"""One flow as text: what became of it, its tree of log lines, what the other witnesses say, and what was broken."""

from __future__ import annotations

from collections.abc import Iterator

from harness.checks.one_flow import OneFlow
from harness.trace.render import tree
from harness.trace.witnesses import faults_during, witnesses

_BEFORE, _AFTER = "", "~"


def flow_text(flow: OneFlow) -> Iterator[str]:
    """Line by line."""
    evidence, judged = flow.evidence, flow.judged
    yield f"flow {flow.correlation_id}: {judged.state if judged else 'no line of the log tells of it'}"
    yield f"  in {evidence.scenario.name} on stack {evidence.scenario.stack}"
    since, until = _BEFORE, _AFTER
    if judged is not None:
        yield from (f"  ? {hole}" for hole in judged.lost)
        yield from _part("log", tree(judged.flow, judged.broken))
        since, until = judged.flow.lines[0].ts, judged.flow.lines[-1].ts
    yield from _part("other witnesses", witnesses(evidence, flow.correlation_id))
    yield from _part("faults meanwhile", faults_during(evidence, since, until))


def _part(title: str, texts: Iterator[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if not number:
            yield from ("", f"{title}:")
        yield text
