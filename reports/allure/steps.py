"""What a scenario did, as steps: what it asked, what it broke, how it waited, and what each property said of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from allure_commons.model2 import Parameter, Status, StatusDetails, TestStepResult

from harness.checks.judge import ScenarioVerdict
from harness.checks.verdict import Result
from harness.evidence.records import Fault, Operation, ScenarioRecord
from reports.allure.moments import epoch_ms, operation_ms

MOST_STEPS = 200
_STATUSES = {"pass": Status.PASSED, "fail": Status.FAILED, "unknown": Status.UNKNOWN}


def steps_of(
    scenario: ScenarioRecord, operations: Sequence[Operation], faults: Sequence[Fault], verdict: ScenarioVerdict
) -> list[TestStepResult]:
    """In the order of time; equal operations one after the other are one step."""
    steps = [*_asked(scenario, operations), *map(_broken, faults)]
    steps.sort(key=lambda step: int(step.start))
    left_out = len(steps) - MOST_STEPS
    shown = steps[:MOST_STEPS]
    end = epoch_ms(scenario.until)
    if left_out > 0:
        shown.append(TestStepResult(name=f"… and {left_out} more steps", status=Status.PASSED, start=end, stop=end))
    last = max((int(step.stop) for step in steps), default=epoch_ms(scenario.began or scenario.since) or end)
    return [*shown, _rest(scenario, last, end), _judged(verdict, end)]


def _asked(scenario: ScenarioRecord, operations: Sequence[Operation]) -> Iterator[TestStepResult]:
    for action, group in groupby(sorted(operations, key=lambda one: one.invoked_ns), lambda one: one.action):
        same = list(group)
        outcomes: Counter[str] = Counter(f"{one.outcome} {one.http_status or ''}".strip() for one in same)
        told = ", ".join(f"{count} × {outcome}" for outcome, count in outcomes.items())
        yield TestStepResult(
            name=f"{len(same)} × {action}: {told}",
            status=Status.PASSED,
            start=operation_ms(scenario, same[0].invoked_ns),
            stop=operation_ms(scenario, max(one.returned_ns for one in same)),
        )


def _broken(fault: Fault) -> TestStepResult:
    moments = {"hits": str(fault.hits), "proof": fault.proof, "injected": fault.injected_at, "healed": fault.healed_at}
    return TestStepResult(
        name=f"⚡ {fault.kind} on {fault.place}, and healed",
        status=Status.PASSED if fault.hits or fault.drawn else Status.UNKNOWN,
        start=epoch_ms(fault.injected_at),
        stop=epoch_ms(fault.healed_at),
        parameters=[Parameter(name=name, value=value) for name, value in moments.items()],
    )


def _rest(scenario: ScenarioRecord, since: int, until: int) -> TestStepResult:
    step = TestStepResult(name="wait until the system is at rest", start=since, stop=until, status=Status.PASSED)
    if not scenario.quiet:
        step.status = Status.FAILED
        step.statusDetails = StatusDetails(message=f"still awaited: {'; '.join(scenario.awaited[:5])}")
    return step


def _judged(verdict: ScenarioVerdict, at: int) -> TestStepResult:
    asked = [result for result in verdict.results if result.status != "idle"]
    status = next((one for one in ("fail", "unknown") if any(r.status == one for r in asked)), "pass")
    return TestStepResult(
        name=f"judge: {len(asked)} properties were put to the test",
        status=_STATUSES[status],
        start=at,
        stop=at,
        steps=[_property(result, at) for result in sorted(asked, key=lambda result: result.status != "fail")],
    )


def _property(result: Result, at: int) -> TestStepResult:
    says = [finding.says for finding in result.findings] or list(result.doubts)
    return TestStepResult(
        name=f"{result.property} (saw {result.seen})",
        status=_STATUSES[result.status],
        start=at,
        stop=at,
        statusDetails=StatusDetails(message="\n".join(says[:5])) if says else None,
    )
