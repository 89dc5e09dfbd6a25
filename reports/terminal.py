"""A verdict as text: what broke, the proof of it, and the command that shows more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.checks import ALL
from harness.checks.causes import Cause, causes_of
from harness.checks.judge import ScenarioVerdict
from harness.checks.run_verdict import RunVerdict
from harness.checks.verdict import Finding, Status
from harness.environment.doctor import Diagnosis
from harness.environment.servers import PROXY, ProxyServer
from harness.environment.stack import Stack

MOST_CAUSES = 10
MOST_DOUBTS = 5
MOST_SIGHTINGS = 12
_WIDEST = 250
_LAST_WORDS, _COLUMNS = 8, 2
_BRIEFLY = ("where", "in", "again", "look")
_NOTHING_SAID: Mapping[str, str] = {}
_MARKS: dict[Status, str] = {"pass": "✓", "fail": "✗", "unknown": "?", "idle": "·"}


def scenario_text(verdict: ScenarioVerdict, run: Path | None = None) -> str:
    """Why a scenario is not green: its causes, the gravest first."""
    return "\n".join([*_scenario_lines(verdict), *_cause_lines(causes_of(verdict.findings), run)])


def _scenario_lines(verdict: ScenarioVerdict) -> Iterator[str]:
    """What concerns the scenario as a whole; what broke is told with its cause."""
    yield f"{verdict.verdict.upper()}  {verdict.scenario}"
    if verdict.error:
        yield f"  the scenario itself: {_cut(verdict.error.splitlines()[0])}"
    if verdict.faults:
        yield f"  faults: {'; '.join(verdict.faults)}"
    if verdict.failed:
        yield f"  broken: {', '.join(verdict.failed)}"
    for result in verdict.results:
        for doubt in result.doubts[:MOST_DOUBTS]:
            yield f"  ? {result.property}: unknown: {_cut(doubt)}"
        if len(result.doubts) > MOST_DOUBTS:
            yield f"  ? {result.property}: … and {len(result.doubts) - MOST_DOUBTS} more doubts"


def _cause_lines(
    causes: Sequence[Cause], run: Path | None, *, of: int = 1, in_full: int = MOST_CAUSES
) -> Iterator[str]:
    """``of``: how many scenarios are told of; with more than one, a cause says in which it was seen. ``in_full``: so
    many causes are told with all their sightings and a flow; of the others it is said where to look."""
    for number, cause in enumerate(causes[:MOST_CAUSES], start=1):
        yield ""
        yield f"✗ {number}. {cause.severity.upper()}: {_cut(cause.title)}"
        labelled = [(name, text) for name, text in _about(cause, run, of) if text]
        if number > in_full:
            labelled = [(name, text) for name, text in labelled if name in _BRIEFLY]
        yield from (f"    {name:<12} {text}" for name, text in labelled)
        yield from (f"      │ {line}" for line in cause.example.trace if number <= in_full)
    if len(causes) > MOST_CAUSES:
        yield ""
        yield f"✗ … and {len(causes) - MOST_CAUSES} more causes: gauntlet check --json {run or ''}".rstrip()


def _about(cause: Cause, run: Path | None, of: int) -> Iterator[tuple[str, str]]:
    """The labelled lines under a cause's title."""
    first, *others = cause.findings
    yield "seen by", f"{first.property}{_more(first.more, cause.properties)}"
    yield "where", _where(first)
    yield from (("and by", _sighting(other)) for other in others[:MOST_SIGHTINGS])
    if len(others) > MOST_SIGHTINGS:
        yield "and by", f"… {len(others) - MOST_SIGHTINGS} more"
    yield "while", first.fault or ""
    yield "in", _scenarios(cause.scenarios) if of > 1 else ""
    yield "again", first.reproduce or ""
    flow = cause.example.correlation_id
    if flow:
        yield "look", f"gauntlet show {run or 'RUN'} {flow}"
        yield "for example", f"one of {cause.flows} flows" if cause.flows > 1 else "the flow"


def _more(count: int, properties: Sequence[str]) -> str:
    told = f", and {count} more like it" if count else ""
    return f"{told}; one cause, seen by {len(properties)} properties" if len(properties) > 1 else told


def _sighting(finding: Finding) -> str:
    told = f" (and {finding.more} more)" if finding.more else ""
    return f"{finding.property}: {_cut(finding.says)}{told}"


def _where(finding: Finding) -> str:
    parts = (
        f"{name} {value}".strip()
        for name, value in (("edge", finding.edge), ("service", finding.service), ("", finding.entity))
        if value
    )
    return " · ".join(parts)


def _scenarios(names: Sequence[str]) -> str:
    shown = ", ".join(name.rpartition("::")[2] for name in names[:3])
    return shown if len(names) < 2 else f"{len(names)} scenarios: {shown}{' …' if len(names) > 3 else ''}"


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"


_WHY_THESE_PROXIES: dict[ProxyServer, str] = {
    "wire": f"this project's fault proxy: the default, it acts at events of the wire (the other: {PROXY}=toxiproxy)",
    "toxiproxy": f"Toxiproxy's own server, since {PROXY} says so: faults anchored to events are not applicable",
}


_REMEDY = "to mend it"


