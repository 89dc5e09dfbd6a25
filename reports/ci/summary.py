"""A run in Markdown, for the page of a CI job: the verdict, what broke, and the worst flow as a picture."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from harness.checks.causes import Cause
from harness.checks.one_flow import flow_of
from harness.checks.run_verdict import RunRecord, RunVerdict
from harness.evidence.evidence import load_evidence
from harness.evidence.run_directory import RunDirectory, read_json
from harness.target import Target
from reports.ci.mermaid import sequence_diagram
from reports.results import ScenarioResult

MOST_CAUSES, MOST_SCENARIOS = 10, 30
_MARKS = {"pass": "✅ PASS", "fail": "❌ FAIL", "unknown": "❔ UNKNOWN"}
_SYNTAX = re.compile(r"([\\`*_{}\[\]()#+!|~$@&])")


def summary_markdown(
    run: RunDirectory, verdict: RunVerdict | None, results: Sequence[ScenarioResult], target: Target
) -> str:
    """The whole text. Raises EvidenceError where the worst flow cannot be read."""
    return "\n".join(_lines(run, verdict, results, target)) + "\n"


def _lines(
    run: RunDirectory, verdict: RunVerdict | None, results: Sequence[ScenarioResult], target: Target
) -> Iterator[str]:
    kinds = Counter(result.kind for result in results)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    yield f"## {_MARKS[verdict.verdict if verdict else 'unknown']}   gauntlet: {len(results)} scenarios ({told})"
    yield ""
    yield f"seed {read_json(run.run_file, RunRecord).seed} · run `{run.root.name}`"
    causes = verdict.causes if verdict else ()
    for number, cause in enumerate(causes[:MOST_CAUSES], start=1):
        yield from _cause(number, cause)
    if len(causes) > MOST_CAUSES:
        yield f"\n… and {len(causes) - MOST_CAUSES} more causes"
    yield from _worst_flow(causes, results, target)
    yield from _not_green([result for result in results if result.kind != "pass"])


def _cause(number: int, cause: Cause) -> Iterator[str]:
    first = cause.findings[0]
    places = (("edge", first.edge), ("service", first.service), ("", first.entity))
    where = " · ".join(f"{name} {value}".strip() for name, value in places if value)
    about = [("seen by", ", ".join(cause.properties)), ("where", where), ("while", first.fault)]
    yield from ("", f"### {number}. {cause.severity.upper()}: {escaped(cause.title)}", "")
    yield from (f"- {name}: {escaped(text)}" for name, text in about if text)
    if first.reproduce:
        yield f"- again: `{first.reproduce.replace('`', '')}`"
    if cause.example.trace:
        yield from ("", *fenced(cause.example.trace))


def _not_green(results: Sequence[ScenarioResult]) -> Iterator[str]:
    if not results:
        return
    yield from ("", "### Not green", "", "| scenario | what | why |", "|---|---|---|")
    for result in results[:MOST_SCENARIOS]:
        yield f"| {escaped(result.name)} | {result.kind} | {escaped(result.headline)} |"
    if len(results) > MOST_SCENARIOS:
        yield f"| … and {len(results) - MOST_SCENARIOS} more | | |"


def _worst_flow(causes: Sequence[Cause], results: Sequence[ScenarioResult], target: Target) -> Iterator[str]:
    """The flow that shows the gravest cause that has one."""
    folders = {result.name: result.directory for result in results}
    for example in (cause.example for cause in causes):
        directory = folders.get(example.scenario or "")
        if not example.correlation_id or directory is None:
            continue
        flow = flow_of(load_evidence(directory, target), example.correlation_id)
        if flow.judged is not None:
            yield from ("", f"### The worst flow, `{flow.correlation_id}`", "", "```mermaid")
            yield from (sequence_diagram(flow.judged, example), "```")
            return


def escaped(text: str) -> str:
    """Text that Markdown shows as it stands, in one line: it may come from a log line, that is from anybody."""
    return _SYNTAX.sub(r"\\\1", " ".join(text.split())).replace("<", "&lt;")


def fenced(lines: Sequence[str]) -> Iterator[str]:
    """Lines as code, in a fence that none of them can close."""
    longest = max((len(found) for line in lines for found in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (fence, *lines, fence)
