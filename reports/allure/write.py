"""Writes ``RUN/allure-results``: https://allurereport.org/docs/how-it-works-test-result-file/."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator, Sequence
from hashlib import md5
from pathlib import Path

from allure_commons.logger import AllureFileLogger
from allure_commons.model2 import (
    GlobalError,
    Globals,
    Label,
    Link,
    Parameter,
    Status,
    StatusDetails,
    TestResult,
)
from allure_commons.types import LabelType, LinkType, Severity

from harness.checks.one_flow import target_of
from harness.checks.run_verdict import RunRecord
from harness.evidence.evidence import load_evidence
from harness.evidence.records import Fault, Operation, ScenarioRecord
from harness.evidence.run_directory import RunDirectory, read_json, read_records
from reports.allure.attachments import Attachments
from reports.allure.moments import epoch_ms
from reports.allure.steps import steps_of
from reports.results import Kind, ScenarioResult

RESULTS = "allure-results"
NO_FAULT = "nothing is broken"
MOST_WITH_LOGS = 20
"""Of so many red tests what was logged is attached; the others have it in the run's folder, as all have."""
STATUSES: dict[Kind, str] = {
    "pass": Status.PASSED,
    "broken promise": Status.FAILED,
    "scenario error": Status.BROKEN,
    "environment": Status.BROKEN,
    "not proven": Status.UNKNOWN,
}
_SOURCE = "source"
_SEVERITIES = {"critical": Severity.CRITICAL, "major": Severity.NORMAL, "minor": Severity.MINOR}


def write_allure_results(run: RunDirectory, results: Sequence[ScenarioResult]) -> Path:
    """The folder, written anew. Raises EvidenceError."""
    folder = run.root / RESULTS
    if folder.exists():
        shutil.rmtree(folder)
    record = read_json(run.run_file, RunRecord)
    logger = AllureFileLogger(folder)
    with_logs = [result for result in results if result.kind != "pass"][:MOST_WITH_LOGS]
    for result in results:
        if result.file:
            logger.report_result(_test(run, record, result, logger, result in with_logs))
    if errors := [_global_error(record, result) for result in results if not result.file]:
        logger.report_globals(Globals(errors=errors))
    (folder / "categories.json").write_text(json.dumps(categories(), indent=2), encoding="utf-8")
    (folder / "environment.properties").write_text(_environment(run, record), encoding="latin-1", errors="replace")
    return folder


def categories() -> list[dict[str, object]]:
    """Red tests by what they are. Each message begins with its kind."""
    return [
        {"name": kind, "matchedStatuses": [status], "messageRegex": rf"^{kind}:[\s\S]*"}
        for kind, status in STATUSES.items()
        if kind != "pass"
    ]


def _test(
    run: RunDirectory, record: RunRecord, result: ScenarioResult, logger: AllureFileLogger, with_logs: bool
) -> TestResult:
    place, _, name = result.name.rpartition("::")
    identity = md5(result.name.encode(), usedforsecurity=False).hexdigest()
    start = epoch_ms(result.began_at or record.began_at)
    test = TestResult(
        uuid=md5(f"{run.root.name} {result.name}".encode(), usedforsecurity=False).hexdigest(),
        historyId=identity,
        testCaseId=identity,
        name=name.removeprefix("test_").replace("_", " "),
        fullName=result.name,
        titlePath=["scenarios", place],
        status=STATUSES[result.kind],
        start=start,
        stop=start + round(result.took_s * 1000),
        labels=[Label(name=key, value=value) for key, value in _labels(result)],
        links=[Link(type=LinkType.LINK, url=url, name=name) for name, url in _links(result)],
        parameters=[Parameter(name=key, value=value) for key, value in _parameters(record, result)],
    )
    if result.kind != "pass":
        test.statusDetails = StatusDetails(message=f"{result.kind}: {result.headline}", trace=result.text)
    _add_evidence(test, run, result, Attachments(logger), with_logs)
    return test


def _add_evidence(
    test: TestResult, run: RunDirectory, result: ScenarioResult, attachments: Attachments, with_logs: bool
) -> None:
    if result.text:
        attachments.add("verdict", result.text)
    if result.directory is not None and result.verdict is not None:
        scenario = read_json(result.directory.scenario_file, ScenarioRecord)
        operations = read_records(result.directory.operations_file, Operation)
        faults = read_records(result.directory.faults_file, Fault)
        test.steps = steps_of(scenario, operations, faults, result.verdict)
        attachments.add_story(scenario, operations, faults, result.verdict)
        if with_logs:
            attachments.add_proof(load_evidence(result.directory, target_of(run)), result.verdict)
    test.attachments = attachments.made


def _labels(result: ScenarioResult) -> Iterator[tuple[str, str]]:
    yield LabelType.FRAMEWORK, "gauntlet"
    yield LabelType.LANGUAGE, "python"
    yield LabelType.SUITE, result.name.partition("::")[0]
    yield LabelType.HOST, platform.node()
    if result.worker:
        yield LabelType.THREAD, result.worker
    findings = result.verdict.findings if result.verdict else []
    grave = [_SEVERITIES[finding.severity or "major"] for finding in findings]
    worst = next((one for one in _SEVERITIES.values() if one in grave), Severity.NORMAL)
    yield LabelType.SEVERITY, (Severity.BLOCKER if result.kind == "environment" else worst).value
    for name in _properties(result):
        yield LabelType.FEATURE, name
    for place in _places(result):
        yield LabelType.STORY, place


def _properties(result: ScenarioResult) -> list[str]:
    """The promises that it broke; of one that broke none, those that it put to the test."""
    verdict = result.verdict
    if verdict is None:
        return []
    return verdict.failed or [one.property for one in verdict.results if one.status != "idle"]


def _places(result: ScenarioResult) -> list[str]:
    """What was broken in it by us: an edge, a process, a server."""
    faults = read_records(result.directory.faults_file, Fault) if result.directory else ()
    return list(dict.fromkeys(fault.place for fault in faults)) or [NO_FAULT]


def _links(result: ScenarioResult) -> Iterator[tuple[str, str]]:
    for name, source in result.told.items():
        what, _, bug = name.partition(" ")
        if what == _SOURCE and source.startswith("https://"):
            yield f"where {bug} comes from", source


def _parameters(record: RunRecord, result: ScenarioResult) -> Iterator[tuple[str, str]]:
    _name, bracket, case = result.name.partition("[")
    if bracket:
        yield "case", case.removesuffix("]")
    yield "seed", str(record.seed)
    yield from ((name, value) for name, value in result.told.items() if not name.startswith(_SOURCE))


def _global_error(record: RunRecord, result: ScenarioResult) -> GlobalError:
    moment = epoch_ms(result.began_at or record.began_at)
    return GlobalError(message=f"{result.kind}: {result.name}", trace=result.text, timestamp=moment)


def _environment(run: RunDirectory, record: RunRecord) -> str:
    told = {
        "run": run.root.name,
        "seed": record.seed,
        "target": Path(record.target_file).name,
        "began": record.began_at,
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
    return "".join(f"{key} = {value}\n" for key, value in told.items())
