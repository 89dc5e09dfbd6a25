"""Schemathesis against a running stack: requests of every kind that the OpenAPI documents allow, and many they do not.

All its checks are on: the answers have to be what the documents promise. Afterwards the log has to keep its contract.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine.events import EngineEvent, FatalError, NonFatalError, ScenarioFinished

from harness.environment.boot import boot
from harness.evidence.evidence import read_logs
from harness.evidence.run_directory import RunDirectory
from harness.target import Target

_STACK = "fuzz"
_REQUESTS_PER_EXAMPLE = 20
"""Roughly: one for each operation, and then some for the sequences of them."""


@dataclass
class FuzzReport:
    """What was sent, and what was wrong with the answers or the log."""

    requests: Counter[str] = field(default_factory=Counter)
    """By operation: service, method and path."""
    server_errors: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    """Which check failed where → what Schemathesis says of it, and how to send it again."""
    log_lines: int = 0
    log_violations: list[str] = field(default_factory=list)

    def mistakes(self, *, requests_at_least: int) -> list[str]:
        """Everything that makes the run red."""
        sent = self.requests.total()
        few = [f"{sent} requests were sent, {requests_at_least} were asked for"] if sent < requests_at_least else []
        errors = [f"{self.server_errors} answers were server errors"] if self.server_errors else []
        return [*few, *errors, *self.failures.values(), *self.log_violations]


def fuzz(target: Target, *, run_dir: Path, seed: int, requests: int) -> FuzzReport:
    """Boot a stack, fuzz each of its services as an operator, end it, and read its log."""
    report = FuzzReport()
    with boot(target, run_dir=run_dir, name=_STACK) as stack:
        config = {
            "seed": seed,
            "headers": {"Authorization": f"Bearer {stack.tokens['operator']}"},
            "continue-on-failure": True,
            "checks": {"enabled": True},
            "generation": {"max-examples": max(1, requests // _REQUESTS_PER_EXAMPLE), "database": "none"},
        }
        for service in stack.services:
            schema = schemathesis.openapi.from_url(
                f"{stack.url(service)}/openapi.json", config=SchemathesisConfig.from_dict(config)
            )
            for event in engine.from_schema(schema).execute():
                _note(report, service, event)
    for log in read_logs(RunDirectory(run_dir), _STACK):
        report.log_lines += len(log.lines)
        report.log_violations += [f"{broken.file}:{broken.number}: {broken.problem}" for broken in log.broken]
        report.log_violations += [f"a line was lost: {lost}" for lost in log.lost]
    return report


def _note(report: FuzzReport, service: str, event: EngineEvent) -> None:
    if isinstance(event, FatalError):
        raise event.exception
    if isinstance(event, NonFatalError):
        report.failures[f"{service} {event.label} {event.value!r}"] = f"{service} {event.label}: {event.value!r}"
    if not isinstance(event, ScenarioFinished):
        return
    for case_id, interaction in event.recorder.interactions.items():
        case = event.recorder.cases[case_id].value
        report.requests[f"{service} {case.operation.label}"] += 1
        if interaction.response is not None:
            report.server_errors += interaction.response.status_code >= 500
    for check in (check for checks in event.recorder.checks.values() for check in checks):
        if (failed := check.failure_info) is not None:
            says = f"{service} {failed.failure.operation}: {failed.failure}\n{failed.code_sample}"
            report.failures.setdefault(f"{service} {failed.failure.operation} {check.name}", says)
