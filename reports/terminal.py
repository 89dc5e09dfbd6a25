"""A verdict as text: what broke, the proof of it, and the command that shows more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.checks import ALL
from harness.checks.judge import ScenarioVerdict
from harness.checks.run_verdict import RunVerdict
from harness.checks.verdict import Finding, Status
from harness.environment.stack import Stack

MOST_FINDINGS = 5
_MARKS: dict[Status, str] = {"pass": "✓", "fail": "✗", "unknown": "?", "idle": "·"}


def scenario_text(verdict: ScenarioVerdict) -> str:
    """Why a scenario is not green."""
    return "\n".join(_scenario_lines(verdict))


def _scenario_lines(verdict: ScenarioVerdict) -> Iterator[str]:
    yield f"{verdict.verdict.upper()}  {verdict.scenario}"
    if verdict.error:
        yield f"  the scenario itself: {verdict.error.splitlines()[0]}"
    if verdict.faults:
        yield f"  faults: {'; '.join(verdict.faults)}"
    for result in verdict.results:
        for finding in result.findings[:MOST_FINDINGS]:
            yield from _finding_lines(finding)
        if len(result.findings) > MOST_FINDINGS:
            yield f"  ✗ {result.property}: … and {len(result.findings) - MOST_FINDINGS} more"
        for doubt in result.doubts[:MOST_FINDINGS]:
            yield f"  ? {result.property}: unknown: {doubt}"


def _finding_lines(finding: Finding) -> Iterator[str]:
    yield f"  ✗ {finding.property}: {finding.says}"
    where = [
        f"{name} {value}"
        for name, value in (
            ("edge", finding.edge),
            ("service", finding.service),
            ("", finding.entity),
            ("correlation", finding.correlation_id),
        )
        if value
    ]
    if where:
        yield f"      {' · '.join(text.strip() for text in where)}"
    for line in finding.trace:
        yield f"      │ {line}"


def stack_text(stack: Stack) -> str:
    """Every address and credential of a stack that is up, and how to use and end it."""
    lines = [
        f"{name:<12} {stack.url(name)}  (through its proxy: {stack.edges[f'client→{name}']})" for name in stack.services
    ]
    lines += [f"{'PostgreSQL':<12} {stack.database_url}", f"{'RabbitMQ':<12} {stack.broker_url}"]
    roles = [name for name in stack.passwords if name in stack.services]
    lines += [f"  as {role:<10} password {stack.passwords[role]}" for role in roles]
    lines += [f"{'Toxiproxy':<12} {stack.toxiproxy_url}"]
    lines += [f"{'sinks':<12} {stack.url('sinks')}  (webhooks and mail that came)", "", "bearer tokens"]
    lines += [f"  {name:<10} {token}" for name, token in stack.tokens.items()]
    example = (
        f"curl -H 'Authorization: Bearer {next(iter(stack.tokens.values()))}' {stack.url(stack.services[0])}/leads"
    )
    lines += [
        "",
        f"try it:      {example}",
        f"logs:        {stack.log_dir}",
        f"end it:      gauntlet down {stack.run_dir}",
    ]
    return "\n".join(lines)


def run_text(verdict: RunVerdict, run: Path) -> str:
    """A run on one screen: its scenarios that are not green, a line for each property, the verdict, the path."""
    return "\n".join(_run_lines(verdict, run))


def _run_lines(verdict: RunVerdict, run: Path) -> Iterator[str]:
    for scenario in verdict.scenarios:
        if scenario.verdict != "pass":
            yield from _scenario_lines(scenario)
            yield ""
    by_property: dict[str, Counter[Status]] = {prop.name: Counter() for prop in ALL}
    for scenario in verdict.scenarios:
        for result in scenario.results:
            by_property.setdefault(result.property, Counter())[result.status] += 1
    for name, counts in by_property.items():
        told = "  ".join(f"{counts[status]:>3} {mark} {status}" for status, mark in _MARKS.items() if counts[status])
        yield f"  {name:<28} {told}"
    for failure in verdict.failures:
        yield f"  ✗ {failure}"
    if verdict.idle:
        yield f"  never put to the test, so not proven: {', '.join(verdict.idle)}"
    reds = [scenario for scenario in verdict.scenarios if scenario.verdict != "pass"]
    flow = next((f.correlation_id for s in reds for f in s.findings if f.correlation_id), None)
    yield ""
    yield f"verdict: {verdict.verdict.upper()}   {len(verdict.scenarios)} scenarios, {len(reds)} not green"
    if flow:
        yield f"one flow as a tree: gauntlet show {run} {flow}"
    yield f"judge it again:     gauntlet check {run}"


def fuzz_text(requests: Mapping[str, int], server_errors: int, log_lines: int, mistakes: Sequence[str]) -> str:
    """How many requests each operation got, and what went wrong."""
    lines = [f"{sent:7}  {operation}" for operation, sent in sorted(requests.items())]
    lines += ["", *(f"✗ {mistake}\n" for mistake in mistakes)]
    lines.append(
        f"{'FAIL' if mistakes else 'PASS'}   {sum(requests.values())} requests, {server_errors} server errors, "
        f"{len(mistakes)} mistakes, {log_lines} log lines read"
    )
    return "\n".join(lines)
