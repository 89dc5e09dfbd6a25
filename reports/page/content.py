"""What the page of a run says, gathered from its directory, and bounded: a page is read by a person, in a browser."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from harness.checks import ALL
from harness.checks.causes import Cause
from harness.checks.coverage import Coverage
from harness.checks.judge import ScenarioVerdict, Verdict, worst
from harness.checks.one_flow import OneFlow, find_flow, flow_of, target_of
from harness.checks.run_verdict import RunRecord, RunVerdict
from harness.checks.verdict import Status
from harness.contract.log_lines import InBand
from harness.evidence.clock import seconds_between
from harness.evidence.evidence import Evidence, load_evidence
from harness.evidence.explored import Explored
from harness.evidence.records import Fault, ScenarioRecord
from harness.evidence.run_directory import (
    ENVIRONMENT_FAILURE,
    RunDirectory,
    ScenarioDirectory,
    read_json,
    read_records,
)
from harness.load.result import LoadResult
from harness.trace.waterfall import Claim, waterfall
from reports.charts import charts_of
from reports.grid import Grid, GridFile
from reports.load_terminal import load_text
from reports.one_flow import flow_text
from reports.page.picture import svg

MOST_CAUSES, MOST_PICTURES, MOST_SCENARIOS, MOST_DOUBTS, MOST_FAULTS, MOST_TREE = 50, 16, 1_000, 40, 200, 120
WIDEST = 400
"""So many characters of a line are shown: it may hold whatever somebody has sent."""
GRIDS = ("matrix", "crash-sweep")


@dataclass(frozen=True, slots=True)
class Drawn:
    """A flow as picture, where there is one, and as text. ``scenario``: whose it is."""

    correlation_id: str
    scenario: str
    picture: Markup | None
    tree: Sequence[str]


@dataclass(frozen=True, slots=True)
class Told:
    """A cause, with the picture of its example; ``number`` by gravity, from 1."""

    number: int
    cause: Cause
    drawn: Drawn | None


@dataclass(frozen=True, slots=True)
class ScenarioRow:
    """One scenario. ``causes``: the numbers of those that were seen in it."""

    verdict: ScenarioVerdict
    took_s: float
    causes: Sequence[int]


@dataclass(frozen=True, slots=True)
class PropertyRow:
    name: str
    promise: str
    counts: Mapping[Status, int]


@dataclass(frozen=True, slots=True)
class FaultRow:
    """All faults of one kind at one place. ``took_s``: together."""

    kind: str
    place: str
    times: int
    hits: int
    took_s: float
    scenarios: int


@dataclass(frozen=True, slots=True)
class Load:
    """What a load run came to. ``charts``: ready to stand in the page; ``text``: the same as on a terminal."""

    result: LoadResult
    charts: Sequence[Markup]
    text: str


@dataclass(frozen=True, slots=True)
class RunPage:
    """All of it, the most important first. ``left_out``: what there is more of, and how much."""

    root: Path
    record: RunRecord
    verdict: RunVerdict
    took_s: float
    causes: Sequence[Told]
    chosen: Sequence[Drawn]
    doubts: Sequence[tuple[str, str, str]]
    scenarios: Sequence[ScenarioRow]
    properties: Sequence[PropertyRow]
    faults: Sequence[FaultRow]
    grids: Sequence[Grid]
    explored: Explored | None
    load: Load | None
    coverage: Coverage
    environment_failure: str
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def not_green(self) -> int:
        return sum(scenario.verdict != "pass" for scenario in self.verdict.scenarios)

    @property
    def ended(self) -> Verdict:
        """How the run has ended: with its properties, and with its gates where it was one of load."""
        of_load: dict[str, Verdict] = {"pass": "pass", "fail": "fail", "inconclusive": "unknown"}
        return worst([self.verdict.verdict, *([of_load[self.load.result.verdict]] if self.load else [])])

    @property
    def missed(self) -> int:
        """How many gates of a load run are not met, or cannot be told."""
        return sum(gate.status != "pass" for gate in self.load.result.gates) if self.load else 0

    @property
    def errors(self) -> list[ScenarioVerdict]:
        """Scenarios that have something to say themselves, and are shown."""
        return [row.verdict for row in self.scenarios if row.verdict.error][:MOST_CAUSES]


def gather(run: RunDirectory, verdict: RunVerdict, coverage: Coverage, flows: Sequence[str] = ()) -> RunPage:
    """Read what a finished run has left. ``flows``: correlation ids, or their beginnings, to be drawn as well.

    Raises EvidenceError for what cannot be read, and for a flow that there is not.
    """
    record, scenarios = read_json(run.run_file, RunRecord), _Scenarios(run)
    causes = [*_told(verdict.causes[:MOST_CAUSES], scenarios)]
    doubts = [*_doubts(verdict.scenarios)]
    rows = _scenario_rows(verdict, causes, scenarios)
    faults = _fault_rows(scenarios)
    chosen = [*_chosen(run, flows, {told.drawn.correlation_id for told in causes if told.drawn})]
    if not chosen and verdict.verdict == "pass":
        chosen = [*_example(verdict, scenarios)]
    ended = max((scenario.until for scenario in scenarios.records.values()), default=record.began_at)
    return RunPage(
        root=run.root, record=record, verdict=verdict, took_s=max(0.0, seconds_between(record.began_at, ended)),
        causes=causes, chosen=chosen, doubts=doubts[:MOST_DOUBTS], scenarios=rows[:MOST_SCENARIOS],
        properties=_property_rows(verdict.scenarios), faults=faults[:MOST_FAULTS], grids=[*_grids(run.root)],
        explored=_explored(run.root), load=_load(run.root), coverage=coverage,
        environment_failure=_text_of(run.root / ENVIRONMENT_FAILURE),
        left_out={
            what: len(found) - most
            for what, found, most in (
                ("causes", verdict.causes, MOST_CAUSES), ("doubts", doubts, MOST_DOUBTS),
                ("scenarios", rows, MOST_SCENARIOS), ("faults", faults, MOST_FAULTS),
            )
            if len(found) > most
        },
    )  # fmt: skip


class _Scenarios:
    """Those that were recorded, by name; the evidence of one is read when it is first asked for."""

    def __init__(self, run: RunDirectory) -> None:
        self._target = target_of(run)
        self._evidence: dict[str, Evidence] = {}
        self.folders: dict[str, ScenarioDirectory] = {}
        self.records: dict[str, ScenarioRecord] = {}
        for folder in run.scenarios():
            record = read_json(folder.scenario_file, ScenarioRecord)
            self.folders[record.name], self.records[record.name] = folder, record

    def evidence(self, name: str) -> Evidence:
        if name not in self._evidence:
            self._evidence[name] = load_evidence(self.folders[name], self._target)
        return self._evidence[name]


def _text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


# --- what broke -------------------------------------------------------------------------------------------------


def _told(causes: Sequence[Cause], scenarios: _Scenarios) -> Iterator[Told]:
    """Each cause with its example drawn, as long as there are not too many; a flow is drawn once."""
    drawn: set[str] = set()
    for number, cause in enumerate(causes, start=1):
        example, picture = cause.example, None
        name, flow = example.scenario or "", example.correlation_id
        if name in scenarios.folders and flow and flow not in drawn and len(drawn) < MOST_PICTURES:
            claim = Claim(example.service or "system", example.says)
            picture = _drawn(flow_of(scenarios.evidence(name), flow), claim)
            drawn.add(flow)
        yield Told(number, cause, picture)


def _drawn(flow: OneFlow, claim: Claim | None = None) -> Drawn:
    tree = list(flow_text(flow))
    more = [f"… and {len(tree) - MOST_TREE} more lines"] if len(tree) > MOST_TREE else []
    tree = [*(line if len(line) <= WIDEST else f"{line[:WIDEST]}…" for line in tree[:MOST_TREE]), *more]
    shown = waterfall(flow.evidence, flow.correlation_id, flow.judged, claim)
    picture = svg(shown) if shown.lanes else None
    return Drawn(flow.correlation_id, flow.evidence.scenario.name, picture, tree)


def _chosen(run: RunDirectory, flows: Sequence[str], drawn: set[str]) -> Iterator[Drawn]:
    """Those that are not drawn already, each once."""
    for flow in (find_flow(run, beginning) for beginning in flows):
        if flow.correlation_id not in drawn:
            drawn.add(flow.correlation_id)
            yield _drawn(flow)


def _example(verdict: RunVerdict, scenarios: _Scenarios) -> Iterator[Drawn]:
    """Of a run in which nothing broke, one flow that went all its way: the longest of a scenario with few."""
    whole = [
        (result.seen, scenario.scenario)
        for scenario in verdict.scenarios for result in scenario.results
        if result.property == "effect_exactly_once" and result.status == "pass"
        and scenario.scenario in scenarios.folders
    ]  # fmt: skip
    if whole:
        evidence = scenarios.evidence(min(whole)[1])
        (longest, _), *_ = Counter(
            line.correlation_id for line in evidence.lines if isinstance(line, InBand)
        ).most_common(1)
        yield _drawn(flow_of(evidence, longest))


def _doubts(scenarios: Iterable[ScenarioVerdict]) -> Iterator[tuple[str, str, str]]:
    for scenario in scenarios:
        for result in scenario.results:
            yield from ((scenario.scenario, result.property, doubt) for doubt in result.doubts)


# --- tables -----------------------------------------------------------------------------------------------------

_FIRST = ("fail", "unknown", "pass")


def _scenario_rows(verdict: RunVerdict, causes: Sequence[Told], scenarios: _Scenarios) -> list[ScenarioRow]:
    """What is not green first."""
    seen_in: dict[str, list[int]] = defaultdict(list)
    for told in causes:
        for name in told.cause.scenarios:
            seen_in[name].append(told.number)
    rows = [
        ScenarioRow(one, _took_s(scenarios.records.get(one.scenario)), seen_in[one.scenario])
        for one in verdict.scenarios
    ]
    return sorted(rows, key=lambda row: _FIRST.index(row.verdict.verdict))


def _took_s(record: ScenarioRecord | None) -> float:
    if record is None or not (began := record.began or record.since):
        return 0.0
    try:
        return max(0.0, seconds_between(began, record.until))
    except ValueError:
        return 0.0


def _property_rows(scenarios: Iterable[ScenarioVerdict]) -> list[PropertyRow]:
    counts: dict[str, Counter[Status]] = {prop.name: Counter() for prop in ALL}
    for scenario in scenarios:
        for result in scenario.results:
            counts.setdefault(result.property, Counter())[result.status] += 1
    promises = {prop.name: prop.statement for prop in ALL}
    rows = [PropertyRow(name, promises.get(name, ""), found) for name, found in counts.items()]
    return sorted(rows, key=lambda row: -row.counts.get("fail", 0))


def _fault_rows(scenarios: _Scenarios) -> list[FaultRow]:
    found: dict[tuple[str, str], list[tuple[str, Fault]]] = defaultdict(list)
    for name, folder in scenarios.folders.items():
        for fault in read_records(folder.faults_file, Fault):
            found[fault.kind, fault.place].append((name, fault))
    return [
        FaultRow(
            kind, place, len(faults), sum(fault.hits for _, fault in faults),
            sum(seconds_between(fault.injected_at, fault.healed_at) for _, fault in faults),
            len({name for name, _ in faults}),
        )
        for (kind, place), faults in sorted(found.items())
    ]  # fmt: skip


def _grids(root: Path) -> Iterator[Grid]:
    for name in GRIDS:
        if (file := root / f"{name}.json").exists():
            told = read_json(file, GridFile)
            yield Grid(told.title, "", entries={entry.name: entry for entry in told.entries})


def _explored(root: Path) -> Explored | None:
    file = root / "explore.json"
    return read_json(file, Explored) if file.exists() else None


def _load(root: Path) -> Load | None:
    file = root / "load" / "load.json"
    if not file.exists():
        return None
    result = read_json(file, LoadResult)
    return Load(result, [Markup(chart) for chart in charts_of(result, styled=False).values()], load_text(result))
