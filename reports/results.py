"""Each scenario of a run with all that is known of it: what pytest said, what the properties said, and of what kind
the two together are. What other programs are told of a run (JUnit, Allure, annotations, summaries) begins here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from harness.checks.judge import ScenarioVerdict
from harness.checks.run_verdict import RunVerdict
from harness.evidence.clock import seconds_between
from harness.evidence.outcomes import Outcome, read_outcomes
from harness.evidence.records import ScenarioRecord
from harness.evidence.run_directory import ENVIRONMENT_FAILURE, RunDirectory, ScenarioDirectory, read_json
from reports.terminal import scenario_text

Kind = Literal["pass", "broken promise", "not proven", "scenario error", "environment"]
"""``broken promise``: a property failed. ``not proven``: the evidence does not suffice. ``scenario error``: its own
assertion failed, or it failed and left nothing to judge. ``environment``: no stack came up, or its worker crashed."""

_ONE_LINE = 300


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """``line``: from 1, where it is known. ``text``: why it is not green. ``told``: what it wrote down of itself."""

    name: str
    kind: Kind
    file: str
    line: int | None
    worker: str
    began_at: str
    took_s: float
    text: str
    told: dict[str, str]
    verdict: ScenarioVerdict | None
    directory: ScenarioDirectory | None

    @property
    def headline(self) -> str:
        """Why it is not green, in one line."""
        if self.verdict and self.verdict.findings:
            return self.verdict.findings[0].says[:_ONE_LINE]
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        told = [line.removeprefix("E ").strip() for line in lines if line.startswith("E ")]  # pytest marks what matters
        return [*(lines[1:] if self.verdict else told + lines), self.kind][0][:_ONE_LINE]


def results_of(run: RunDirectory, verdict: RunVerdict | None) -> list[ScenarioResult]:
    """In the order in which they ended. What concerns the run as a whole stands at the end, as results of no file.

    ``verdict``: None where nothing could be judged, as when no stack came up. Raises EvidenceError.
    """
    outcomes = {outcome.scenario: outcome for outcome in read_outcomes(run)}
    folders = {read_json(one.scenario_file, ScenarioRecord).name: one for one in run.scenarios()}
    verdicts = {name: read_json(one.verdict_file, ScenarioVerdict) for name, one in folders.items() if _is_judged(one)}
    verdicts |= {one.scenario: one for one in verdict.scenarios} if verdict else {}
    names = dict.fromkeys([*outcomes, *sorted(folders), *verdicts])
    results = [_result(run, name, outcomes.get(name), verdicts.get(name), folders.get(name)) for name in names]
    return [*results, *_of_the_run(run, verdict, names)]


def result_so_far(run: RunDirectory, name: str) -> ScenarioResult:
    """Of one scenario that has ended, in a run that goes on. Raises EvidenceError."""
    directory = run.scenario_at(name)
    outcome = next((one for one in reversed(read_outcomes(run)) if one.scenario == name), None)
    if not _is_judged(directory):
        return _result(run, name, outcome, None, None)
    return _result(run, name, outcome, read_json(directory.verdict_file, ScenarioVerdict), directory)


def _is_judged(directory: ScenarioDirectory) -> bool:
    return directory.verdict_file.exists()


def _result(
    run: RunDirectory,
    name: str,
    outcome: Outcome | None,
    verdict: ScenarioVerdict | None,
    directory: ScenarioDirectory | None,
) -> ScenarioResult:
    record = read_json(directory.scenario_file, ScenarioRecord) if directory else None
    began = (record.began or record.since) if record else ""
    return ScenarioResult(
        name=name,
        kind=_kind(run, outcome, verdict),
        file=outcome.file if outcome else f"scenarios/{name.partition('::')[0]}" if "::" in name else "",
        line=outcome.line if outcome else None,
        worker=outcome.worker if outcome else record.stack.rpartition("-")[0] if record else "",
        began_at=outcome.began_at if outcome else began,
        took_s=outcome.took_s if outcome else seconds_between(began, record.until) if record and began else 0.0,
        text=_text(run, outcome, verdict),
        told=dict(outcome.told) if outcome else {},
        verdict=verdict,
        directory=directory,
    )


def _kind(run: RunDirectory, outcome: Outcome | None, verdict: ScenarioVerdict | None) -> Kind:
    how = outcome.how if outcome else "passed"
    if how == "crashed" or (how == "not set up" and (run.root / ENVIRONMENT_FAILURE).exists()):
        return "environment"
    if verdict is None:
        return "pass" if how == "passed" else "scenario error"
    if verdict.failed:
        return "broken promise"
    if verdict.verdict == "unknown":
        return "not proven"
    return "pass" if verdict.verdict == "pass" and how == "passed" else "scenario error"


def _text(run: RunDirectory, outcome: Outcome | None, verdict: ScenarioVerdict | None) -> str:
    judged = [scenario_text(verdict, run.root)] if verdict and verdict.verdict != "pass" else []
    said = [outcome.says] if outcome and outcome.says and outcome.says not in judged else []
    return "\n\n".join([*judged, *said])


def _of_the_run(run: RunDirectory, verdict: RunVerdict | None, known: dict[str, None]) -> Iterator[ScenarioResult]:
    if verdict is None:
        return
    for name in verdict.failures:
        if name not in known:  # of a run from before outcomes were written down
            yield _without_place(name, "scenario error", f"FAIL  {name}\nfailed without evidence of its own")
    if verdict.idle:
        text = f"UNKNOWN  the whole run\nnever put to the test, so not proven: {', '.join(verdict.idle)}"
        yield _without_place("the whole run puts every property to the test", "not proven", text)


def _without_place(name: str, kind: Kind, text: str) -> ScenarioResult:
    return ScenarioResult(
        name=name, kind=kind, file="", line=None, worker="", began_at="", took_s=0.0, text=text, told={},
        verdict=None, directory=None,
    )  # fmt: skip
