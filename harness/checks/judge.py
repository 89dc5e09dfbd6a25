"""From evidence to verdict: every property judges every scenario; a run is as good as its worst scenario."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from harness.checks import ALL
from harness.checks.explain import explained
from harness.checks.verdict import Finding, Property, Result
from harness.evidence.evidence import Evidence

Verdict = Literal["pass", "fail", "unknown"]


class ScenarioVerdict(Struct, frozen=True, kw_only=True):
    """What all properties say of one scenario, and what the scenario itself said (``error``: its own assertion)."""

    scenario: str
    verdict: Verdict
    results: tuple[Result, ...]
    faults: tuple[str, ...] = ()
    error: str | None = None

    @property
    def findings(self) -> list[Finding]:
        return [finding for result in self.results for finding in result.findings]

    @property
    def failed(self) -> list[str]:
        """Names of the properties that failed."""
        return [result.property for result in self.results if result.status == "fail"]


def judge(evidence: Evidence, properties: Sequence[Property] = ALL) -> ScenarioVerdict:
    """Ask every property that applies. Its order of severity: fail, unknown, pass; idle counts for nothing."""
    applicable = [prop for prop in properties if prop.applies(evidence.scenario.lacks)]
    return conclude(evidence, [prop.check(evidence) for prop in applicable])


def conclude(evidence: Evidence, results: Sequence[Result]) -> ScenarioVerdict:
    """What these results make of a scenario, each finding with all that a person needs to act on it."""
    scenario = evidence.scenario
    statuses = {result.status for result in results}
    failed = scenario.error is not None or "fail" in statuses
    return ScenarioVerdict(
        scenario=scenario.name,
        verdict="fail" if failed else "unknown" if "unknown" in statuses else "pass",
        results=explained(results, evidence, {prop.name: prop.severity for prop in ALL}),
        faults=tuple(f"{fault.kind} on {fault.place} ({fault.hits} hits)" for fault in evidence.faults),
        error=scenario.error,
    )


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of several: one failure fails all; nothing at all is unknown."""
    found = set(verdicts)
    return "fail" if "fail" in found else "unknown" if "unknown" in found or not found else "pass"


def idle_everywhere(verdicts: Iterable[ScenarioVerdict], properties: Sequence[Property] = ALL) -> list[str]:
    """Properties that no scenario exercised: a promise that was never put to the test is not proven."""
    exercised = {result.property for verdict in verdicts for result in verdict.results if result.status != "idle"}
    return [prop.name for prop in properties if prop.name not in exercised]
