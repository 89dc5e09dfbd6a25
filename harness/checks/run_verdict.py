"""The verdict of a whole run, from the verdicts of its scenarios and what its logs hold outside of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from harness.checks import ALL, log_contract, metrics_agree
from harness.checks.causes import Cause, causes_of
from harness.checks.judge import ScenarioVerdict, Verdict, conclude, idle_everywhere, judge, worst
from harness.checks.verdict import Finding, Property
from harness.evidence.evidence import Evidence, load_evidence, read_logs, within
from harness.evidence.log_files import END
from harness.evidence.records import ScenarioRecord
from harness.evidence.run_directory import RunDirectory, read_json, write_json
from harness.target import Target, load_target


class RunRecord(Struct, frozen=True, kw_only=True):
    """What a run was: written when it begins, so that an interrupted run can be read as well. ``whole``: a full gate,
    which has to exercise every property. ``code``: a digest of the system's code and ours (older runs do not tell)."""

    seed: int
    target_file: str
    source_root: str
    began_at: str
    command: tuple[str, ...] = ()
    whole: bool = False
    environment: str = "native"
    code: str = ""
    environment_failure: str | None = None


class RunVerdict(Struct, frozen=True, kw_only=True):
    """What all scenarios of a run say together. ``idle``: properties that a whole run never put to the test.

    ``failures``: what failed without evidence of its own (a canary that survived, a stack that did not come up).
    ``causes``: all findings once more, those of one cause together, the gravest first. ``beyond``: so many
    scenarios more there are, which are not applicable to the system; ``ran``: so many were.
    """

    verdict: Verdict
    scenarios: tuple[ScenarioVerdict, ...]
    idle: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
    ran: int = 0
    beyond: int = 0

    @property
    def covers(self) -> str:
        """How much of the whole this verdict is about; nothing, if it is about all of it."""
        if not self.beyond:
            return ""
        asked = len(ALL) - len(idle_everywhere(self.scenarios))
        return f"{self.ran} of {self.ran + self.beyond} scenarios, {asked} of {len(ALL)} properties"

    @property
    def findings(self) -> list[Finding]:
        return [finding for scenario in self.scenarios for finding in scenario.findings]


def rejudge(
    run: RunDirectory,
    *,
    only: Property | None = None,
    on_scenario: Callable[[int, int], object] = lambda done, of: None,
) -> RunVerdict:
    """Judge every scenario of a run with today's checks, from its evidence alone. Raises EvidenceError, TargetError.

    The verdicts are written, unless one property alone is asked (``only``). What failed without evidence of its own
    cannot be judged again, and stays a failure. ``on_scenario`` is told how many are done, of how many.
    """
    target = load_target(Path(read_json(run.run_file, RunRecord).target_file))
    properties = (only,) if only else ALL
    folders = run.scenarios()
    scenarios = []
    for number, directory in enumerate(folders, start=1):
        scenarios.append(judge(load_evidence(directory, target), properties))
        if not only:
            write_json(directory.verdict_file, scenarios[-1])
        on_scenario(number, len(folders))
    if only:
        return _together(run, scenarios, properties)
    before = read_json(run.verdict_file, RunVerdict) if run.verdict_file.exists() else None
    verdict = _together(run, scenarios, properties, before.failures if before else (), before.beyond if before else 0)
    write_json(run.verdict_file, verdict)
    return verdict


def summarise(run: RunDirectory, failures: Sequence[str] = (), beyond: int = 0) -> RunVerdict:
    """Put the written verdicts of a run together, and look at the log that no scenario covers."""
    scenarios = [read_json(directory.verdict_file, ScenarioVerdict) for directory in run.scenarios()]
    return _together(run, scenarios, ALL, failures, beyond)


def _together(
    run: RunDirectory,
    scenarios: Sequence[ScenarioVerdict],
    properties: Sequence[Property],
    failures: Sequence[str] = (),
    beyond: int = 0,
) -> RunVerdict:
    record = read_json(run.run_file, RunRecord)
    scenarios = list(scenarios)
    if log_contract.PROPERTY in properties:
        scenarios += _outside_of_scenarios(run, load_target(Path(record.target_file)))
    idle = tuple(idle_everywhere(scenarios, properties)) if record.whole else ()
    verdicts: list[Verdict] = [scenario.verdict for scenario in scenarios]
    if idle:
        verdicts.append("unknown")
    if failures:
        verdicts.append("fail")
    return RunVerdict(
        verdict=worst(verdicts),
        scenarios=tuple(scenarios),
        idle=idle,
        failures=tuple(failures),
        causes=tuple(causes_of(finding for scenario in scenarios for finding in scenario.findings)),
        ran=len(run.scenarios()),
        beyond=beyond,
    )


def _outside_of_scenarios(run: RunDirectory, target: Target) -> Iterator[ScenarioVerdict]:
    """What the processes wrote after the last scenario of their stack has to keep the contract too, and to add up."""
    ends: dict[str, str] = {}
    for directory in run.scenarios():
        scenario = read_json(directory.scenario_file, ScenarioRecord)
        ends[scenario.stack] = max(ends.get(scenario.stack, ""), scenario.until)
    for stack, end in sorted(ends.items()):
        name = f"after the last scenario on stack {stack}"
        record = ScenarioRecord(name=name, stack=stack, target=target.name, seed=0, since=end, until=END)
        logs = tuple(within(log, end, END) for log in read_logs(run, stack))
        evidence = Evidence(scenario=record, target=target, logs=logs)
        results = [log_contract.check(evidence), metrics_agree.check(evidence)]
        if any(result.findings for result in results) or evidence.lost_lines:  # no line at all is no doubt here
            yield conclude(evidence, results)