def diagnosis_text(found: Diagnosis) -> str:
    """What a stack would be made of, a line each, and below it what is wrong and how to mend it."""
    lines = [
        f"{'environment':<20} {found.environment or 'NONE':<15} {found.why}",
        f"{'proxies':<20} {found.proxies:<15} {_WHY_THESE_PROXIES[found.proxies]}",
    ]
    area = ""
    for sign in found.signs:
        lines += ["", sign.area] if sign.area != area else []
        area = sign.area
        value = sign.value.upper() if sign.fatal else sign.value
        lines.append(f"{sign.name:<20} {value:<15} {sign.says}")
        lines += [f"{'':<36} {_REMEDY}: {sign.remedy}"] if sign.remedy else []
    lines += ["", "left behind"]
    lines += [f"{'kept up':<20} {'yes':<15} {file}   (gauntlet down ends it)" for file in found.kept]
    lines += [f"{'':<20} {'left':<15} {one}" for one in found.left_behind]
    lines += [f"{'':<36} {_REMEDY}: gauntlet doctor --sweep"] if found.left_behind else ["nothing"]
    lines += ["", "a gate could run here" if found.ready else "no gate could run here: see what stands in capitals"]
    return "\n".join(lines)


def stack_text(stack: Stack) -> str:
    """Every address and credential of a stack that is up, and how to use and end it."""
    lines = [
        f"{name:<12} {stack.url(name)}  (through its proxy: {stack.edges[f'client→{name}']})" for name in stack.services
    ]
    lines += [f"{'PostgreSQL':<12} {stack.database_url}", f"{'RabbitMQ':<12} {stack.broker_url}"]
    roles = [name for name in stack.passwords if name in stack.services]
    lines += [f"  as {role:<10} password {stack.passwords[role]}" for role in roles]
    lines += [f"{'proxies':<12} {stack.proxies_url}"]
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


def run_text(verdict: RunVerdict, run: Path, *, said: Mapping[str, str] = _NOTHING_SAID) -> str:
    """A run on one screen: what is not green, the gravest cause in full, every property, the verdict, the path.

    ``said``: what pytest said of scenarios that failed, for those that left nothing else to go by.
    """
    return "\n".join(_run_lines(verdict, run, said))


def _run_lines(verdict: RunVerdict, run: Path, said: Mapping[str, str]) -> Iterator[str]:
    reds = [scenario for scenario in verdict.scenarios if scenario.verdict != "pass"]
    for scenario in reds:
        yield from _scenario_lines(scenario)
        if scenario.error and not scenario.findings:
            yield from _last_words(said.get(scenario.scenario, ""))
    yield from _cause_lines(verdict.causes, run, of=len(reds), in_full=1)
    for failure in verdict.failures:
        yield f"  ✗ {failure}"
        yield from _last_words(said.get(failure, ""))
    if reds or verdict.failures:
        yield ""
    yield from _property_lines(verdict)
    if verdict.idle:
        yield f"  never put to the test, so not proven: {', '.join(verdict.idle)}"
    yield ""
    yield f"verdict: {verdict.verdict.upper()}   {len(verdict.scenarios)} scenarios, {len(reds)} not green"
    if verdict.covers:
        yield f"of the whole: {verdict.covers}; what is not applicable to this system is not proven for it"
    yield f"judge it again: gauntlet check {run}"


def _last_words(text: str) -> Iterator[str]:
    yield from (f"      │ {_cut(line)}" for line in text.splitlines()[-_LAST_WORDS:] if line.strip())


def _property_lines(verdict: RunVerdict) -> Iterator[str]:
    """A line for each that is not green; the others side by side, with the number of scenarios that prove them."""
    by_property: dict[str, Counter[Status]] = {prop.name: Counter() for prop in ALL}
    for scenario in verdict.scenarios:
        for result in scenario.results:
            by_property.setdefault(result.property, Counter())[result.status] += 1
    asked = {name: counts for name, counts in by_property.items() if counts}  # it may be one alone
    red = {name: counts for name, counts in asked.items() if counts["fail"] or counts["unknown"]}
    for name, counts in red.items():
        told = "  ".join(f"{counts[status]:>3} {mark} {status}" for status, mark in _MARKS.items() if counts[status])
        yield f"  {name:<28} {told}"
    green = ((name, counts["pass"]) for name, counts in asked.items() if name not in red)
    kept = [f"{_MARKS['pass' if count else 'idle']} {name:<28}{count:>4}" for name, count in green]
    rows = -(-len(kept) // _COLUMNS)
    yield from ("  " + "   ".join(kept[row::rows]) for row in range(rows))


def fuzz_text(requests: Mapping[str, int], server_errors: int, log_lines: int, mistakes: Sequence[str]) -> str:
    """How many requests each operation got, and what went wrong."""
    lines = [f"{sent:7}  {operation}" for operation, sent in sorted(requests.items())]
    lines += ["", *(f"✗ {mistake}\n" for mistake in mistakes)]
    lines.append(
        f"{'FAIL' if mistakes else 'PASS'}   {sum(requests.values())} requests, {server_errors} server errors, "
        f"{len(mistakes)} mistakes, {log_lines} log lines read"
    )
    return "\n".join(lines)
